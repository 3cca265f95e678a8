"""Records on disk: written with a digest of their content, which is checked, with their place, when they are read.

Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from fusionkit.bench.paths import RESULTS
from fusionkit.bench.records import FORMAT, BenchRecord, Record
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.atomic import write_text
from fusionkit.io.strict_records import read_json_record

__all__ = ["read_record", "read_records", "seal", "stored_records", "write_record"]

Form = TypeVar("Form", bound=BenchRecord)

CHANGED = "changed after it was written"
"""Mark of a record whose content differs from its digest."""


def seal(content: Mapping[str, Any]) -> str:
    """Compute a record's digest: SHA-256 of its JSON content with sorted keys, without the field ``sha256``.

    >>> seal({"a": 1, "b": 2.0}) == seal({"b": 2.0, "a": 1, "sha256": "old"})
    True
    """
    rest = {name: value for name, value in content.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_record(out: Path, record: Form) -> Form:
    """Write a record to its place below ``out``, whole or not at all.

    Returns:
        The record as it stands there: with its digest and place.

    Raises:
        fusionkit.errors.DataError: it cannot be written.
    """
    digest = seal(json.loads(record.model_dump_json()))
    written = record.model_copy(update={"sha256": digest, "place": str(record.home), "faults": ()})
    write_text(out / record.home, written.model_dump_json(indent=1 if isinstance(record, Record) else None) + "\n")
    return written


def read_record(path: Path, form: type[Form]) -> Form:
    """Read a record, with the faults that show in the file alone.

    A fault is content that was changed since it was written, that contradicts itself, or that is of another method or
    data set than its place. A record without a digest, of before there was one, is taken as it is.

    Raises:
        fusionkit.errors.DataError: as :func:`fusionkit.io.strict_records.read_json_record`.
    """
    record = read_json_record(path, form, FORMAT, form.NOUN)
    content = json.loads(path.read_bytes())
    if there := {"place", "faults"} & set(content):
        raise DataError(f"{path}: is no {form.NOUN}, or damaged ({sorted(there)[0]}): delete it and bench again")
    home = record.home
    place = PurePosixPath(*path.parts[-len(home.parts) :])
    faults = list(record.contradictions())
    if record.sha256 and record.sha256 != seal(content):
        faults.insert(0, CHANGED)
    if not record.stands_at(place):
        faults.insert(0, f"of {home}, and stands in {place}")
    return record.model_copy(update={"place": str(place), "faults": tuple(faults)})


def stored_records(out: Path, form: type[Form]) -> tuple[Form, ...]:
    """Read every record of one form below a bench's folder, in the order of their files.

    Raises:
        fusionkit.errors.DataError: a record is damaged.
    """
    return tuple(read_record(file, form) for file in sorted(out.glob(form.PATTERN)))


def read_records(out: Path, *, task: str | None = None) -> tuple[Record, ...]:
    """Every record of quality of a bench's folder, sorted by task, data set, profile and method.

    Args:
        out: the folder that the bench wrote to.
        task: only those of this task.

    Raises:
        fusionkit.errors.DataError: there is no bench in the folder, or a record is damaged.
        fusionkit.errors.UsageError: the bench has no such task.
    """
    if not out.is_dir():
        raise DataError(f"{out}: no such folder: run 'fusionkit bench --out {out}'")
    if not (out / RESULTS).is_dir():
        raise DataError(f"{out}: holds no results of a bench (no folder {RESULTS}): run 'fusionkit bench --out {out}'")
    records = stored_records(out, Record)
    if task is not None and task not in (known := {record.task for record in records}):
        raise UsageError(f"{out}: no results of task {task!r}: {did_you_mean(task, known)}")
    return tuple(record for record in records if task in (None, record.task))
