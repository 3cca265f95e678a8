"""Matching of the files of several folders: by stem, by the number in the name, in order, or by a pattern."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fusionkit.data.pair_set import IMAGE_SUFFIXES, Pair, Problem
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.text import printable, shortened

__all__ = ["RARE_SUFFIXES", "RULES", "children", "image_files", "match_folders", "match_listings"]

RULES = ("stem", "number", "order", "pattern:")
"""Rules of matching; the last one is followed by a pattern, as in ``pattern:{name}_fused``."""

_RAW = {".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".rw2"}
RARE_SUFFIXES = frozenset({".avif", ".exr", ".gif", ".heic", ".heif", ".j2k", ".jp2", ".npy", ".pfm", *_RAW})
"""Suffixes, in lower case, of images that are listed where a folder holds no others."""

_SHOWN = 3


def match_folders(
    folders: Sequence[Path], *, by: str = "stem", dataset: str = "", split: str = ""
) -> tuple[tuple[Pair, ...], tuple[Problem, ...]]:
    """Match the images of folders, one image of each folder per pair.

    Args:
        folders: one per source.
        by: ``"stem"``, equal names before the suffix. ``"number"``, equal numbers in the names, whatever is around
            them (``IR_0001.png`` and ``VIS_1.jpg``): of several numbers in a name the last one that differs between all
            files of the folder. ``"order"``, the first with the first and so on, sorted by name with ``img2`` before
            ``img10``. ``"pattern:{name}_fused"``, equal ``{name}``, in names without the suffix that fit the pattern,
            and equal stems in others.
        dataset: data set of the pairs.
        split: split of the pairs.

    Returns:
        The complete pairs, and one problem for each name or number that lacks a partner or has two files. A pair is
        named by the stem or ``{name}`` of its files; by number and in order, by the stem of its first file. Pairs are
        sorted by stem, ``{name}`` or number, or in order.

    Raises:
        fusionkit.errors.UsageError: an unknown rule, or a pattern that lacks ``{name}``.
        fusionkit.errors.DataError: a folder holds no images, the folders have nothing in common, or, in order, hold
            different numbers of images.
    """
    rule = _pattern(by) if by.startswith("pattern:") else by
    if rule not in ("stem", "number", "order") and not isinstance(rule, re.Pattern):
        raise UsageError(f"matching by {by!r}: {did_you_mean(by, RULES)}")
    listings = [image_files(folder) for folder in folders]
    for folder, listing in zip(folders, listings, strict=True):
        if not listing:
            below = sorted(child.name for child in folder.iterdir() if child.is_dir())
            inside = f"; it holds folders ({shortened(', '.join(below))}): give the one with images" if below else ""
            raise DataError(f"{folder}: holds no images ({', '.join(sorted(IMAGE_SUFFIXES))}){inside}")
    places = [folder.name for folder in folders]
    if rule == "order":
        return _in_order(folders, listings, dataset=dataset, split=split), ()
    keyed = [_keyed(listing, rule) for listing in listings]
    if not set.intersection(*(set(listing) for listing in keyed)):
        raise DataError(_nothing_in_common(folders, listings, by))
    pairs, problems = match_listings(keyed, places, dataset=dataset, split=split)
    if rule == "number":
        pairs = tuple(Pair(pair.files[0].stem, pair.files, dataset=dataset, split=split) for pair in pairs)
    return pairs, problems


def _pattern(by: str) -> re.Pattern[str]:
    text = by.removeprefix("pattern:")
    if text.count("{name}") != 1:
        raise UsageError(f"matching by {by!r}: the pattern needs {{name}} once, as in pattern:{{name}}_fused")
    before, after = text.split("{name}")
    return re.compile(f"{re.escape(before)}(.+){re.escape(after)}")


def _keyed(listing: Mapping[str, list[Path]], rule: str | re.Pattern[str]) -> Mapping[str, list[Path]]:
    """Files by the part of their names that the rule compares."""
    if rule == "stem":
        return listing
    key = _number_in(listing) if isinstance(rule, str) else _name_in(rule)
    keyed: defaultdict[str, list[Path]] = defaultdict(list)
    for stem, files in listing.items():
        keyed[key(stem)] += files
    return keyed


def _name_in(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def key(stem: str) -> str:
        match = pattern.fullmatch(stem)
        return match[1] if match else stem

    return key


def _number_in(stems: Mapping[str, object]) -> Callable[[str], str]:
    """The number that tells the files of a folder apart; a stem without number stands for itself."""
    numbers = [re.findall(r"\d+", stem) for stem in stems]
    place = -1
    if len({len(found) for found in numbers}) == 1:
        for k in reversed(range(len(numbers[0]))):
            if len({int(found[k]) for found in numbers}) == len(numbers):
                place = k
                break

    def key(stem: str) -> str:
        found = re.findall(r"\d+", stem)
        # Equal numbers of different length are one number; the padding sorts them.
        return str(int(found[place])).zfill(20) if found else stem

    return key


def _in_order(
    folders: Sequence[Path], listings: Sequence[Mapping[str, list[Path]]], *, dataset: str, split: str
) -> tuple[Pair, ...]:
    files = [sorted((file for found in listing.values() for file in found), key=_natural) for listing in listings]
    if len({len(listed) for listed in files}) > 1:
        counts = ", ".join(f"{folder} {len(listed)}" for folder, listed in zip(folders, files, strict=True))
        raise DataError(f"matching in order needs as many images in each folder, and these hold {counts}")
    double = [found for found in listings[0].values() if len(found) > 1]
    if double:
        raise DataError(
            f"{folders[0]}: {' and '.join(file.name for file in double[0])} would give results of one name: rename one"
        )
    return tuple(Pair(group[0].stem, group, dataset=dataset, split=split) for group in zip(*files, strict=True))


def _natural(file: Path) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"(\d+)", file.name)
    return tuple((0, int(part), part) if part.isdigit() else (1, 0, part) for part in parts if part)


def _nothing_in_common(folders: Sequence[Path], listings: Sequence[Mapping[str, list[Path]]], by: str) -> str:
    sides = " and ".join(
        f"{folder} ({', '.join(sorted(listing)[:_SHOWN])}{', ...' if len(listing) > _SHOWN else ''})"
        for folder, listing in zip(folders, listings, strict=True)
    )
    if by == "number":
        return f"{sides} have no number in common: match them in order"
    if by != "stem":
        return f"{sides} have no name in common by {by!r}: check the pattern"
    by_number = set.intersection(*(set(_keyed(listing, "number")) for listing in listings))
    remedy = "; by number they would match" if by_number else ""
    return f"{sides} have no file name in common: partners need the same name before the suffix{remedy}"


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

    Files of :data:`RARE_SUFFIXES` are taken if the folder holds no others: beside them they are previews or results.

    Raises:
        fusionkit.errors.DataError: the folder cannot be listed, or a name holds control characters or is not UTF-8,
            so that no record could hold it.
    """
    files = [file for file in children(folder) if file.suffix.lower() in IMAGE_SUFFIXES | RARE_SUFFIXES]
    usual = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    stems: defaultdict[str, list[Path]] = defaultdict(list)
    for file in usual or files:
        if file.is_file():
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
