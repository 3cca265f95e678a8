"""The table of outer losses, on the built-in sample with a few steps."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from benchmarks.outer_loss import COLUMNS, DONE, LEARNED, evenly, main, options_of
from fusionkit.config import parse_assignments
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_store import decode_source
from fusionkit.fuse.tensors import stretch_range
from fusionkit.metrics import score
from fusionkit.tasks import MIF
from fusionkit.train.run import TrainRequest, start
from tests.benchmarks.paper.test_recipe import SMALL


def _run(out: Path, *words: str) -> str:
    given = ["--data", "sample", "--task", "mif", "--steps", "2", "--limit", "1", "--out", str(out)]
    small = ["--set", "trainer.crop=16", "--set", "trainer.batch=2", *SMALL]
    result = CliRunner().invoke(main, [*given, *small, *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_each_row_is_measured_once_and_the_maximum_is_scored_as_itself(tmp_path: Path) -> None:
    said = _run(tmp_path, "--row", "bright", "--row", "before", "--row", "maximum", "--seed", "0", "--seed", "1")
    entries = [json.loads(line) for line in (tmp_path / DONE).read_text().splitlines()]
    assert [(e["key"], e["seed"]) for e in entries] == [
        ("bright", 0), ("before", 0), ("bright", 1), ("before", 1), ("maximum", None),
    ]  # fmt: skip
    pair = find_pairs("sample", MIF, split="test")[0]
    a, b = (decode_source(file, "luminance")[None].float() / 255 for file in pair.files)
    fused = (255 * stretch_range(torch.maximum(a, b))).round()
    expected = score(fused, 255 * a, 255 * b, metrics=COLUMNS, profile="refusion").mean()
    (found,) = entries[-1]["scores"].values()
    assert found == {name: pytest.approx(float(expected[name])) for name in COLUMNS}
    again = _run(tmp_path, "--row", "maximum")
    assert [line for line in said.splitlines() if "maximum" in line and "| - |" in line] == again.splitlines()[-1:]
    assert len((tmp_path / DONE).read_text().splitlines()) == len(entries)


def test_pairs_are_taken_evenly_from_first_to_last() -> None:
    assert evenly(42, 6) == [0, 8, 16, 25, 33, 41]
    assert evenly(3, 6) == evenly(3, None) == [0, 1, 2]
    assert evenly(5, 1) == [0]


def test_each_row_changes_its_part_alone() -> None:
    found = {row.key: options_of(row, []) for row in LEARNED}
    bright = found["bright"]
    assert (bright.trainer.outer_loss_noise.pixel, bright.reconstructor.brightness, bright.reconstructor.combine) == (
        2,
        "absolute",
        "sum",
    )
    before = found["before"].reconstructor
    assert (before.brightness, before.combine, before.alpha) == ("off", "max", 1)
    assert found["before"].trainer.outer_loss_noise.pixel == 1
    assert found["noise"].reconstructor == before
    assert found["sum"].trainer == bright.trainer
    same = (found[key].reconstructor for key in ("weight", "wide", "strong"))
    assert all(reconstructor == bright.reconstructor for reconstructor in same)
    assert replace(found["linear"].reconstructor, brightness_power=2) == bright.reconstructor


def test_a_run_is_scored_by_what_its_p_asks_for_and_by_its_f(no_pictures: None, tmp_path: Path) -> None:
    tiny = [*SMALL[1::2], "trainer.crop=16", "trainer.batch=2", "trainer.epochs=2", "trainer.meta_steps=1"]
    options = parse_assignments([*tiny, "trainer.fusion_steps=1", "fuser.dim=4", "fuser.heads=2", "fuser.blocks=1"])
    run = start(TrainRequest(method="refusion", task="mif", preset="bright", options=options, device="cpu"), tmp_path)
    lines = _run(tmp_path, "--run", str(run.path), "--model", f"again={run.model}").splitlines()
    found = dict(line.split(" | ", 1) for line in lines[-3:])
    assert list(found) == ["| F of the run", "| minimiser of the run's L_f", "| again"]
    assert found["| again"] == found["| F of the run"]
