"""A measured column is added in one place and is then in every form of the board."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fusionkit.bench.report import tables
from fusionkit.bench.report.board import load_downstream, load_results, write_board
from fusionkit.bench.report.tables import Detail, Table
from fusionkit.bench.report.terminal import as_terminal
from tests.support import boardrecords, downstreamrecords

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser", "chrome"))), None)


def _shown(table: Table) -> str:
    console = Console(width=500, file=io.StringIO(), color_system=None)
    console.print(as_terminal(table))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _block(page: str, name: str) -> dict[str, Any]:
    found = re.search(rf'id="{name}">(.*?)</script>', page)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A board of both kinds with one more column: the only change is an entry in one list."""
    out = tmp_path / "bench"
    boardrecords.bench_folder(out, methods=("alpha", "beta"))
    downstreamrecords.keep(out, *(downstreamrecords.record("alpha", seed, 0.5) for seed in (0, 1)))
    pixels = Detail(
        key="pixels",
        title="size",
        format="count",
        hint="pixels of the first image",
        measure=lambda records: getattr(records[0].images[0], "height", 36) * 48,
    )
    monkeypatch.setattr(tables, "DETAILS", (*tables.DETAILS, pixels))
    write_board(out)
    return out


def test_a_column_of_quality_is_in_all_five_forms(board: Path) -> None:
    (table,) = load_results(board)
    head = next(line for line in _shown(table).splitlines() if line.startswith("method"))
    assert head.split()[-1] == "size"
    assert _shown(table).count("1.7 k") == 2
    markdown = (board / "board.md").read_text(encoding="utf-8")
    assert "| memory | size |" in markdown
    assert markdown.count("| 1.7 k |") == 2
    rows = list(csv.DictReader(io.StringIO((board / "board.csv").read_text(encoding="utf-8"))))
    assert {row["pixels"] for row in rows if row["kind"] == "measured"} == {"1728"}
    (told,) = json.loads((board / "board.json").read_text(encoding="utf-8"))["tables"]
    assert [row["pixels"] for row in told["rows"]] == [1728, 1728]
    assert told["table_columns"][-1]["hint"] == "pixels of the first image"
    head_data = _block((board / "index.html").read_text(encoding="utf-8"), "board")["tables"][0]
    assert head_data["table_columns"] == told["table_columns"]


def test_a_downstream_column_is_in_all_five_forms(board: Path) -> None:
    (table,) = load_downstream(board)
    assert _shown(table).count("1.7 k") == 1
    assert "| memory | size |" in (board / "downstream.md").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO((board / "downstream.csv").read_text(encoding="utf-8"))))
    assert {row["pixels"] for row in rows} == {"1728"}
    (told,) = json.loads((board / "downstream.json").read_text(encoding="utf-8"))["tables"]
    assert told["rows"][0]["pixels"] == 1728
    data = _block((board / "index.html").read_text(encoding="utf-8"), "downstream")["tables"][0]
    assert data["table_columns"] == told["table_columns"]


@pytest.mark.skipif(BROWSER is None, reason="put chromium or google-chrome on PATH to run this test")
def test_a_browser_shows_both_columns(board: Path, tmp_path: Path) -> None:
    quality = _document(board, tmp_path, 0).partition('id="leaderboard-title"')[2].partition("</table>")[0]
    assert 'data-key="pixels"' in quality
    assert quality.count(">1.73 k</td>") == 2
    downstream = _document(board, tmp_path, 1).partition('id="downstream-0"')[2].partition("</table>")[0]
    assert ">Size</th>" in downstream
    assert ">1.73 k</td>" in downstream


def _document(board: Path, tmp_path: Path, table: int) -> str:
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=4000"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", f"{(board / 'index.html').as_uri()}#t={table}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
