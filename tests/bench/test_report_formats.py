"""The board as text and data: complete, escaped, and with published rows apart."""

from __future__ import annotations

import csv
import io
import json

import pytest

from fusionkit.bench.report.formats import as_csv, as_json, as_markdown, memory, parameters, seconds
from fusionkit.bench.report.quality_tables import Leaderboard, leaderboards
from tests.support.boardrecords import EVIL, IVIF_METRICS, record

NASTY = "a|b_*c*`\x1b[31m\n<b>"


@pytest.fixture(scope="module")
def boards() -> tuple[Leaderboard, ...]:
    good = {metric: [2.0, 4.0, None] for metric in IVIF_METRICS}
    poor = {metric: [1.0, 2.0, 3.0] for metric in IVIF_METRICS}
    return leaderboards([record(NASTY, good), record(EVIL, poor), record("full", poor, stretch="full")], resamples=200)


def test_markdown_keeps_its_grid_whatever_a_method_is_called(boards: tuple[Leaderboard, ...]) -> None:
    text = as_markdown(boards)
    assert "<script" not in text
    assert "<b>" not in text
    assert "\x1b" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    measured = rows[: rows.index(next(r for r in rows if "SDNet" in r)) - 2]
    assert {line.replace("\\|", "").count("|") for line in measured} == {len(IVIF_METRICS) + 7}
    assert "Published, not measured: refusion, Table 1 (MSRS), 361 pairs" in text
    assert "full: stretched to the full range, the other rows: not stretched" in text


def test_csv_has_a_line_for_every_mean_and_tells_published_ones(boards: tuple[Leaderboard, ...]) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(boards))))
    measured = [row for row in rows if row["kind"] == "measured"]
    published = [row for row in rows if row["kind"] == "published"]
    assert len(measured) == 3 * len(IVIF_METRICS)
    assert len(published) == 10 * len(IVIF_METRICS)
    cell = next(row for row in measured if row["method"] == NASTY and row["metric"] == "SCD")
    assert (float(cell["mean"]), cell["images"], cell["missing"], cell["parameters"]) == (3.0, "2", "1", "59856")
    assert {row["mean_rank"] + row["win_rate"] + row["low"] for row in published} == {""}
    assert {row["marks"] for row in published} == {"refusion, Table 1 (MSRS)"}


def test_json_has_what_the_table_has_and_every_pair_of_methods_once(boards: tuple[Leaderboard, ...]) -> None:
    (table,) = json.loads(as_json(boards))["tables"]
    assert [row["method"] for row in table["rows"]] == [row.record.method.name for row in boards[0].rows]
    assert table["rows"][0]["means"]["EN"]["mean"] == boards[0].rows[0].cells["EN"].mean
    assert len(table["wins"]) == 3 * len(IVIF_METRICS)
    first = table["wins"][0]
    names = [row["method"] for row in table["rows"]]
    assert first["rate"] == boards[0].wins.rate[names.index(first["method"]), names.index(first["against"]), 0]
    assert 0 < first["p"] <= 1


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (parameters(59856), "59.9 k"),
        (parameters(0), "0"),
        (parameters(None), "-"),
        (seconds(0.0123), "12.3 ms"),
        (seconds(2.5), "2.5 s"),
        (seconds(4e-5), "40 µs"),
        (memory(50331648), "48.0 MiB"),
        (memory(12), "12 B"),
    ],
)
def test_costs_are_shown_with_their_units(shown: str, expected: str) -> None:
    assert shown == expected
