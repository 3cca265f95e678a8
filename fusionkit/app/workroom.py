"""Temporary files of the page: one folder per set of sources, deleted after a time and when the server ends."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fusionkit.bench.paths import file_name
from fusionkit.data.pair_set import IMAGE_SUFFIXES
from fusionkit.data.pairing import RARE_SUFFIXES
from fusionkit.errors import DataError, UsageError
from fusionkit.io.locks import file_lock

__all__ = ["SUFFIXES", "Gone", "SourceFolder", "SourceSet", "Work", "Workroom"]

SUFFIXES = IMAGE_SUFFIXES | RARE_SUFFIXES
"""Suffixes of the images that are taken."""

_PREFIX = "fusionkit-app-"
_LOCK = "in-use.lock"
_LONGEST_NAME = 50  # characters, of up to four bytes each: file systems hold 255 bytes


class Work(Protocol):
    """Something that is made of a set of sources, and may take long."""

    @property
    def finished(self) -> bool:
        """True when nothing more is done."""

    def cancel(self) -> None:
        """End it soon."""


class Gone(UsageError):
    """A set of sources, or a result, that is not there or not there any more."""


@dataclass(frozen=True)
class SourceFolder:
    """The images of one source.

    Attributes:
        folder: where they are.
        label: name that the user knows it by: of a file or of a folder.
        files: the images, in the order of the upload.
    """

    folder: Path
    label: str
    files: list[Path] = field(default_factory=list)

    def place_for(self, name: str) -> Path:
        """Choose the file that an image is stored in.

        Args:
            name: name of the image as the browser tells it. Folders in it are dropped, and so are characters that mean
                something to a file system.

        Raises:
            fusionkit.errors.DataError: the suffix is none of an image.
        """
        last = name.replace("\\", "/").rsplit("/", 1)[-1]
        stem, dot, suffix = last.rpartition(".")
        suffix = f".{suffix.lower()}"
        if not dot or suffix not in SUFFIXES:
            known = ", ".join(sorted(SUFFIXES))
            raise DataError(f"{last or 'a file without a name'}: is no image that is read here ({known})")
        stem = file_name(stem)[:_LONGEST_NAME]
        taken = {file.name.casefold() for file in self.files}
        place, number = f"{stem}{suffix}", 1
        while place.casefold() in taken:
            number += 1
            place = f"{stem}_{number}{suffix}"
        self.files.append(self.folder / place)
        return self.files[-1]


@dataclass
class SourceSet:
    """Sources that a user brought, and what was fused of them.

    Attributes:
        key: name in addresses, which cannot be guessed.
        folder: everything that belongs to it.
        sources: one entry per source.
        truth: file of the known result of the only scene, or None.
        jobs: what was asked to be fused of it, by key.
        used: when it was last asked for, in seconds of :func:`time.monotonic`.
    """

    key: str
    folder: Path
    sources: list[SourceFolder] = field(default_factory=list)
    truth: Path | None = None
    jobs: dict[str, Work] = field(default_factory=dict)
    used: float = field(default_factory=time.monotonic)

    def add_source(self, label: str, *, folder: str = "") -> SourceFolder:
        """Add a source without images, in a folder of its own."""
        place = self.folder / (folder or f"source{len(self.sources) + 1}")
        place.mkdir()
        self.sources.append(SourceFolder(place, label))
        return self.sources[-1]

    def ordered(self, order: Sequence[int]) -> list[SourceFolder]:
        """Return some of the sources in another order.

        Raises:
            fusionkit.errors.UsageError: fewer than two, one twice, or one that is not there.
        """
        if len(order) < 2:
            raise UsageError(f"two or more sources are needed to fuse, got {len(order)}: add an image")
        if len(set(order)) < len(order) or not all(0 <= place < len(self.sources) for place in order):
            raise UsageError("the order names a source twice, or one that is not there: reload the page")
        return [self.sources[place] for place in order]

    def busy(self) -> bool:
        """Tell if something of it is waiting or being fused."""
        return any(not job.finished for job in self.jobs.values())

    def plain(self, text: object) -> str:
        """Write a message as the page shows it: files by their names, without the folders of the server."""
        return str(text).replace(f"{self.folder}{os.sep}", "").replace(str(self.folder), "")


class Workroom:
    """A folder of its own in the system's folder of temporary files, which only this user can read.

    Args:
        keep_seconds: sets that were not asked for so long are deleted.
        clock: tells the time in seconds.
    """

    def __init__(self, keep_seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.keep_seconds = keep_seconds
        self.sets: dict[str, SourceSet] = {}
        self._clock = clock
        _delete_left_behind(Path(tempfile.gettempdir()))
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._held = ExitStack()
        self._held.enter_context(file_lock(self.folder / _LOCK, wait=True))

    def new_set(self) -> SourceSet:
        """Make an empty set of sources."""
        key = secrets.token_urlsafe(16)
        self.sets[key] = SourceSet(key, self.folder / key, used=self._clock())
        self.sets[key].folder.mkdir()
        return self.sets[key]

    def find(self, key: str) -> SourceSet:
        """Return a set, and keep it for as long again.

        Raises:
            Gone: there is no such set.
        """
        if key not in self.sets:
            minutes = self.keep_seconds / 60
            raise Gone(f"these images are not here any more (they are kept for {minutes:g} minutes): drop them again")
        found = self.sets[key]
        found.used = self._clock()
        return found

    def delete(self, key: str) -> None:
        """Delete a set and its files; what of it is being fused ends with the next image."""
        found = self.sets.pop(key, None)
        if found is not None:
            for job in found.jobs.values():
                job.cancel()
            shutil.rmtree(found.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Delete the sets that were not asked for since their time is over."""
        for key, kept in list(self.sets.items()):
            if not kept.busy() and self._clock() - kept.used > self.keep_seconds:
                self.delete(key)
        for folder in self.folder.iterdir():
            # What was being fused of a set that is deleted may have been written after it.
            if folder.is_dir() and folder.name not in self.sets:
                shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Delete everything."""
        for key in list(self.sets):
            self.delete(key)
        self._held.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def _delete_left_behind(temporary: Path) -> None:
    """Delete the folders of servers that were killed, whose locks are free."""
    for folder in temporary.glob(f"{_PREFIX}*"):
        lock = folder / _LOCK
        try:
            if not lock.is_file():
                continue
            with file_lock(lock, wait=False) as free:
                abandoned = free
        except (OSError, DataError):  # another user's
            continue
        if abandoned:
            shutil.rmtree(folder, ignore_errors=True)
