"""Signals that ask a training to stop: SIGINT (Ctrl-C) and SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["stop_requested"]


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into a flag, so that a step is never cut in half."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(_signal: int, _frame: FrameType | None) -> None:
        # torchrun passes a Ctrl-C on as a kill, which is the same request once more.
        if asked.is_set() and _signal == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
