"""Checks of files against the digests in the records: an image that was replaced is neither ranked nor shown.

torch is imported for the scores of detectors alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from fusionkit.bench.downstream.downstream_records import DownstreamRecord
from fusionkit.bench.downstream.score_checks import box_faults
from fusionkit.bench.records import BenchRecord, Record
from fusionkit.errors import DataError
from fusionkit.io.digest import file_digest
from fusionkit.runtime.threads import in_threads

__all__ = ["checked", "is_evidence", "lies_inside"]

Form = TypeVar("Form", bound=BenchRecord)


def is_evidence(out: Path, relative: str, digest: str) -> bool | None:
    """Return whether a file is the one that a record tells of.

    Args:
        out: the bench's folder.
        relative: the file's path, relative to it.
        digest: its SHA-256 by the record.

    Returns:
        True if it is; False if it is another file, or none to read images from, such as a device or a pipe; None if
        there is no such file.
    """
    file = out / relative
    try:
        found = os.stat(file)
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(found.st_mode) or not digest:
        return False
    return _digest(str(file.absolute()), found.st_size, found.st_mtime_ns) == digest


def checked(out: Path, records: Iterable[Form]) -> tuple[Form, ...]:
    """Records with a fault more where fused images are not those that were scored, or boxes give other scores."""
    return tuple(_checked(out, record) for record in records)


def lies_inside(relative: str) -> bool:
    """Return whether a path stays in the folder that it is relative to."""
    return not os.path.normpath(relative).startswith("..")


def _checked(out: Path, record: Form) -> Form:
    images: Sequence[tuple[str, str]] = []
    if isinstance(record, Record | DownstreamRecord):
        images = [(image.fused, image.fused_sha256) for image in record.images]
    outside = record.method.kind != "results" and sum(not lies_inside(file) for file, _ in images)
    replaced = in_threads(lambda image: is_evidence(out, *image), images).count(False)
    faults = [
        f"{number} of {len(images)} fused images are {what}"
        for number, what in (
            (outside, "outside the bench's folder"),
            (replaced, "no longer those that were scored"),
        )
        if number
    ]
    if isinstance(record, DownstreamRecord):
        faults += box_faults(out, record)
    return record.model_copy(update={"faults": (*record.faults, *faults)}) if faults else record


@lru_cache(maxsize=100_000)
def _digest(file: str, _size: int, _changed: int) -> str:
    try:
        return file_digest(Path(file))
    except DataError:
        return ""
