"""From records to tables: means, their spread over seeds, and what is said of rows that do not compare."""

from __future__ import annotations

import csv
import io
import json
import statistics
from pathlib import Path

import pytest
from rich.console import Console

from fusionkit.bench.downstream.downstream_records import DownstreamRecord
from fusionkit.bench.record_files import read_record, stored_records
from fusionkit.bench.report.board import load_downstream
from fusionkit.bench.report.downstream_tables import DownstreamTable, seed_cell
from fusionkit.bench.report.formats import as_downstream_csv, as_json, as_markdown
from fusionkit.bench.report.tables import Cell, Column
from fusionkit.bench.report.terminal import as_terminal
from fusionkit.errors import DataError
from tests.support.downstreamrecords import ONE, TWO, keep, record


def table_of(out: Path, *records: DownstreamRecord) -> DownstreamTable:
    keep(out, *records)
    (table,) = load_downstream(out)
    return table


def test_a_spread_is_the_mean_and_the_deviation_of_a_sample() -> None:
    column = Column(key="mIoU", title="mIoU", format="percent", decimals=1)

    def text(cell: Cell) -> str:
        return " ".join(cell.lines(column))

    cell = seed_cell({0: 0.4, 1: 0.5, 2: 0.9})
    assert cell.mean == pytest.approx(0.6)
    assert cell.half_width == pytest.approx(statistics.stdev([0.4, 0.5, 0.9]))
    assert text(cell) == "60.0 ± 26.5"
    assert (seed_cell({0: 0.5}).half_width, text(seed_cell({0: 0.5}))) == (None, "50.0")
    undefined = seed_cell({0: 0.5, 1: None})
    assert (undefined.mean, undefined.half_width, text(undefined)) == (None, None, "-")


def test_rows_are_in_the_order_of_the_first_score(tmp_path: Path) -> None:
    values = {"low": 0.2, "high": 0.7, "middle": 0.5}
    table = table_of(tmp_path, *(record(name, seed, v + 0.01 * seed) for name, v in values.items() for seed in (0, 1)))
    assert [row.method for row in table.rows] == ["high", "middle", "low"]
    assert table.placed("mAP50") == (1, 2, 0)
    assert table.rows[0].value("seconds") == pytest.approx(60.5)
    assert (table.facts[-1], table.rows[0].value("peak_bytes"), table.rows[0].marks) == ("2 seeds", 2**20, ())


def test_rows_that_do_not_compare_are_marked_and_come_last(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        *(record(name, seed, 0.5) for name in ("a", "b") for seed in (0, 1)),
        record("one-seed", 0, 0.9),
        *(record("elsewhere", seed, 0.8, data=TWO) for seed in (0, 1)),
        *(record("changed", seed, 0.7, weights=(ONE, TWO)[seed]) for seed in (0, 1)),
    )
    marks = {row.method: row.marks for row in table.rows}
    assert marks == {
        "a": (),
        "b": (),
        "one-seed": ("seeds 0, the others 0, 1",),
        "elsewhere": ("other data",),
        "changed": ("its seeds are of different versions of the method",),
    }
    assert [row.method for row in table.rows][:2] == ["a", "b"]
    assert table.placed("mAP50") == (1, 1, 0, 0, 0)


def test_protocols_are_tables_of_their_own(tmp_path: Path) -> None:
    keep(tmp_path, record("a", 0, 0.5))
    longer = record("a", 0, 0.6)
    keep(tmp_path, longer.model_copy(update={"protocol": {**longer.protocol, "steps": 31}}))
    assert sorted(str(table.rows[0].value("mAP50")) for table in load_downstream(tmp_path)) == ["0.5", "0.6"]
    assert load_downstream(tmp_path / "nowhere") == ()


def test_every_value_of_every_seed_is_in_the_csv(tmp_path: Path) -> None:
    classes = ("person", "car")
    per_class = {"person": 0.25, "car": None}
    table = table_of(tmp_path, *(record("a|b", s, 0.5 + s / 8, classes=classes, per_class=per_class) for s in (0, 1)))
    rows = list(csv.DictReader(io.StringIO(as_downstream_csv([table]))))
    assert len(rows) == 2 * (3 + 2 * 2)
    found = {(row["seed"], row["class"], row["score"]): row["value"] for row in rows}
    assert found["1", "", "mAP75"] == "0.625"
    assert found["0", "person", "AP50"] == "0.25"
    assert found["0", "car", "AP50"] == ""


def test_the_other_forms_say_the_same(tmp_path: Path) -> None:
    classes = ("person", "car")
    records = [
        record(name, seed, value + 0.02 * seed, classes=classes)
        for name, value in (("a|b", 0.5), ("c", 0.25))
        for seed in (0, 1)
    ]
    table = table_of(tmp_path, *records)
    markdown = as_markdown([table], "Downstream scores")
    line = next(line for line in markdown.splitlines() if "a\\|b" in line)
    assert "| **51.0 ± 1.4** |" in line
    assert "30 updates of 2 images 64x96" in markdown
    (told,) = json.loads(as_json([table]))["tables"]
    assert [row["method"] for row in told["rows"]] == ["a|b", "c"]
    assert told["rows"][0]["scores"]["mAP50"]["values"] == [0.5, 0.52]
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(as_terminal(table))
    shown = console.export_text()
    assert "51.0" in shown
    assert "± 1.4" in shown
    assert "detection by toy: streets-test, 3 images, trained on 7" in shown
    assert "AP50-95 car" in shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[:100], "damaged"),
        (lambda text: text.replace('"format":1', '"format":2'), "is of format 2"),
        (lambda text: text.replace('"kind":"detection"', '"kind":"depth"', 1), "kind"),
        (lambda text: text.replace('"seed":0', '"seed":0,"extra":1'), "extra"),
    ],
)
def test_a_record_that_is_not_of_the_form_is_named(tmp_path: Path, change: object, words: str) -> None:
    keep(tmp_path, record("a", 0, 0.5))
    (before,) = stored_records(tmp_path, DownstreamRecord)
    path = tmp_path / before.place
    assert before.model_copy(update={"sha256": "", "place": ""}) == record("a", 0, 0.5)
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(DataError) as caught:
        read_record(path, DownstreamRecord)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_a_table_names_the_options_of_its_network(tmp_path: Path) -> None:
    """Two tables may differ in nothing but the backbone."""
    of_options = record("a", 0, 0.5)
    network = of_options.network.model_copy(update={"config": {"backbone": "pvt_v2_b0", "channels": 64}})
    table = table_of(tmp_path, of_options.model_copy(update={"network": network}))
    assert "network: backbone=pvt_v2_b0, channels=64" in table.facts
