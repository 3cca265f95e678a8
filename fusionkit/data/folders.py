"""Pairs from plain folders: one sub-folder per source, files matched by stem."""

from __future__ import annotations

import itertools
import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from fusionkit.data.pair_set import IMAGE_SUFFIXES, Pair, PairSet, Problem
from fusionkit.errors import DataError, UsageError
from fusionkit.io.text import printable
from fusionkit.tasks import Task

__all__ = ["SPLITS", "children", "folder_pairs", "image_files", "match_by_stem", "match_listings", "source_folders"]

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
        pairs, problems = match_by_stem(direct, dataset=root.name)
        return PairSet(task, pairs, str(root), problems=problems)
    all_pairs: list[Pair] = []
    all_problems: list[Problem] = []
    for split in sorted(places, key=SPLITS.index):
        place = places[split]
        sources = _named_folders(place, folders) if folders is not None else source_folders(place, task)
        if sources is None:
            raise DataError(f"{place}: no sub-folders {list(folders or ())}")
        pairs, problems = match_by_stem(sources, dataset=root.name, split=split)
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
            raise DataError(f"{root}: several sub-folders for {role} ({names}); say which with folders")
        if here:
            found.append(here[0])
        else:
            missing.append(f"{role} ({' or '.join(known)})")
    if not missing:
        return tuple(found)
    if not found and not required:
        return None
    there = ", ".join(child.name for child in below.values()) or "no sub-folders"
    raise DataError(f"{root}: no sub-folder for {' and '.join(missing)}; it holds: {there}")


def match_by_stem(
    folders: Sequence[Path], *, dataset: str = "", split: str = ""
) -> tuple[tuple[Pair, ...], tuple[Problem, ...]]:
    """Match files of equal stem across folders, sorted by stem.

    Returns:
        The complete pairs, and one problem for each stem that lacks a partner or has two files.

    Raises:
        fusionkit.errors.DataError: a folder holds no images, or the folders have nothing in common.
    """
    listings = [image_files(folder) for folder in folders]
    for folder, listing in zip(folders, listings, strict=True):
        if not listing:
            raise DataError(f"{folder}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if not set.intersection(*(set(listing) for listing in listings)):
        sides = " and ".join(
            f"{folder} ({', '.join(sorted(listing)[:3])}{', ...' if len(listing) > 3 else ''})"
            for folder, listing in zip(folders, listings, strict=True)
        )
        raise DataError(f"{sides} have no file name in common: partners need the same name before the suffix")
    return match_listings(listings, [folder.name for folder in folders], dataset=dataset, split=split)


def match_listings(
    listings: Sequence[Mapping[str, Sequence[Path]]], places: Sequence[str], *, dataset: str = "", split: str = ""
) -> tuple[tuple[Pair, ...], tuple[Problem, ...]]:
    """Match the files of several listings ``name -> files`` by name, sorted by name.

    Args:
        listings: one per source.
        places: name of each listing in messages.
        dataset: data set of the pairs.
        split: split of the pairs.

    Returns:
        The complete pairs, and one problem for each name that lacks a partner or has two files.
    """
    pairs: list[Pair] = []
    problems: list[Problem] = []
    for name in sorted(set().union(*listings)):
        absent = [place for place, listing in zip(places, listings, strict=True) if name not in listing]
        double = [file.name for listing in listings for file in listing.get(name, [])[1:]]
        key = f"{dataset}/{name}" if dataset else name
        if absent:
            problems.append(Problem(key, f"no partner in {' and '.join(absent)}", split))
        elif double:
            problems.append(Problem(key, f"two files of that name (also {', '.join(double)})", split))
        else:
            pairs.append(Pair(name, tuple(listing[name][0] for listing in listings), dataset=dataset, split=split))
    return tuple(pairs), tuple(problems)


def image_files(folder: Path) -> Mapping[str, list[Path]]:
    """List the images directly in a folder by stem, without hidden files.

    Raises:
        fusionkit.errors.DataError: the folder cannot be listed, or a name holds control characters or is not UTF-8,
            so that no record could hold it.
    """
    stems: defaultdict[str, list[Path]] = defaultdict(list)
    for file in children(folder):
        if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file():
            if printable(file.name) != file.name:
                raise DataError(
                    f"{folder}: the file name {printable(file.name)!r} holds control characters or is not UTF-8: "
                    "rename it"
                )
            stems[file.stem].append(file)
    return stems


def children(folder: Path) -> list[Path]:
    """List the files and folders directly in a folder, sorted by name, without hidden ones.

    Raises:
        fusionkit.errors.DataError: the folder cannot be listed.
    """
    try:
        return sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed: {error.strerror}") from error
