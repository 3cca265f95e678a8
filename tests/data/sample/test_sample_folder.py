"""The built-in samples are sound, repeatable, and written atomically."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusionkit.data import PairSet, verify
from fusionkit.data.sample import SAMPLE_TASKS, sample_pairs
from fusionkit.data.sample.infrared_visible import PLACES as THERMAL_PLACES
from fusionkit.data.sample.multi_exposure import PLACES as EXPOSURE_PLACES
from fusionkit.data.sample.sample_folder import make_scenes
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import MEIF, Task
from tests.support.sample_pictures import TASKS, pixels_of


@pytest.mark.parametrize("task", SAMPLE_TASKS)
def test_a_sample_is_sound_and_has_pairs_to_train_and_to_test(made: dict[str, PairSet], task: str) -> None:
    pairs = made[task]
    verify(pairs, decode=True)
    assert pairs.splits["train"] >= 8
    assert 2 <= pairs.splits["test"] <= 4
    for pair in pairs:
        height, width = pixels_of(pair.files[0]).shape[:2]
        assert 160 <= height <= 320
        assert 192 <= width <= 320
        assert all(any(pair.sha256) for pair in pairs)


@pytest.mark.parametrize("task", SAMPLE_TASKS)
def test_the_same_seed_gives_the_same_files(made: dict[str, PairSet], task: str, tmp_path: Path) -> None:
    again = sample_pairs(TASKS[task], tmp_path / "again")
    assert again.fingerprint() == made[task].fingerprint()
    texts = [(p[0].files[0].parents[1] / "MANIFEST.csv").read_text() for p in (again, made[task])]
    assert texts[0] == texts[1]


def test_another_seed_gives_other_pictures(made: dict[str, PairSet], tmp_path: Path) -> None:
    other = sample_pairs(MEIF, tmp_path / "other", seed=1)
    assert [pair.name for pair in other] == [pair.name for pair in made["meif"]]
    assert not {d for pair in other for d in pair.sha256} & {d for pair in made["meif"] for d in pair.sha256}


@pytest.mark.parametrize("places", [EXPOSURE_PLACES, THERMAL_PLACES], ids=["meif", "ivif"])
def test_no_part_of_a_photograph_is_in_both_splits(places: tuple[tuple[object, ...], ...]) -> None:
    for name, split, top, left, *_ in places:
        for other, other_split, other_top, other_left, *_ in places:
            if name == other and split != other_split:
                assert abs(top - other_top) >= 256 or abs(left - other_left) >= 256  # type: ignore[operator]


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is there already and is not this sample"):
        sample_pairs(MEIF, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_sample_of_another_seed_is_not_taken_for_this_one(tmp_path: Path) -> None:
    sample_pairs(MEIF, tmp_path / "s", seed=1)
    with pytest.raises(DataError, match="is not this sample"):
        sample_pairs(MEIF, tmp_path / "s", seed=2)


def test_an_empty_folder_is_filled_and_used_again(tmp_path: Path) -> None:
    first = sample_pairs(MEIF, tmp_path)
    times = [file.stat().st_mtime_ns for pair in first for file in pair.files]
    second = sample_pairs(MEIF, tmp_path)
    assert [file.stat().st_mtime_ns for pair in second for file in pair.files] == times


def test_nothing_is_left_when_making_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fusionkit.data.sample.sample_folder.write_manifest", full)
    with pytest.raises(DataError, match="s: cannot be written"):
        sample_pairs(MEIF, tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_task_without_sample_and_a_negative_seed_are_errors(tmp_path: Path) -> None:
    other = Task(name="mfiff", title="x", sources=("a", "b"), folders=(("a",), ("b",)), metrics=("EN",))
    with pytest.raises(UsageError, match=r"no built-in sample for task 'mfiff': did you mean 'mfif'\?"):
        make_scenes(other)
    with pytest.raises(UsageError, match="seed"):
        sample_pairs(MEIF, tmp_path / "s", seed=-1)


def test_processes_that_make_the_sample_at_once_all_get_it(tmp_path: Path) -> None:
    program = (
        "from fusionkit.data.sample.sample_folder import sample_pairs; from fusionkit.tasks import MIF; "
        "raise SystemExit(not len(sample_pairs(MIF)))"
    )
    environment = {**os.environ, "FUSIONKIT_CACHE": str(tmp_path)}
    started = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(2)]
    assert [process.wait(120) for process in started] == [0, 0]
