"""Leaderboards on a terminal: nothing is cut off, at any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fusionkit.bench.report.quality_tables import QualityTable, quality_tables
from fusionkit.bench.report.terminal import as_terminal, print_tables
from tests.support.boardrecords import IVIF_METRICS, record

NASTY = "a|b_*c*`\x1b[31m\n<b>"


@pytest.fixture(scope="module")
def board() -> QualityTable:
    good = {metric: [2.0, 4.0, None] for metric in (*IVIF_METRICS, "VIFp")}
    poor = {metric: [1.0, 2.0, 3.0] for metric in (*IVIF_METRICS, "VIFp")}
    records = [record(NASTY, good), record("plain", poor), record("full", poor, stretch="full")]
    return quality_tables(records, resamples=200)[0]


def shown(board: QualityTable, width: int | None) -> str:
    console = Console(width=width or 500, file=io.StringIO(), color_system=None)
    console.print(as_terminal(board, width=width))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_a_table_has_means_intervals_ranks_costs_marks_and_published_rows(board: QualityTable) -> None:
    text = shown(board, None)
    assert "\x1b" not in text
    assert "published, not measured: refusion, Table 1 (MSRS)" in text
    head = next(line for line in text.splitlines() if line.startswith("method")).split()
    arrows = [word for metric in (*IVIF_METRICS, "VIFp") for word in (metric, "↑")]
    assert head == ["method", "rank", *arrows, "wins", "params", "time", "memory"]
    first = next(line for line in text.splitlines() if line.startswith("plain"))
    assert first.split()[2:9] == ["2.000"] * 7
    assert "± 1.000" in text  # of 1, 2 and 3: one draw in 27 has the least value alone, more than 2.5 %
    assert "(n=2)" in text
    assert "59.9 k" in text
    assert "full †" in text
    assert "† full: stretched to the full range, the other rows: not stretched" in text
    assert "note: ranked on fewer than 3 images" in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_a_narrow_terminal_gets_every_number_whole(board: QualityTable, width: int) -> None:
    wide, narrow = shown(board, None), shown(board, width)
    assert "…" not in narrow
    assert all(len(line.rstrip()) <= width for line in narrow.splitlines())
    for text in ("3.000", "± 1.000", "59.9 k", "2.0 KiB", "10 ms"):
        assert narrow.count(text) == wide.count(text)
    tables = sum(line.startswith("method") for line in narrow.splitlines())
    assert (tables > 2) == (width <= 100)  # one measured and one published where both fit


def test_a_pipe_gets_one_line_a_row_without_colours(board: QualityTable) -> None:
    stream = io.StringIO()
    print_tables([board, board], stream)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert sum(line.startswith("method") for line in text.splitlines()) == 4
    assert text.count("infrared-visible image fusion: MSRS-test, 3 pairs, profile refusion\n") == 2
    assert max(len(line) for line in text.splitlines()) < 200
