"""MANIFEST.csv: what is read, what is refused, and that what is written reads back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.data.manifest import FILENAME, read_manifest, write_manifest
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, UsageError
from fusionkit.io.digest import file_digest
from fusionkit.tasks import IVIF, MEIF, MIF

_HEAD = "task,dataset,split,name,file_a,file_b"


def _write(folder: Path, *lines: str) -> Path:
    path = folder / FILENAME
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_rows_of_the_task_are_read_with_files_relative_to_the_manifest(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        _HEAD + ",height,sha256_b",
        "ivif,MSRS,train,1,ir/1.png,vi/1.png,480,ABCDEF",
        "mif,Harvard,test,2,ct/2.png,mri/2.png,256,",
        "ivif,TNO,,3,ir/3.png,vi/3.png,,",
    )
    pairs = read_manifest(path, IVIF)
    assert [(pair.dataset, pair.split, pair.name) for pair in pairs] == [("MSRS", "train", "1"), ("TNO", "", "3")]
    assert pairs[0].files == (tmp_path / "ir/1.png", tmp_path / "vi/1.png")
    assert pairs[0].sha256 == ("", "abcdef")
    assert pairs.origin == str(path)
    assert [pair.name for pair in read_manifest(path, IVIF, dataset="TNO")] == ["3"]


def test_columns_may_stand_in_any_order_after_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / FILENAME
    path.write_text("\ufefffile_b,name,file_a,split,dataset,task\nb.png,n,a.png,test,D,ivif\n", encoding="utf-8")
    assert read_manifest(path, IVIF)[0].files == (tmp_path / "a.png", tmp_path / "b.png")


def test_more_sources_and_the_truth_have_columns(tmp_path: Path) -> None:
    path = _write(
        tmp_path, _HEAD + ",file_c,truth", "meif,D,train,1,a.png,b.png,c.png,t.png", "meif,D,train,2,a.png,b.png,,"
    )
    first, second = read_manifest(path, MEIF)
    assert [file.name for file in first.files] == ["a.png", "b.png", "c.png"]
    assert first.truth == tmp_path / "t.png"
    assert len(second.files) == 2
    assert second.truth is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["task,dataset,name,file_a"], "no column split, file_b; it has: task, dataset, name, file_a"),
        ([""], "no column task"),
        (["task;dataset;split;name;file_a;file_b"], "separate columns by commas"),
        (["Task, Dataset,split,name,file_a,file_b"], "write the names in small letters, without spaces"),
        ([_HEAD, "ivif,D,train,,a.png,b.png"], "line 2: name is empty"),
        ([_HEAD, "ivif,D,train,x,,b.png"], "line 2: file_a is empty"),
        ([_HEAD, "ivif,D,train,x,a.png"], "line 2: file_b is empty"),
        ([_HEAD, "ivif,D,train,../x,a.png,b.png"], "line 2: name '../x' is no file name"),
        ([_HEAD, "mif,D,train,x,a.png,b.png"], "no rows of task 'ivif'; its tasks: mif"),
        ([_HEAD], "no rows of task 'ivif'; its tasks: none"),
    ],
)
def test_an_unusable_manifest_is_an_error_that_says_where(tmp_path: Path, lines: list[str], message: str) -> None:
    path = _write(tmp_path, *lines)
    with pytest.raises(DataError, match=message) as caught:
        read_manifest(path, IVIF)
    assert FILENAME in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_binary_file_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / FILENAME
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(DataError, match="cannot be read as a manifest"):
        read_manifest(path, IVIF)


def test_an_unknown_data_set_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    path = _write(tmp_path, _HEAD, "ivif,RoadScene,test,x,a.png,b.png")
    with pytest.raises(UsageError, match="data set 'Roadscene': did you mean 'RoadScene'"):
        read_manifest(path, IVIF, dataset="Roadscene")


_TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"], exclude_characters="/\\\0"), min_size=1, max_size=8
).filter(lambda text: text not in (".", ".."))


@given(st.lists(st.tuples(_TEXT, _TEXT, st.sampled_from(["train", "test", ""])), min_size=1, max_size=5))
def test_what_is_written_reads_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    folder = tmp_path_factory.mktemp("written")
    pairs = tuple(
        Pair(name, (folder / "x" / "a.png", folder.parent / "b.png"), dataset=dataset, split=split)
        for name, dataset, split in rows
    )
    write_manifest(folder / FILENAME, PairSet(MIF, pairs, "here"), digests=False)
    back = read_manifest(folder / FILENAME, MIF)
    assert [(p.name, p.dataset, p.split) for p in back] == rows
    assert all([f.resolve() for f in p.files] == [f.resolve() for f in pairs[0].files] for p in back)


def test_written_digests_are_those_of_the_files(tmp_path: Path) -> None:
    files = (tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png")
    for file in files:
        file.write_bytes(file.name.encode())
    pairs = (Pair("three", files, truth=tmp_path / "t.png"), Pair("two", files[:2]))
    write_manifest(tmp_path / "lists" / FILENAME, PairSet(MEIF, pairs, "here"))
    first, second = read_manifest(tmp_path / "lists" / FILENAME, MEIF)
    assert first.sha256 == tuple(file_digest(file) for file in files)
    assert second.sha256 == first.sha256[:2]
    assert first.truth is not None
    assert first.truth.resolve() == (tmp_path / "t.png").resolve()


def test_a_file_that_is_gone_leaves_the_old_manifest(tmp_path: Path) -> None:
    path = _write(tmp_path, "old")
    pairs = PairSet(MEIF, (Pair("x", (tmp_path / "gone.png", tmp_path / "gone.png")),), "here")
    with pytest.raises(DataError, match=r"gone\.png"):
        write_manifest(path, pairs)
    assert path.read_text() == "old\n"


def test_the_manifest_of_real_pairs_is_read_and_its_digests_hold(data_dir: Path) -> None:
    import csv

    with (data_dir / FILENAME).open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["task"] == "mif"]
    pairs = read_manifest(data_dir / FILENAME, MIF)
    assert len(pairs) == len(rows)
    for split in {row["split"] for row in rows}:
        assert len(pairs.split(split)) == sum(row["split"] == split for row in rows)
    assert all(
        file_digest(file) == known for pair in pairs[:20] for file, known in zip(pair.files, pair.sha256, strict=True)
    )
