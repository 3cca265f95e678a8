"""The comparison of what the paper leaves open, on the built-in sample with a schedule of a few steps."""

from __future__ import annotations

import json
import statistics
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from benchmarks.paper.__main__ import main
from benchmarks.paper.controls import RECIPE, controls
from benchmarks.paper.schedules import parse_schedule, trainer_options
from benchmarks.paper.study import Study
from fusionkit.bench.record_files import read_records
from fusionkit.config import merged, parse_assignments, resolve
from fusionkit.io.locks import file_lock
from fusionkit.plugins import catalogue
from fusionkit.train.bilevel.options import check_options

SCHEDULE = "quick:4"
SMALL = [
    word
    for part in ("fuser", "proposer", "reconstructor")
    for name, value in (("dim", 4), ("heads", 2), ("blocks", 1))
    for word in ("--set", f"{part}.{name}={value}")
]


@pytest.fixture(scope="module")
def out(no_pictures: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    given = ["recipe", "--out", str(folder), "--device", "cpu", "--quiet", "--schedule", SCHEDULE, "--limit", "1"]
    given += ["--set", "trainer.crop=16", "--set", "trainer.batch=2", *SMALL]
    given += ["--row", "equal", "--row", "swap", "--seed", "0", "--seed", "1", "--metric", "SCD"]
    assert main(given) == 0
    return folder


@pytest.fixture(scope="module")
def panel(out: Path) -> dict[str, Any]:
    (found,) = json.loads((out / "recipe.json").read_text())["panels"]
    result: dict[str, Any] = found
    return result


def test_every_control_is_a_training_that_can_run_and_changes_something() -> None:
    for name in ("quick", "optimum"):
        schedule = parse_schedule(name)
        config = catalogue.trainers.get("refusion").Config
        plain = resolve(config, ("schedule", schedule.options))
        kinds = controls(schedule)
        assert len({variant.key for variant in kinds}) == len({variant.row for variant in kinds}) == len(kinds)
        for variant in kinds:
            found: Any = resolve(config, ("schedule", merged(schedule.options, variant.options)))
            check_options(found.trainer)
            assert (found == plain) == (variant.row == RECIPE), variant.key


def test_steps_and_rates_are_varied_about_the_schedules_own() -> None:
    schedule = parse_schedule("quick")
    own = trainer_options(schedule.options)
    options = {variant.key: variant.options.get("trainer", {}) for variant in controls(schedule)}
    assert own.lr_proposer is not None
    assert options["slow"]["lr_proposer"] * 9 == pytest.approx(options["fast"]["lr_proposer"])
    assert options["fast"]["lr_proposer"] == pytest.approx(3 * own.lr_proposer)
    assert options["many"]["meta_steps"] == 3 * own.meta_steps


def test_rows_are_means_and_spreads_over_seeds_beside_fusers_that_cost_nothing(
    panel: dict[str, Any], out: Path
) -> None:
    records = {r.method.name: r for r in read_records(out / "bench" / parse_schedule(SCHEDULE).name)}
    lines = {line["method"]: line for line in panel["lines"]}
    assert list(lines) == ["average", "maximum", RECIPE, "w = v = 1/2, nothing learned", "sources swapped at random"]
    for row, key in ((RECIPE, "full"), ("sources swapped at random", "swap")):
        each = [statistics.fmean(records[f"{key}-{seed}"].values("SCD").values()) for seed in (0, 1)]  # type: ignore[type-var]
        assert lines[row]["values"]["SCD"] == pytest.approx(statistics.fmean(each))
        assert lines[row]["spread"]["SCD"] == pytest.approx(statistics.stdev(each))
    assert lines["average"]["spread"] == {}


def test_a_cell_that_another_command_is_at_comes_last(out: Path, tmp_path: Path) -> None:
    said: list[str] = []
    held = file_lock(tmp_path / "locks" / f"mif-{parse_schedule(SCHEDULE).name}-full-0.lock", wait=False)

    def say(line: str) -> None:
        said.append(line)
        if "swap-0" in line:
            # The other command is done with it.
            held.__exit__(None, None, None)

    study = Study(
        task="mif",
        schedule=parse_schedule(SCHEDULE),
        train="sample",
        data=("sample",),
        out=tmp_path,
        options=parse_assignments([word for word in SMALL if word != "--set"] + ["trainer.crop=16", "trainer.batch=2"]),
        device="cpu",
        say=say,
        progress=lambda: nullcontext(),
    )
    chosen = [variant for variant in controls(parse_schedule(SCHEDULE)) if variant.key in ("full", "swap")]
    assert held.__enter__()
    cells = study.trained(chosen)
    assert [cell.variant.key for cell in cells] == ["full", "swap"]
    assert [line.rpartition("/")[2] for line in said] == ["swap-0", "full-0"]


def test_what_differs_from_the_recipe_differs_by_two_standard_errors(panel: dict[str, Any]) -> None:
    lines = {line["method"]: line for line in panel["lines"]}
    whole = lines[RECIPE]
    for metric in panel["metrics"]:
        below, above = [], []
        for method, line in lines.items():
            if method == RECIPE or line["values"][metric] is None:
                continue
            spreads = [entry["spread"].get(metric, 0.0) for entry in (line, whole)]
            bar = 2 * (spreads[0] ** 2 / 2 + spreads[1] ** 2 / 2) ** 0.5
            gap = line["values"][metric] - whole["values"][metric]
            below += [method] if gap < -bar else []
            above += [method] if gap > bar else []
        said = f"{metric}: below the recipe {', '.join(below) or 'none'}; above it {', '.join(above) or 'none'}."
        assert (said in panel["notes"]) == bool(below or above)
