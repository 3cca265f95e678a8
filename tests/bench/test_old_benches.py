"""A bench folder that version 0.1.0 wrote before its records shared one form is read, shown and added to."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from fusionkit.bench.downstream.downstream_records import DownstreamRecord
from fusionkit.bench.record_files import read_records, stored_records
from fusionkit.bench.report.board import load_downstream, load_results, write_board

OLD = Path(__file__).parents[1] / "fixtures" / "v0_1" / "bench"


def _rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))


def test_every_record_is_read() -> None:
    quality = read_records(OLD)
    assert [(record.method.name, len(record.images)) for record in quality] == [("average", 3), ("maximum", 3)]
    assert len(stored_records(OLD, DownstreamRecord)) == 2 * 4 * 2


def test_the_board_has_the_numbers_of_the_old_one(tmp_path: Path) -> None:
    out = tmp_path / "bench"
    shutil.copytree(OLD, out)
    write_board(out)
    for name, keys in (("board.csv", ("method", "metric")), ("downstream.csv", ("method", "seed", "class", "score"))):
        old, new = (_rows(place / name) for place in (OLD, out))
        assert len(old) == len(new) > 0
        assert set(old[0]) <= set(new[0])

        def by_key(rows: list[dict[str, str]], keys: tuple[str, ...] = keys) -> dict[tuple[str, ...], dict[str, str]]:
            return {(row["dataset"], *(row[key] for key in keys)): row for row in rows}

        for key, row in by_key(old).items():
            for column, value in row.items():
                found = by_key(new)[key][column]
                try:
                    assert float(found) == pytest.approx(float(value), abs=5.1e-4 if column == "seconds" else 0), (
                        key,
                        column,
                    )
                except ValueError:
                    assert found == value, (key, column)
    for table in (*load_results(out), *load_downstream(out)):
        assert all(row.ranked for row in table.rows)
    old_rows = json.loads((OLD / "board.json").read_text(encoding="utf-8"))["tables"][0]["rows"]
    new_rows = json.loads((out / "board.json").read_text(encoding="utf-8"))["tables"][0]["rows"]
    for before, after in zip(old_rows, new_rows, strict=True):
        assert {name: after[name] for name in before if name != "means"} == {
            name: before[name] for name in before if name != "means"
        }
        assert after["means"] == before["means"]
