"""The table of speeds, on the built-in sample."""

from __future__ import annotations

import sys

import pytest

from benchmarks import speeds


def test_a_row_per_speed_and_method_with_quality_and_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["speeds", "--data", "sample", "--task", "ivif", "--model", "average"])
    monkeypatch.setattr(speeds, "RUNS", 1)
    speeds.main()
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:]] for cells in lines if len(cells) == 4 and "(" in cells[0]
    }
    times = {cells[0].strip() for cells in lines if len(cells) == 4}
    assert [*rows][1:] == [*speeds.SPEEDS, "fcdfusion"]
    assert {*speeds.SPEEDS, "fcdfusion"} <= times
    # The average has the same weights everywhere, so that nothing is lost by shrinking.
    exact, quarter = ([float(value) for value in rows[speed][0].split("/")] for speed in ("exact", "quarter"))
    assert quarter == pytest.approx(exact, abs=0.02)
