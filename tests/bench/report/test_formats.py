"""The board as text and data: complete, escaped, and with published rows apart."""

from __future__ import annotations

import csv
import io
import json

import pytest

from fusionkit.bench.report.formats import as_csv, as_json, as_markdown, seen_notes
from fusionkit.bench.report.quality_tables import QualityTable, quality_tables
from fusionkit.bench.report.tables import Column, Format, format_value
from fusionkit.io.text import as_csv_cell
from tests.support.boardrecords import EVIL, IVIF_METRICS, record

NASTY = "a|b_*c*`\x1b[31m\n<b>"


@pytest.fixture(scope="module")
def boards() -> tuple[QualityTable, ...]:
    good = {metric: [2.0, 4.0, None] for metric in IVIF_METRICS}
    poor = {metric: [1.0, 2.0, 3.0] for metric in IVIF_METRICS}
    return quality_tables(
        [record(NASTY, good), record(EVIL, poor), record("full", poor, stretch="full")], resamples=200
    )


def test_markdown_keeps_its_grid_whatever_a_method_is_called(boards: tuple[QualityTable, ...]) -> None:
    text = as_markdown(boards, "Leaderboards")
    assert "<script" not in text
    assert "<b>" not in text
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    measured = rows[: rows.index(next(r for r in rows if "SDNet" in r)) - 2]
    assert {line.replace("\\|", "").count("|") for line in measured} == {len(IVIF_METRICS) + 7}
    assert "Published, not measured: refusion, Table 1 (MSRS), 361 pairs" in text
    assert "full: stretched to the full range, the other rows: not stretched" in text


def test_who_was_trained_on_the_data_set_is_marked_everywhere() -> None:
    values = {"EN": [1.0, 2.0]}
    (table,) = quality_tables(
        [
            record("seen", values, trained_on=("LLVIP", "MSRS_train_128")),
            record("unseen", values, trained_on=("LLVIP",)),
            record("unknown", values, trained_on=None),
        ],
        resamples=50,
    )
    shown = as_markdown([table], "x")
    assert "| seen ‡ |" in shown
    assert "| unseen |" in shown
    assert "| unknown ? |" in shown
    assert {note[0] for note in seen_notes(table)} == {"‡", "?"}
    assert all(note in shown for note in seen_notes(table))
    cells = {row["method"]: row["trained_on_it"] for row in csv.DictReader(io.StringIO(as_csv([table])))}
    assert {name: cells[name] for name in ("seen", "unseen", "unknown")} == {
        "seen": "yes",
        "unseen": "no",
        "unknown": "unknown",
    }
    rows = {row["method"]: row for row in json.loads(as_json([table]))["tables"][0]["rows"]}
    assert (rows["seen"]["seen"], rows["seen"]["trained_on"]) == ("trained on", ["LLVIP", "MSRS_train_128"])


def test_csv_has_a_line_for_every_mean_and_tells_published_ones(boards: tuple[QualityTable, ...]) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(boards))))
    measured = [row for row in rows if row["kind"] == "measured"]
    published = [row for row in rows if row["kind"] == "published"]
    assert len(measured) == 3 * len(IVIF_METRICS)
    assert len(published) == 10 * len(IVIF_METRICS)
    cell = next(row for row in measured if row["method"] == as_csv_cell(NASTY) and row["metric"] == "SCD")
    assert (float(cell["mean"]), cell["images"], cell["missing"], cell["parameters"]) == (3.0, "2", "1", "59856")
    assert {row["mean_rank"] + row["win_rate"] + row["low"] for row in published} == {""}
    assert {row["marks"] for row in published} == {"refusion, Table 1 (MSRS)"}


def test_json_has_what_the_table_has_and_every_pair_of_methods_once(boards: tuple[QualityTable, ...]) -> None:
    (table,) = json.loads(as_json(boards))["tables"]
    assert [row["method"] for row in table["rows"]] == [row.method for row in boards[0].rows]
    assert table["rows"][0]["means"]["EN"]["mean"] == boards[0].rows[0].cells["EN"].mean
    assert len(table["wins"]) == 3 * len(IVIF_METRICS)
    first = table["wins"][0]
    names = [row["method"] for row in table["rows"]]
    assert first["rate"] == boards[0].wins.rate[names.index(first["method"]), names.index(first["against"]), 0]
    assert 0 < first["p"] <= 1


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (59856, "count", "59.9 k"),
        (0, "count", "0"),
        (None, "count", "-"),
        (0.0123, "seconds", "12.3 ms"),
        (2.5, "seconds", "2.5 s"),
        (4e-5, "seconds", "40 µs"),
        (50331648, "bytes", "48.0 MiB"),
        (12, "bytes", "12 B"),
        (0.885, "share", "88%"),
        (0.6126, "percent", "61.3"),
    ],
)
def test_values_are_written_with_their_units(value: float | None, form: Format, expected: str) -> None:
    assert format_value(value, Column(key="k", title="k", format=form, decimals=1)) == expected
