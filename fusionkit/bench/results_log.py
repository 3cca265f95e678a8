"""Append-only JSONL log per process, one line per image, which an interrupted benchmark resumes from.

Several processes share their logs without waiting for each other: each writes its own file, nothing is ever deleted,
and a line that a kill cut short is passed over.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from fusionkit.bench.record_files import seal
from fusionkit.bench.records import ImageResult, file_name
from fusionkit.errors import DataError
from fusionkit.io.strict_records import StrictRecord

__all__ = ["LogEntry", "ResultsLog", "logs_folder", "merge", "read_logs"]

PARTS = "parts"
"""Sub-folder of the logs."""


class LogEntry(StrictRecord):
    """The result of one pair, or its failure.

    Attributes:
        at: when, in seconds since 1970.
        method: identity of what it was fused with (:attr:`fusionkit.bench.methods.BenchMethod.identity`).
        profile: the metric profile of the scores.
        name: the pair's name.
        image: the result with the scores that were computed, or None.
        uses: metric -> how it was computed, as text to compare.
        failure: why there is no result.
        sha256: digest of all the rest, by which a later change shows; "" in entries of before there was one.
        changed: whether it was changed after it was written; not in the file.
    """

    at: float
    method: str
    profile: str
    name: str
    image: ImageResult | None = None
    uses: dict[str, str] = {}
    failure: str = ""
    sha256: str = ""
    changed: bool = Field(default=False, exclude=True)


class ResultsLog:
    """A process's own log of one method and data set; the file appears with the first entry.

    Args:
        folder: of every process's logs of them.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{file_name(platform.node())}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"

    def add(self, entry: LogEntry) -> None:
        """Append an entry.

        Raises:
            fusionkit.errors.DataError: it cannot be written.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as stream:
                content = entry.model_dump_json()
                sealed = entry.model_copy(update={"sha256": seal(json.loads(content))})
                stream.write(sealed.model_dump_json() + "\n")
        except OSError as error:
            raise DataError(
                f"{self.path}: cannot be written ({error.strerror}): free space or choose another place; "
                "the same command goes on from here"
            ) from None


def logs_folder(out: Path, task: str, label: str, method: str) -> Path:
    """The folder of the logs of a method and data set."""
    return out / PARTS / file_name(task) / file_name(label) / file_name(method)


def read_logs(folder: Path) -> list[LogEntry]:
    """Every process's entries, oldest first; lines that are cut short or of another version are passed over.

    What was changed after it was written says so (:attr:`LogEntry.changed`).

    Raises:
        fusionkit.errors.DataError: a file cannot be read.
    """
    entries = []
    for file in sorted(folder.glob("*.jsonl")):
        try:
            lines = file.read_bytes().splitlines()
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from None
        for line in lines:
            try:
                entry = LogEntry.model_validate_json(line)
            except ValidationError:
                continue
            changed = bool(entry.sha256) and entry.sha256 != seal(json.loads(line))
            entries.append(entry.model_copy(update={"changed": changed}))
    return sorted(entries, key=lambda entry: entry.at)


def signature(folder: Path) -> tuple[tuple[str, int], ...]:
    """A value that changes when any process adds an entry."""
    return tuple(sorted((file.name, file.stat().st_size) for file in folder.glob("*.jsonl")))


def now() -> float:
    """The time of an entry, in seconds since 1970."""
    return time.time()


def merge(
    entries: Iterable[LogEntry], *, method: str, profile: str, use: Callable[[str], str | None]
) -> dict[str, ImageResult | str]:
    """Merge the results of each pair: every score that still holds, or the reason that there is none.

    Scores of one image add up as long as neither sources nor fused image changed; the later of two counts.

    Args:
        entries: oldest first.
        method: only what was fused with this.
        profile: only scores of this profile; an image fused for another one still counts.
        use: how a metric is computed now; scores that were computed otherwise are dropped.
    """
    state: dict[str, ImageResult | str] = {}
    for entry in entries:
        if entry.method != method:
            continue
        if entry.image is None:
            state[entry.name] = entry.failure
            continue
        holds = {
            m for m, key in entry.uses.items() if entry.profile == profile and m in entry.image.scores and key == use(m)
        }
        scores = {metric: value for metric, value in entry.image.scores.items() if metric in holds}
        reasons = {metric: why for metric, why in entry.image.reasons.items() if metric in holds}
        before = state.get(entry.name)
        if isinstance(before, ImageResult) and _same(before, entry.image):
            # A value stands against a later null: that is a plugin that failed this time.
            scores = {
                **before.scores,
                **{m: v for m, v in scores.items() if v is not None or before.scores.get(m) is None},
            }
            reasons = {m: {**before.reasons, **reasons}[m] for m, value in scores.items() if value is None}
        image = entry.image.model_copy(update={"scores": scores, "reasons": reasons})
        if isinstance(before, ImageResult) and _same(before, image) and image.maps is None:
            image = image.model_copy(update={"maps": before.maps, "unmapped": before.unmapped})
        state[entry.name] = image
    return state


def _same(one: ImageResult, other: ImageResult) -> bool:
    return (one.sources_sha256, one.truth_sha256, one.fused_sha256) == (
        other.sources_sha256,
        other.truth_sha256,
        other.fused_sha256,
    )
