"""Tables, CSV and JSON of scores, and the descriptions of metrics."""

from __future__ import annotations

import csv
import json
import math

from fusionkit.metrics.score_report import aligned, explain, facts, overview, scores_csv, scores_json, summary

ROWS = {"x": {"EN": 1.0, "CC": 0.5}, "y": {"EN": 3.0, "CC": math.nan}}


def test_csv_holds_every_digit_of_every_image() -> None:
    lines = list(csv.DictReader(scores_csv({"x": {"EN": 0.1 + 0.2}}, "tang").splitlines()))
    assert lines == [{"image": "x", "profile": "tang", "EN": repr(0.1 + 0.2)}]


def test_json_is_valid_and_means_hide_nothing() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    data = json.loads(scores_json(ROWS, "standard", {}), parse_constant=refuse)
    assert data["profile"] == "standard"
    assert data["mean"] == {"EN": 2.0, "CC": None}
    assert data["images"][1] == {"image": "y", "values": {"EN": 3.0, "CC": None}}
    assert data["metrics"]["EN"] == {"higher_is_better": True, "unit": "bit"}
    units = json.loads(scores_json({"x": {"MI": 1.0, "MSE": 0.1}}, "tang", {}))["metrics"]
    assert (units["MI"]["unit"], units["MSE"]["unit"]) == ("bit", "squared, of images in 0..1")
    assert json.loads(scores_json({"x": {"MI": 1.0}}, "cddfuse", {}))["metrics"]["MI"]["unit"] == "nat"
    infinite = json.loads(scores_json({"x": {"PSNR": math.inf}}, "standard", {}), parse_constant=refuse)
    assert infinite["mean"]["PSNR"] == "inf"


def test_a_summary_has_a_line_a_metric() -> None:
    head, table = summary(ROWS, "standard")
    assert head == ("metric", "mean", "std", "min", "max", "unit", "better")
    assert table[0] == ("EN", "2", "1", "1", "3", "bit", "higher")
    assert table[1][:5] == ("CC", "nan", "nan", "nan", "nan")
    assert summary({"x": {"MSE": 4.0}}, "standard")[1] == [("MSE", "4", "squared grey levels", "lower")]
    assert aligned(("a", "bb"), [("1", "2"), ("333", "4")]) == "a    bb\n1    2\n333  4"


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
