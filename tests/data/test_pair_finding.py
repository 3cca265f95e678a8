"""What a user may write for a set of pairs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from fusionkit.data import find_pairs, verify
from fusionkit.data.manifest import FILENAME
from fusionkit.data.pair_finding import task_of
from fusionkit.data.published.mfif import LYTRO
from fusionkit.data.sample.sample_folder import CACHE_VARIABLE
from fusionkit.errors import DataError, UsageError
from fusionkit.plugins.catalogue import datasets
from fusionkit.tasks import IVIF, MEIF, MFIF


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for side in ("ir", "vi"):
            for n in (1, 2):
                file = tmp_path / "mine" / split / side / f"{n}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (8, 8)).save(file)
    return tmp_path / "mine"


@pytest.fixture
def lytro() -> Iterator[None]:
    """The record of Lytro by its name, whether or not this checkout is installed with it."""
    if "Lytro" not in datasets.names():
        datasets.register("Lytro", LYTRO)
    yield
    datasets._registered.pop("Lytro", None)


def test_a_folder_is_searched(folder: Path) -> None:
    assert find_pairs(folder, IVIF).splits == {"train": 2, "test": 2}
    assert [pair.name for pair in find_pairs(str(folder), IVIF, split="test", names=["2"])] == ["2"]
    verify(find_pairs(folder, IVIF))


def test_a_folder_without_splits_is_taken_whole(folder: Path) -> None:
    assert len(find_pairs(folder / "train", IVIF, split="test")) == 2


def test_a_folder_with_a_manifest_is_read_by_it(folder: Path) -> None:
    rows = ["ivif,D,train,n1,train/ir/1.png,train/vi/1.png", "ivif,E,test,n2,test/ir/2.png,test/vi/2.png"]
    (folder / FILENAME).write_text("\n".join(["task,dataset,split,name,file_a,file_b", *rows]))
    for spec in (folder, folder / FILENAME):
        assert [pair.name for pair in find_pairs(spec, IVIF)] == ["n1", "n2"]
    assert [pair.name for pair in find_pairs(folder, IVIF, dataset="E")] == ["n2"]
    assert [pair.name for pair in find_pairs(folder, IVIF, split="train")] == ["n1"]
    with pytest.raises(UsageError, match="has a manifest"):
        find_pairs(folder, IVIF, folders=["ir", "vi"])


def test_a_data_set_of_a_plain_folder_is_an_error(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"dataset 'D': .*mine has no MANIFEST\.csv"):
        find_pairs(folder, IVIF, dataset="D")


def test_what_is_nowhere_is_an_error_with_the_nearest_name(lytro: None) -> None:
    with pytest.raises(DataError, match="lytro: no such folder, and no data set of that name: did you mean 'Lytro'"):
        find_pairs("lytro", MFIF)


def test_a_file_that_is_no_manifest_is_an_error(folder: Path) -> None:
    with pytest.raises(DataError, match=r"1\.png: a folder or a CSV manifest is needed"):
        find_pairs(folder / "train" / "ir" / "1.png", IVIF)


def test_a_named_set_is_found_in_its_folder(tmp_path: Path, lytro: None) -> None:
    for n in range(1, 21):
        for side in "AB":
            (tmp_path / f"lytro-{n:02}-{side}.jpg").touch()
    pairs = find_pairs(f"Lytro:{tmp_path}", MFIF, split="test", names=["07"])
    assert [[file.name for file in pair.files] for pair in pairs] == [["lytro-07-A.jpg", "lytro-07-B.jpg"]]
    with pytest.raises(UsageError, match="has no split 'train'"):
        find_pairs(f"Lytro:{tmp_path}", MFIF, split="train")
    with pytest.raises(UsageError, match="for task mfif, not meif"):
        find_pairs(f"Lytro:{tmp_path}", MEIF)


def test_options_of_folders_do_not_go_with_a_name(lytro: None) -> None:
    with pytest.raises(UsageError, match="'sample': dataset and folders are only for"):
        find_pairs("sample", MFIF, folders=["a", "b"])


def test_a_folder_called_like_a_name_is_written_with_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    folder.rename(tmp_path / "sample")
    monkeypatch.chdir(tmp_path)
    assert find_pairs("./sample", IVIF).splits == {"train": 2, "test": 2}


def test_the_sample_is_made_once_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    first = find_pairs("sample", MEIF, split="train")
    made = {file: file.stat().st_mtime_ns for pair in first for file in pair.files}
    assert all(tmp_path in file.parents for file in made)
    second = find_pairs("sample", MEIF, split="train")
    assert {file: file.stat().st_mtime_ns for pair in second for file in pair.files} == made
    # A damaged cache is made again.
    victim = first[0].files[0]
    victim.write_bytes(b"broken")
    verify(find_pairs("sample", MEIF))
    assert victim.stat().st_size > 1000


def test_a_spec_of_a_named_set_says_its_task(lytro: None) -> None:
    assert task_of("Lytro") == task_of("Lytro:/somewhere") == "mfif"
    assert task_of("/somewhere") is None
    assert task_of("sample") is None


@pytest.mark.parametrize(
    ("task", "counts"), [("ivif", (265, 117)), ("mif", (637, 50)), ("mfif", (71, 33)), ("meif", (65, 52))]
)
def test_real_pairs_are_sound(data_dir: Path, task: str, counts: tuple[int, int]) -> None:
    from fusionkit import tasks

    if not (data_dir / "ivif" / "TNO_extra").is_dir():
        pytest.skip("the counts are those of another collection")
    pairs = find_pairs(data_dir, getattr(tasks, task.upper()))
    assert (len(pairs.split("train")), len(pairs.split("test"))) == counts
    verify(pairs)
