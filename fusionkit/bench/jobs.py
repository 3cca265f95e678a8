"""Jobs of a bench: each is done once, by one process at a time, and resumes from what is on disk."""

from __future__ import annotations

import hashlib
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fusionkit.errors import UsageError
from fusionkit.io.locks import file_lock
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.runtime.processes import Processes

__all__ = ["Job", "Progress", "Say", "lock_file", "locked_labels", "run_jobs", "shared"]

LOCKS = "locks"
"""Sub-folder of the lock files."""

Progress = Callable[[str, int, int], None]
"""Called as work goes on: what is being done, number of steps done, number of steps."""

Say = Callable[[str], None]
"""Called with a line for the user."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Job(ABC):
    """A piece of work whose result is on disk.

    Attributes:
        title: of the work, for messages.
        label: names of the method and data set that the results stand under.
        part: which part of these the work is; processes do jobs of one label and part one at a time.
        identity: digest of the method; results under one label are of one identity.
    """

    title: str
    label: tuple[str, ...]
    part: str
    identity: str

    @property
    def key(self) -> tuple[str, ...]:
        """Label and part."""
        return *self.label, self.part

    @abstractmethod
    def known(self) -> bool:
        """Return whether the result is on disk.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: the job cannot be done.
        """

    @abstractmethod
    def run(self, progress: Progress | None) -> str:
        """Do the work that is left.

        Returns:
            A line on the result, or "".

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: it failed; other jobs can go on.
            fusionkit.errors.DataError: something cannot be written.
        """


def lock_file(out: Path, *key: str) -> Path:
    """The lock file of a piece of work in a bench's folder."""
    return out / LOCKS / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.lock"


@contextmanager
def locked_labels(out: Path, jobs: Iterable[Job]) -> Iterator[None]:
    """Keep the labels of jobs for their methods while the block runs; processes with the same methods share them.

    Raises:
        fusionkit.errors.UsageError: another process works on another method under one of the labels.
        fusionkit.errors.DataError: the lock file cannot be made.
    """
    own = f"{os.getpid()}-{secrets.token_hex(4)}"
    with ExitStack() as held:
        for label, identity in dict.fromkeys((job.label, job.identity) for job in jobs):
            lock = lock_file(out, "label", *label)
            mine = f"{lock.stem}-{identity[:16]}-"
            with file_lock(lock, wait=True):
                for other in lock.parent.glob(f"{lock.stem}-*.lock"):
                    if other.name.startswith(mine):
                        continue
                    with file_lock(other, wait=False) as free:
                        if not free:
                            raise UsageError(
                                f"{label[0]} is the label of another method in {out}, which a running bench is at: "
                                "give this one a label of its own, as in --fuser LABEL=MODEL, or another --out"
                            )
                    other.unlink(missing_ok=True)
                held.enter_context(file_lock(lock.with_name(f"{mine}{own}.lock"), wait=True))
        yield


def shared(jobs: Sequence[T], processes: Processes) -> list[T]:
    """The order in which a process takes jobs: each process starts elsewhere, so that they rarely meet.

    >>> shared("abcd", Processes(rank=1, count=2))
    ['c', 'd', 'a', 'b']
    """
    first = len(jobs) * processes.rank // processes.count
    return [*jobs[first:], *jobs[:first]]


def run_jobs(jobs: Sequence[Job], out: Path, *, progress: Progress | None = None, say: Say = print) -> int:
    """Do every job that is neither known nor being done by another process, then wait for those of the others.

    Args:
        jobs: in this process's order.
        out: the bench's folder.
        progress: called as work goes on.
        say: called with one line on what is done and what failed.

    Returns:
        Number of jobs that failed.

    Raises:
        fusionkit.errors.DataError: a result cannot be written, or a damaged one is there.
    """
    failures = 0
    left = list(jobs)
    for wait in (False, True):
        later: list[Job] = []
        for job in left:
            try:
                if job.known():
                    continue
                with file_lock(lock_file(out, *job.key), wait=wait) as held:
                    if not held:
                        later.append(job)
                    elif not job.known():
                        result = job.run(progress)
                        if result:
                            say(f"done: {job.title}: {result}")
            except PluginCallFailed as error:
                say(f"failed: {job.title}: {error}")
                failures += 1
        left = later
    return failures
