"""Tables, CSV and JSON of scores, and the descriptions of metrics."""

from __future__ import annotations

import csv
import json
import math

from fusionkit.metrics.score_report import (
    aligned,
    explain,
    facts,
    missing_notes,
    overview,
    scores_csv,
    scores_json,
    summary,
)

ROWS = {"x": {"EN": 1.0, "CC": 0.5}, "y": {"EN": 3.0, "CC": math.nan}}


def test_csv_holds_every_digit_of_every_image() -> None:
    lines = list(csv.DictReader(scores_csv({"x": {"EN": 0.1 + 0.2}}, "tang").splitlines()))
    assert lines == [{"image": "x", "profile": "tang", "EN": repr(0.1 + 0.2)}]


def test_json_is_valid_and_means_hide_nothing() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads(scores_json(ROWS, "standard", {"y": {"CC": "why"}}), parse_constant=refuse)
    assert data["profile"] == "standard"
    assert data["mean"] == {"EN": 2.0, "CC": 0.5}
    assert data["count"] == {"EN": 2, "CC": 1}
    assert data["std"] == {"EN": 1.0, "CC": 0.0}
    assert data["images"][1] == {"image": "y", "values": {"EN": 3.0, "CC": None}, "reasons": {"CC": "why"}}
    assert data["metrics"]["EN"] == {"higher_is_better": True, "unit": "bit"}
    units = json.loads(scores_json({"x": {"MI": 1.0, "MSE": 0.1}}, "tang", {}))["metrics"]
    assert (units["MI"]["unit"], units["MSE"]["unit"]) == ("bit", "squared, of images in 0..1")
    assert json.loads(scores_json({"x": {"MI": 1.0}}, "cddfuse", {}))["metrics"]["MI"]["unit"] == "nat"
    infinite = json.loads(scores_json({"x": {"PSNR": math.inf}}, "standard", {}), parse_constant=refuse)
    assert infinite["images"][0]["values"]["PSNR"] == "inf"
    assert infinite["mean"]["PSNR"] is None


def test_a_summary_has_a_line_a_metric() -> None:
    head, table = summary(ROWS, "standard")
    assert head == ("metric", "mean", "std", "min", "max", "n", "unit", "better")
    assert table[0] == ("EN", "2", "1", "1", "3", "2", "bit", "higher")
    assert table[1][:6] == ("CC", "0.5", "0", "0.5", "0.5", "1")
    assert summary({"x": {"MSE": 4.0}}, "standard")[1] == [("MSE", "4", "squared grey levels", "lower")]
    assert aligned(("a", "bb"), [("1", "2"), ("333", "4")]) == "a    bb\n1    2\n333  4"


def test_missing_values_are_named_by_cause() -> None:
    rows = {name: {"EN": 1.0, "CC": math.nan} for name in "vwxyz"} | {"u": {"EN": math.inf, "CC": math.nan}}
    assert missing_notes(rows, "tang", {name: {"CC": "CC needs more"} for name in "vwxy"}) == [
        "CC: needs more (4 of 6 images: v, w, x, ...)",
        "CC: not defined by profile tang (2 of 6 images: z, u)",
        "EN: infinite (1 of 6 images: u)",
    ]


def test_a_name_that_a_spreadsheet_would_run_is_quoted() -> None:
    names = ("=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "a\rb")
    lines = list(csv.DictReader(scores_csv({name: {"EN": 1.0} for name in names}, "tang").splitlines()))
    assert [line["image"] for line in lines] == ["'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(A1)", "a\ufffdb"]


def test_a_metric_is_explained_under_every_profile() -> None:
    text = explain("ssim")
    assert text.startswith("SSIM: structural similarity\n")
    assert "cddfuse    window = 7x7 uniform, sample = True, data_range = 2, rounding = float32, reduction = sum" in text
    assert "mefb       -" in text
    data = facts("VIFp")
    assert data["profiles"]["cddfuse"] == {"reduction": "sum", "flat": "one"}
    assert data["range"] == [0.0, "inf"]
    json.dumps(data, allow_nan=False)


def test_the_overview_of_a_profile_has_its_settings() -> None:
    _, every = overview()
    assert {row[0] for row in every} >= {"EN", "SSIM", "VIFp"}
    head, own = overview("vifb")
    assert head[-1] == "settings"
    assert {row[0]: row[-1] for row in own}["SF"] == "per = pixel"
    assert all(len(row) == len(head) for row in (*every, *own))
