"""Folders of sources: which sub-folder is which source, and which file goes with which."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionkit.data.folders import folder_pairs, source_folders
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import IVIF, MEIF, MFIF, MIF


def _touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


@pytest.mark.parametrize(
    ("task", "first", "second"),
    [
        (IVIF, "ir", "vi"),
        (IVIF, "IR", "Vis"),
        (IVIF, "Infrared", "Visible"),
        (IVIF, "A", "B"),
        (MIF, "PET", "MRI"),
        (MIF, "SPECT", "mr"),
        (MFIF, "near", "far"),
        (MEIF, "UNDER", "OVER"),
    ],
)
def test_sources_are_recognised_by_the_names_of_their_task_in_any_case(
    tmp_path: Path, task: object, first: str, second: str
) -> None:
    _touch(tmp_path / second / "x.png", tmp_path / first / "x.jpg", tmp_path / "labels" / "x.txt")
    pairs = folder_pairs(tmp_path, task)  # type: ignore[arg-type]
    assert [pair.name for pair in pairs] == ["x"]
    assert [file.parent.name for file in pairs[0].files] == [first, second]
    assert pairs[0].dataset == tmp_path.name


def test_lettered_folders_give_as_many_sources_as_there_are_letters(tmp_path: Path) -> None:
    _touch(*(tmp_path / letter / "x.png" for letter in "abcd"))
    assert [file.parent.name for file in folder_pairs(tmp_path, MEIF)[0].files] == ["a", "b", "c", "d"]


def test_split_folders_give_the_split_of_each_pair(tmp_path: Path) -> None:
    for split, stem in (("test", "t"), ("train", "u"), ("train", "v")):
        _touch(tmp_path / split / "ir" / f"{stem}.png", tmp_path / split / "vi" / f"{stem}.png")
    pairs = folder_pairs(tmp_path, IVIF)
    assert [(pair.split, pair.name) for pair in pairs] == [("train", "u"), ("train", "v"), ("test", "t")]


def test_sources_called_otherwise_are_found_by_the_names_given(tmp_path: Path) -> None:
    _touch(tmp_path / "thermal" / "x.png", tmp_path / "rgb" / "x.png")
    pairs = folder_pairs(tmp_path, IVIF, folders=["thermal", "rgb"])
    assert [file.parent.name for file in pairs[0].files] == ["thermal", "rgb"]


def test_folders_given_by_name_are_looked_for_below_the_splits_too(tmp_path: Path) -> None:
    _touch(tmp_path / "train" / "thermal" / "x.png", tmp_path / "train" / "rgb" / "x.png")
    assert folder_pairs(tmp_path, IVIF, folders=["thermal", "rgb"]).splits == {"train": 1}


def test_a_missing_source_is_named_with_what_is_there(tmp_path: Path) -> None:
    _touch(tmp_path / "thermal" / "x.png", tmp_path / "vi" / "x.png")
    words = r"no sub-folder for infrared \(ir or .*\); it holds: thermal, vi: .*--folders A,B"
    with pytest.raises(DataError, match=words):
        folder_pairs(tmp_path, IVIF)


def test_two_folders_for_one_source_are_an_error_that_names_both(tmp_path: Path) -> None:
    _touch(tmp_path / "ct" / "x.png", tmp_path / "pet" / "x.png", tmp_path / "mri" / "x.png")
    with pytest.raises(DataError, match=r"several sub-folders for functional \(ct, pet\)"):
        folder_pairs(tmp_path, MIF)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        folder_pairs(tmp_path / "nowhere", IVIF)


def test_folders_given_by_name_that_are_not_there_are_named(tmp_path: Path) -> None:
    _touch(tmp_path / "rgb" / "x.png")
    with pytest.raises(DataError, match=r"no sub-folders \['thermal', 'rgb'\]; there are: rgb"):
        folder_pairs(tmp_path, IVIF, folders=["thermal", "rgb"])


def test_one_folder_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least two"):
        folder_pairs(tmp_path, IVIF, folders=["rgb"])


def test_folders_with_nothing_in_common_are_named_with_examples(tmp_path: Path) -> None:
    _touch(*(tmp_path / "near" / f"p{n}_A.png" for n in range(5)), tmp_path / "far" / "p0_B.png")
    with pytest.raises(DataError, match=r"near \(p0_A, p1_A, p2_A, \.\.\.\) and .*far \(p0_B\) have no file name"):
        folder_pairs(tmp_path, MFIF)


def test_an_empty_source_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "ir").mkdir()
    _touch(tmp_path / "vi" / "x.png", tmp_path / "ir" / "notes.txt")
    with pytest.raises(DataError, match="ir: holds no images"):
        folder_pairs(tmp_path, IVIF)


def test_a_folder_without_source_folders_is_none_unless_one_is_needed(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    assert source_folders(tmp_path, IVIF, required=False) is None
    with pytest.raises(DataError, match="infrared"):
        source_folders(tmp_path, IVIF)


def test_folders_of_splits_inside_the_source_folders_are_named(tmp_path: Path) -> None:
    _touch(*(tmp_path / side / split / "x.png" for side in ("ir", "vi") for split in ("train", "test")))
    with pytest.raises(DataError, match=r"ir: holds no images .*; it holds folders \(test, train\): give the one with"):
        folder_pairs(tmp_path, IVIF)
