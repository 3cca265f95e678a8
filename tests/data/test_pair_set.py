"""Sets of pairs: choosing from them, and their fingerprint."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from fusionkit.data.pair_set import Pair, PairSet, Problem
from fusionkit.errors import UsageError
from fusionkit.tasks import IVIF


def _set(folder: Path) -> PairSet:
    pairs = []
    for split, name in (("train", "a"), ("train", "b"), ("test", "a")):
        files = tuple(folder / f"{split}-{name}-{side}.bin" for side in "xy")
        for file in files:
            file.write_bytes(file.name.encode())
        pairs.append(Pair(name, files, dataset="D", split=split))
    faults = (Problem("D/c", "no partner", "train"), Problem("D/d", "no partner", "test"))
    return PairSet(IVIF, tuple(pairs), "here", problems=faults)


def test_a_set_is_a_sequence_of_pairs(tmp_path: Path) -> None:
    pairs = _set(tmp_path)
    assert len(pairs) == 3
    assert [pair.key for pair in pairs] == ["D/a", "D/b", "D/a"]
    assert pairs[1].name == "b"
    assert [pair.split for pair in pairs[1:]] == ["train", "test"]
    assert pairs.splits == {"train": 2, "test": 1}
    assert pairs.datasets == {"D": 3}


def test_a_split_keeps_its_pairs_and_its_problems(tmp_path: Path) -> None:
    test = _set(tmp_path).split("test")
    assert [pair.name for pair in test] == ["a"]
    assert [problem.key for problem in test.problems] == ["D/d"]


def test_pairs_without_a_split_are_in_every_split(tmp_path: Path) -> None:
    pairs = PairSet(IVIF, (Pair("x", (tmp_path / "a", tmp_path / "b")),), "here")
    assert len(pairs.split("train")) == len(pairs.split("anything")) == 1


def test_an_unknown_split_is_an_error_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"here has no split 'tset': did you mean 'test'\? \(known: test, train\)"):
        _set(tmp_path).split("tset")


def test_pairs_are_chosen_by_name_and_by_key(tmp_path: Path) -> None:
    pairs = _set(tmp_path)
    assert [(pair.split, pair.name) for pair in pairs.named(["a"])] == [("train", "a"), ("test", "a")]
    assert [pair.name for pair in pairs.named(["D/b"])] == ["b"]
    assert not pairs.named(["b"]).problems
    assert [problem.key for problem in pairs.named(["a", "c"]).problems] == ["D/c"]


def test_an_unknown_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="here has no pair 'zebra' among its 3 pairs"):
        _set(tmp_path).named(["a", "zebra"])


def test_the_fingerprint_follows_names_order_and_content_and_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    first = _set(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    second = _set(tmp_path / "two")
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint() != PairSet(IVIF, first.pairs[::-1], "here").fingerprint()
    (tmp_path / "two" / "test-a-y.bin").write_bytes(b"changed")
    assert first.fingerprint() != second.fingerprint()


def test_the_fingerprint_is_the_digest_that_its_definition_says(tmp_path: Path) -> None:
    pairs = _set(tmp_path)
    expected = hashlib.sha256()
    for pair in pairs:
        digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in pair.files]
        expected.update(f"D\0{pair.name}\0{digests[0]}\0{digests[1]}\n".encode())
    assert pairs.fingerprint() == expected.hexdigest()
