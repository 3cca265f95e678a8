"""A third party's task: fused by the model that it states, benched and offered like those of the field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

import fusionkit
from fusionkit.app.choices import Choices
from fusionkit.bench.methods import usable
from fusionkit.cli import main
from fusionkit.errors import UsageError
from fusionkit.models.listing import default_fuser
from fusionkit.plugins import catalogue
from fusionkit.tasks import Task
from fusionkit.testing import check_task

NIR = Task(
    name="nir-test",
    title="near-infrared and visible",
    sources=("near infrared", "visible"),
    folders=(("nir",), ("rgb",)),
    metrics=("EN", "SCD"),
    profile="standard",
    reference="a test",
    default_model="refusion:ivif",
)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    catalogue.tasks.register("nir-test", NIR)
    yield
    catalogue.tasks._registered.pop("nir-test")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for place, folder in enumerate(("nir", "rgb")):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        for name in ("1", "2"):
            noise = np.random.default_rng(10 * place + int(name)).integers(0, 256, (48, 64), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "pairs" / folder / f"{name}.png"), cv2.GaussianBlur(noise, (0, 0), 2))
    return tmp_path / "pairs"


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_the_stated_model_fuses_it_and_the_record_says_which(pairs: Path, tmp_path: Path) -> None:
    assert default_fuser("nir-test") == "refusion:ivif"
    result = _run("fuse", "--task", "nir-test", "-a", pairs / "nir", "-b", pairs / "rgb", "-o", tmp_path / "fused")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "fused" / "fusion.json").read_text())
    assert (record["model"], record["task"]) == ("refusion:ivif", "nir-test")
    known = fusionkit.load("refusion:ivif").fuse(pairs / "nir" / "1.png", pairs / "rgb" / "1.png").array()
    made = cv2.imread(str(tmp_path / "fused" / "1.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(made.reshape(known.shape), known)


def test_a_model_that_it_does_not_state_is_still_refused() -> None:
    with pytest.raises(UsageError, match="is for task mif, not nir-test"):
        fusionkit.load("refusion:mif", "nir-test")


def test_its_pairs_are_benched_under_its_name_with_its_metrics(pairs: Path, tmp_path: Path) -> None:
    chosen = ("--fuser", "refusion:ivif", "--fuser", "average")
    result = _run("bench", "--task", "nir-test", "--data", pairs, *chosen, "-o", tmp_path / "bench", "-q")
    assert result.exit_code == 0, result.output
    assert "near-infrared and visible" in result.output
    board = json.loads((tmp_path / "bench" / "board.json").read_text())
    text = json.dumps(board)
    assert "nir-test" in text
    assert "SCD" in text
    assert (tmp_path / "bench" / "index.html").is_file()


def test_a_bench_of_everything_has_the_stated_model() -> None:
    found, problems = usable("nir-test")
    assert not problems
    names = [spec.name for spec in found]
    assert names[0] == "refusion:ivif"
    assert {"average", "laplacian"} <= set(names)
    assert not {"refusion", "tdfusion"} & set(names), "they have no model for this task"


def test_the_page_offers_it_first(tmp_path: Path) -> None:
    choices = Choices(device="cpu")
    assert choices.methods["nir-test"][0] == "refusion:ivif"
    assert "average" in choices.methods["nir-test"]
    assert choices.model("refusion:ivif", "nir-test").task == "nir-test"


def test_a_task_is_held_to_its_contract() -> None:
    check_task(NIR)
    for changed, says in {
        "sources": "it has 1 sources",
        "folders": "stands for two sources",
        "metrics": "metric 'ENN'",
        "default_model": "its model 'refusion:nothing'",
        "name": "cannot be typed",
    }.items():
        value = {
            "sources": ("one",),
            "folders": (("a",), ("a", "b")),
            "metrics": ("ENN",),
            "default_model": "refusion:nothing",
            "name": "Near IR",
        }[changed]
        with pytest.raises(AssertionError, match=says):
            check_task(Task(**{**vars(NIR), changed: value}))
