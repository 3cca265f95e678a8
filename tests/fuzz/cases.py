"""Run one case within bounds of time and memory."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tests.fuzz.changes import Change
from tests.fuzz.subjects import Subject

__all__ = ["SECONDS", "bounded_memory", "verdict"]

SECONDS = 10
"""Processor time of one case; beyond it the case counts as one that never ends."""

_GIBIBYTES = 6


class _Hang(BaseException):
    """A case used up its time. No code under test catches it."""


def verdict(subject: Subject, change: Change) -> str:
    """The verdict of :meth:`Subject.verdict`, or ``"hang: ..."``."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _Hang

    # The time of the processor, so that a busy machine makes no hangs.
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return subject.verdict(change)
    except _Hang:
        return f"hang: more than {SECONDS} s"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let allocations beyond 6 GiB fail, so that a case cannot take the machine's memory."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_GIBIBYTES * 2**30, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
