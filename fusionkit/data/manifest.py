"""``MANIFEST.csv``: a table of pairs with their files, split and digests.

One row per pair. Columns: ``task``, ``dataset``, ``split``, ``name``, ``file_a``, ``file_b`` and, for more sources,
``file_c``...; ``sha256_a``, ``sha256_b``... and ``truth`` (the known fused image) may be left out or empty. Where the
source columns are named like the task's folders (``file_ir``, ``file_vi``, ``sha256_ir``...), they imply the
task, and ``task`` may be left out. Labels are in ``label`` or ``file_label``, where the suffix tells masks from boxes;
or, where a pair has both, in ``label_segmentation`` and ``label_detection`` (or ``file_label_seg``,
``file_label_det``). Other columns are ignored; columns may be in any order. Files are relative to the manifest.
``name`` and the files may not be empty; an empty ``split`` means that the pair is in every split.
"""

from __future__ import annotations

import csv
import io
import os
import re
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fusionkit.contracts.label_types import LabelKind
from fusionkit.data.pair_set import LABEL_SUFFIXES, Pair, PairSet
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.atomic import write_text
from fusionkit.io.digest import file_digest
from fusionkit.io.regular_files import read_regular_text
from fusionkit.io.text import printable, shortened
from fusionkit.runtime.threads import in_threads
from fusionkit.tasks import Task

__all__ = ["FILENAME", "read_manifest", "write_manifest"]

FILENAME = "MANIFEST.csv"
_NEEDED = ("dataset", "split", "name")
_LABELS: dict[LabelKind, tuple[str, ...]] = {
    "segmentation": ("label_segmentation", "file_label_segmentation", "label_seg", "file_label_seg"),
    "detection": ("label_detection", "file_label_detection", "label_det", "file_label_det"),
}
_EITHER = ("label", "file_label")
_LONGEST_NAME = 200
"""Characters of a name: a file system holds 255 bytes with the suffix."""


def read_manifest(path: Path, task: Task, *, dataset: str | None = None, labels: LabelKind | None = None) -> PairSet:
    """Read the pairs of one task from a manifest.

    Args:
        path: the CSV file.
        task: rows of other tasks are left out.
        dataset: only the rows of this data set.
        labels: also read the labels of this kind, where a row has one.

    Raises:
        fusionkit.errors.DataError: the file cannot be read, lacks a column, has an incomplete row or no row of the
            task.
        fusionkit.errors.UsageError: no row of the data set.
    """
    try:
        text = read_regular_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a manifest: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    columns = list(reader.fieldnames or ())
    sources = _by_role(columns, task)
    needed = _NEEDED if sources else ("task", *_NEEDED, "file_a", "file_b")
    lacking = [column for column in needed if column not in columns]
    if lacking:
        there = shortened(", ".join(columns)) or "nothing"
        raise DataError(f"{path}: no column {', '.join(lacking)}; it has: {there}{_hint(columns)}")
    sources = sources or [letter for letter in string.ascii_lowercase if f"file_{letter}" in columns]
    holders = [column for column in (*_LABELS[labels], *_EITHER) if column in columns] if labels else []
    tasks: set[str] = set()
    pairs: list[Pair] = []
    try:
        for row in reader:
            meant = row.get("task", task.name)
            tasks.add(meant)
            if meant == task.name:
                pair = _pair(path, reader.line_num, row, sources)
                pairs.append(_with_label(path, row, pair, holders, labels) if labels else pair)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    if not pairs:
        raise DataError(f"{path}: no rows of task {task.name!r}; its tasks: {', '.join(sorted(tasks)) or 'none'}")
    if dataset is not None:
        known = {pair.dataset for pair in pairs}
        pairs = [pair for pair in pairs if pair.dataset == dataset]
        if not pairs:
            raise UsageError(f"{path}: no {task.name} rows of data set {dataset!r}: {did_you_mean(dataset, known)}")
    return PairSet(task, tuple(pairs), str(path))


