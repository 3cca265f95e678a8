"""``MANIFEST.csv``: which files make a pair, which split they are in and what their digests are.

One row a pair. Columns: ``task``, ``dataset``, ``split``, ``name``, ``file_a``, ``file_b`` and, for more sources,
``file_c``...; ``sha256_a``, ``sha256_b``... and ``truth`` (the known fused image) may be left out or empty. Other
columns are ignored, the order of columns is free. Files are relative to the manifest. ``name`` and the files may not be
empty; an empty ``split`` means that the pair is in every split.
"""

from __future__ import annotations

import csv
import io
import os
import string
from pathlib import Path

from fusionkit.data.pairset import Pair, PairSet, file_digest, in_threads
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.files import write_text
from fusionkit.tasks import Task

__all__ = ["FILENAME", "read_manifest", "write_manifest"]

FILENAME = "MANIFEST.csv"
_NEEDED = ("task", "dataset", "split", "name", "file_a", "file_b")


def read_manifest(path: Path, task: Task, *, dataset: str | None = None) -> PairSet:
    """The pairs of one task in a manifest.

    Args:
        path: the CSV file.
        task: rows of other tasks are left out.
        dataset: only the rows of this data set.

    Raises:
        fusionkit.errors.DataError: the file cannot be read, lacks a column, has an incomplete row or no row of the
            task.
        fusionkit.errors.UsageError: no row of the data set.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a manifest: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
    columns = list(reader.fieldnames or ())
    lacking = [column for column in _NEEDED if column not in columns]
    if lacking:
        raise DataError(f"{path}: no column {', '.join(lacking)}; it has: {', '.join(columns) or 'nothing'}")
    letters = [letter for letter in string.ascii_lowercase if f"file_{letter}" in columns]
    tasks: set[str] = set()
    pairs: list[Pair] = []
    try:
        for row in reader:
            tasks.add(row["task"])
            if row["task"] == task.name:
                pairs.append(_pair(path, reader.line_num, row, letters))
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


def _pair(path: Path, line: int, row: dict[str, str], letters: list[str]) -> Pair:
    given = [letter for letter in letters if row[f"file_{letter}"]]
    if not row["name"] or given != letters[: max(len(given), 2)]:
        empty = "name" if not row["name"] else next(f"file_{x}" for x in letters if x not in given)
        raise DataError(f"{path}, line {line}: {empty} is empty")
    if set(row["name"]) & set("/\\\0") or row["name"] in (".", ".."):
        raise DataError(f"{path}, line {line}: name {row['name']!r} is no file name: fused images are called by it")
    return Pair(
        name=row["name"],
        files=tuple(path.parent / row[f"file_{letter}"] for letter in given),
        dataset=row["dataset"],
        split=row["split"],
        sha256=tuple(row.get(f"sha256_{letter}", "").lower() for letter in given),
        truth=path.parent / row["truth"] if row.get("truth") else None,
    )


def write_manifest(path: Path, pairs: PairSet, *, digests: bool = True) -> None:
    """Write a set of pairs as a manifest that :func:`read_manifest` reads back.

    Args:
        path: the CSV file; replaced whole or not at all.
        pairs: the pairs; their files are named relative to ``path``.
        digests: whether to read every file and write its SHA-256.

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
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    columns = [*(f"file_{x}" for x in letters), *(f"sha256_{x}" for x in letters), *truths]
    writer.writerow(["task", "dataset", "split", "name", *columns])
    for pair in pairs:
        blanks = [""] * (count - len(pair.files))
        row = [pairs.task.name, pair.dataset, pair.split, pair.name, *map(relative, pair.files), *blanks]
        row += [*(next(sums) for _ in pair.files), *blanks]
        writer.writerow([*row, *(relative(pair.truth) if pair.truth else "" for _ in truths)])
    write_text(path, out.getvalue())
