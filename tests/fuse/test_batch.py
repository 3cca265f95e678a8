"""What is fused into what, decided and checked before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.batch import RECORD, Job, check_jobs, plan_jobs, run_jobs
from fusionkit.fuse.model import Model
from fusionkit.io.images import read_image
from tests.support.toyfusers import ToyMean


def picture(path: Path, value: int = 80, size: tuple[int, int] = (5, 4), channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], 3)
    PIL.Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name, value in (("one", 10), ("two", 40), ("three", 70)):
        picture(tmp_path / f"a/{name}.png", value)
        picture(tmp_path / f"b/{name}.bmp", value + 20)
    (tmp_path / "a/notes.txt").write_text("not an image")
    return tmp_path / "a", tmp_path / "b"


def test_folders_are_matched_by_stem(folders: tuple[Path, Path], tmp_path: Path) -> None:
    plan = plan_jobs(folders, tmp_path / "out")
    assert [job.target.name for job in plan.jobs] == ["one.png", "three.png", "two.png"]
    assert plan.jobs[0] == Job((folders[0] / "one.png", folders[1] / "one.bmp"), tmp_path / "out/one.png")
    assert plan.problems == ()
    assert not (tmp_path / "out").exists()


def test_three_folders_are_matched(folders: tuple[Path, Path], tmp_path: Path) -> None:
    picture(tmp_path / "c/two.tif")
    plan = plan_jobs([*folders, tmp_path / "c"], tmp_path / "out", suffix=".tif")
    assert [(len(job.sources), job.target.name) for job in plan.jobs] == [(3, "two.tif")]
    assert len(plan.problems) == 2


@pytest.mark.parametrize(
    ("out", "target"), [("x.tif", "x.tif"), ("there", "there/one.png"), ("new/", "new/one.png"), ("n/x.png", "n/x.png")]
)
def test_files_are_fused_into_a_file_or_under_the_first_name_into_a_folder(
    out: str, target: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "there").mkdir()
    plan = plan_jobs([folders[0] / "one.png", folders[1] / "two.bmp"], f"{tmp_path}/{out}")
    assert [job.target for job in plan.jobs] == [tmp_path / target]
    assert plan.folder is None


def refused(kind: type, words: str, *args, **options) -> None:
    with pytest.raises(kind, match=words) as caught:
        plan_jobs(*args, **options)
    assert "\n" not in str(caught.value)


def test_sources_that_cannot_be_planned_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = folders
    out = tmp_path / "out"
    refused(UsageError, "two or more", [a], out)
    refused(DataError, "none: no such file or folder", [a, tmp_path / "none"], out)
    refused(UsageError, "a is a folder and .*two.bmp is not", [a, b / "two.bmp"], out)
    refused(UsageError, "one.png: is a file", [a, b], a / "one.png")
    refused(UsageError, "is a folder of sources", [a, b], b)
    refused(UsageError, "would replace a source", [a / "one.png", b / "one.bmp"], a / "../a/one.png")
    refused(UsageError, "unknown suffix '.gif'", [a / "one.png", b / "one.bmp"], tmp_path / "x.gif")
    refused(UsageError, "a suffix is needed", [a / "one.png", b / "one.bmp"], tmp_path / "x")
    refused(UsageError, "at most 8 bits a sample, not 16", [a, b], out, suffix=".jpg", bits=16)
    (tmp_path / "void").mkdir()
    refused(DataError, "holds no images", [a, tmp_path / "void"], out)
    picture(tmp_path / "c/other.png")
    refused(DataError, "no file name in common", [a, tmp_path / "c"], out)
    assert not out.exists()


def test_results_that_are_there_are_kept_unless_forced(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    picture(out / "two.png", 1)
    refused(UsageError, r"has results already \(two.png\).*--force", folders, out)
    refused(UsageError, "is there already.*--force", [f / "two.png" for f in (out, out)], picture(tmp_path / "x.png"))
    assert len(plan_jobs(folders, out, force=True).jobs) == 3
    (out / "two.png").unlink()
    (out / RECORD).write_text("{}")
    refused(UsageError, RECORD, folders, out)


def test_everything_that_is_wrong_is_found_and_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    a, b = folders
    picture(a / "lonely.png")
    picture(a / "double.png")
    picture(a / "double.jpg")
    picture(b / "double.png")
    picture(a / "size.png", size=(6, 4))
    picture(b / "size.png", size=(5, 4))
    whole = picture(a / "cut.png", size=(90, 90)).read_bytes()
    (a / "cut.png").write_bytes(whole[: len(whole) // 2])
    picture(b / "cut.png", size=(90, 90))
    picture(a / "text.png")
    (b / "text.png").write_text("hello")
    reports: list[tuple[str, int, int]] = []
    plan = check_jobs(plan_jobs(folders, tmp_path / "out"), report=lambda *given: reports.append(given))
    assert [job.target.stem for job in plan.jobs] == ["one", "three", "two"]
    named = {problem.partition(":")[0]: problem for problem in plan.problems}
    assert set(named) == {"lonely", "double", "size", "cut", "text"}
    assert "no partner in b" in named["lonely"]
    assert "6x4" in named["size"]
    assert "cut short" in named["cut"]
    assert "not an image" in named["text"]
    assert reports[-1] == ("checking", 6, 6)


def test_of_two_fusings_into_one_folder_one_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    first, second = plan_jobs(folders, out), plan_jobs(folders, out)
    run_jobs(Model(ToyMean(), name="mean"), first)
    before = {file: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(UsageError, match="has results already"):
        run_jobs(Model(ToyMean(), name="other"), second)
    assert {file: file.read_bytes() for file in out.iterdir()} == before


def test_a_fusing_stops_where_another_one_replaces_its_results(folders: tuple[Path, Path], tmp_path: Path) -> None:
    mean, plan = Model(ToyMean(), name="mean"), plan_jobs(folders, tmp_path / "out", force=True)

    def other_after_one(_step: str, done: int, _of: int) -> None:
        if done == 1:
            run_jobs(Model(ToyMean(), name="other"), plan)

    with pytest.raises(DataError, match="another process has replaced"):
        run_jobs(mean, plan, report=other_after_one)
    record = json.loads((tmp_path / "out" / RECORD).read_text())
    assert (record["model"], record["complete"]) == ("other", True)


def test_a_folder_gets_every_result_and_a_record(folders: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "deep/out"
    plan = plan_jobs(folders, out)
    reports: list[tuple[str, int, int]] = []
    run_jobs(Model(ToyMean(), name="mean"), plan, report=lambda *given: reports.append(given))
    assert sorted(file.name for file in out.iterdir()) == [RECORD, "one.png", "three.png", "two.png"]
    for name, value in (("one", 20), ("two", 50), ("three", 80)):
        assert read_image(out / f"{name}.png").pixels[..., 0].tolist() == [[value] * 5] * 4
    assert reports == [("fusing", k, 3) for k in (1, 2, 3)]
    record = json.loads((out / RECORD).read_text())
    assert record["complete"] is True
    assert record["results"] == ["one.png", "three.png", "two.png"]
    assert record["sources"] == [str(folder) for folder in folders]
    assert (record["model"], record["stretch"], record["gamut"]) == ("mean", "none", "keep-luminance")
    assert record["skipped"] == []


def test_a_run_that_fails_says_in_its_record_that_it_is_not_complete(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    plan = plan_jobs(folders, tmp_path / "out")
    (folders[0] / "two.png").unlink()
    with pytest.raises(DataError, match=r"two\.png"):
        run_jobs(Model(ToyMean()), plan)
    assert json.loads((tmp_path / "out" / RECORD).read_text())["complete"] is False
    assert sorted(file.name for file in (tmp_path / "out").glob("*.png")) == ["one.png", "three.png"]


def test_single_files_get_no_record(folders: tuple[Path, Path], tmp_path: Path) -> None:
    plan = plan_jobs([folders[0] / "one.png", folders[1] / "one.bmp"], tmp_path / "out/x.png")
    run_jobs(Model(ToyMean()), plan)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["x.png"]
