"""Pairs from plain folders: one sub-folder per source, files matched by stem."""

from __future__ import annotations

import itertools
import string
from collections.abc import Sequence
from pathlib import Path

from fusionkit.data.pair_set import Pair, PairSet, Problem
from fusionkit.data.pairing import children, match_folders
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import Task

__all__ = ["SPLITS", "folder_pairs", "source_folders"]

SPLITS = ("train", "val", "test")
"""Sub-folders that count as splits if they hold the source folders."""

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}

_NAME_THEM = "'fusionkit data manifest DIR --folders A,B -o pairs.csv' makes a list of pairs, which is data, too"


def folder_pairs(root: Path, task: Task, *, folders: Sequence[str] | None = None) -> PairSet:
    """Find pairs ``root/<source folder>/<stem>.<any image suffix>``, or the same under ``root/train``, ``root/test``.

    Args:
        root: the folder that holds one sub-folder per source.
        task: names the source folders (``Task.folders``, any case).
        folders: names of the source sub-folders, in the task's order, where they differ from the task's.

    Raises:
        fusionkit.errors.DataError: no such folder, no or several sub-folders for a source, nothing in common.
        fusionkit.errors.UsageError: fewer than two folders are given.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if folders is not None and len(folders) < 2:
        raise UsageError(f"folders: at least two source folders are needed, got {list(folders)}")
    below = {child.name: child for child in children(root) if child.is_dir()}
    places = {_SPLIT_WORDS[name.lower()]: path for name, path in below.items() if name.lower() in _SPLIT_WORDS}
    direct = _named_folders(root, folders) if folders is not None else source_folders(root, task, required=not places)
    if direct:
        pairs, problems = match_folders(direct, dataset=root.name)
        return PairSet(task, pairs, str(root), problems=problems)
    all_pairs: list[Pair] = []
    all_problems: list[Problem] = []
    for split in sorted(places, key=SPLITS.index):
        place = places[split]
        sources = _named_folders(place, folders) if folders is not None else source_folders(place, task)
        if sources is None:
            raise DataError(f"{place}: no sub-folders {list(folders or ())}")
        pairs, problems = match_folders(sources, dataset=root.name, split=split)
        all_pairs += pairs
        all_problems += problems
    if not all_pairs:
        raise DataError(f"{root}: no sub-folders {list(folders or ())}; there are: {', '.join(below) or 'none'}")
    return PairSet(task, tuple(all_pairs), str(root), problems=tuple(all_problems))


def _named_folders(root: Path, folders: Sequence[str]) -> tuple[Path, ...] | None:
    found = tuple(root / name for name in folders)
    return found if all(path.is_dir() for path in found) else None


def source_folders(root: Path, task: Task, *, required: bool = True) -> tuple[Path, ...] | None:
    """Find the sub-folders of ``root`` that hold the task's sources, in the task's order.

    A sub-folder belongs to a source if its name, in any case, is one of ``Task.folders`` or the source's role. Folders
    ``a``, ``b``, ``c``... give as many sources as there are letters.

    Returns:
        One folder per source, or None if there are none and they are not ``required``.

    Raises:
        fusionkit.errors.DataError: a source has no folder or more than one.
    """
    below = {child.name.lower(): child for child in children(root) if child.is_dir()}
    letters = list(itertools.takewhile(lambda letter: letter in below, string.ascii_lowercase))
    if len(letters) >= 2:
        return tuple(below[letter] for letter in letters)
    found: list[Path] = []
    missing: list[str] = []
    for role, synonyms in zip(task.sources, task.folders, strict=True):
        known = dict.fromkeys((*synonyms, role))
        here = [below[name] for name in known if name in below]
        if len(here) > 1:
            names = ", ".join(path.name for path in here)
            raise DataError(f"{root}: several sub-folders for {role} ({names}); name them: {_NAME_THEM}")
        if here:
            found.append(here[0])
        else:
            missing.append(f"{role} ({' or '.join(known)})")
    if not missing:
        return tuple(found)
    if not found and not required:
        return None
    there = ", ".join(child.name for child in below.values()) or "no sub-folders"
    raise DataError(f"{root}: no sub-folder for {' and '.join(missing)}; it holds: {there}: {_NAME_THEM}")
