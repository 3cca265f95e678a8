"""Jobs of a bench: each is done once, by one process at a time, and resumes from what is on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from fusionkit.io.locks import file_lock
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.runtime.processes import Processes

__all__ = ["LOCKS", "Job", "Progress", "Say", "run_jobs", "shared"]

LOCKS = "locks"
"""Sub-folder of the lock files."""

Progress = Callable[[str, int, int], None]
"""Called as work goes on: what is being done, number of steps done, number of steps."""

Say = Callable[[str], None]
"""Called with a line for the user."""

T = TypeVar("T")


class Job(Protocol):
    """A piece of work whose result is on disk."""

    @property
    def title(self) -> str:
        """Title for messages."""

    @property
    def lock(self) -> Path:
        """The lock file that a process holds while it works on it."""

    def known(self) -> bool:
        """Return whether the result is on disk.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: the job cannot be done.
        """

    def run(self, progress: Progress | None) -> str:
        """Do what is left of it.

        Returns:
            A line on the result, or "".

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: it failed; other jobs can go on.
            fusionkit.errors.DataError: something cannot be written.
        """


def shared(jobs: Sequence[T], processes: Processes) -> list[T]:
    """The order in which a process takes jobs: each process starts elsewhere, so that they rarely meet.

    >>> shared("abcd", Processes(rank=1, count=2))
    ['c', 'd', 'a', 'b']
    """
    first = len(jobs) * processes.rank // processes.count
    return [*jobs[first:], *jobs[:first]]


def run_jobs(jobs: Sequence[Job], *, progress: Progress | None = None, say: Say = print) -> int:
    """Do every job that is neither known nor being done by another process, then wait for those of the others.

    Args:
        jobs: in this process's order.
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
                with file_lock(job.lock, wait=wait) as held:
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