def _hint(columns: Sequence[str]) -> str:
    if len(columns) == 1 and re.search(r"[;\t]", columns[0]):
        return ": separate columns by commas"
    plain = [column.strip().lower() for column in columns]
    return ": write the names in small letters, without spaces" if plain != list(columns) else ""


def _by_role(columns: list[str], task: Task) -> list[str]:
    """Return the words in the names of the source columns, in the task's order; [] if they are not named by role."""
    if "file_a" in columns:
        return []
    words = [
        next((word for word in dict.fromkeys((*known, role)) if f"file_{word}" in columns), None)
        for role, known in zip(task.sources, task.folders, strict=True)
    ]
    found = [word for word in words if word is not None]
    return found if len(found) == len(words) else []


def _with_label(path: Path, row: dict[str, str], pair: Pair, holders: list[str], kind: LabelKind) -> Pair:
    for column in holders:
        if Path(row[column]).suffix.lower() in LABEL_SUFFIXES[kind]:
            digest = row.get(f"sha256_{column.removeprefix('file_')}", "").lower()
            return replace(pair, label=path.parent / row[column], label_sha256=digest)
    return pair


def _pair(path: Path, line: int, row: dict[str, str], sources: list[str]) -> Pair:
    given = [word for word in sources if row[f"file_{word}"]]
    if not row["name"] or given != sources[: max(len(given), 2)]:
        empty = "name" if not row["name"] else next(f"file_{x}" for x in sources if x not in given)
        raise DataError(f"{path}, line {line}: {empty} is empty")
    for column in ("name", "dataset"):
        value = row[column]
        if set(value) & set("/\\\0") or value in (".", "..") or printable(value) != value or len(value) > _LONGEST_NAME:
            shown = shortened(printable(value))
            raise DataError(f"{path}, line {line}: {column} {shown!r} is no file name: fused images are called by it")
    return Pair(
        name=row["name"],
        files=tuple(path.parent / row[f"file_{word}"] for word in given),
        dataset=row["dataset"],
        split=row["split"],
        sha256=tuple(row.get(f"sha256_{word}", "").lower() for word in given),
        truth=path.parent / row["truth"] if row.get("truth") else None,
    )


def write_manifest(path: Path, pairs: PairSet, *, digests: bool = True, also: PairSet | None = None) -> None:
    """Write a set of pairs as a manifest that :func:`read_manifest` reads back.

    Args:
        path: the CSV file; it is replaced atomically.
        pairs: the pairs; their files are named relative to ``path``.
        digests: whether to read every file and write its SHA-256.
        also: the same pairs with labels of the other kind, which get columns of their own.

    Raises:
        fusionkit.errors.DataError: a file of a pair cannot be read, or ``path`` cannot be written.
    """
    count = max((len(pair.files) for pair in pairs), default=2)
    letters = string.ascii_lowercase[:count]
    files = [file for pair in pairs for file in pair.files]
    sums = iter(in_threads(file_digest, files) if digests else [""] * len(files))
    folder = path.absolute().parent

    def relative(file: Path) -> str:
        return Path(os.path.relpath(file.absolute(), folder)).as_posix()

    truths = ["truth"] if any(pair.truth for pair in pairs) else []
    kinds = [labelled for labelled in (pairs, also) if labelled is not None and labelled.labels is not None]
    labels = [f"{mark}label_{one.labels.kind}" for one in kinds if one.labels for mark in ("", "sha256_")]
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    columns = [*(f"file_{x}" for x in letters), *(f"sha256_{x}" for x in letters), *truths, *labels]
    writer.writerow(["task", "dataset", "split", "name", *columns])
    for index, pair in enumerate(pairs):
        blanks = [""] * (count - len(pair.files))
        row = [pairs.task.name, pair.dataset, pair.split, pair.name, *map(relative, pair.files), *blanks]
        row += [*(next(sums) for _ in pair.files), *blanks]
        row += [relative(pair.truth) if pair.truth else "" for _ in truths]
        for label in (one[index].label for one in kinds):
            row += [relative(label), file_digest(label) if digests else ""] if label else ["", ""]
        writer.writerow(row)
    write_text(path, out.getvalue())
