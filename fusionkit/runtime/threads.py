"""Run a function on many items, on a few threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_threads(work: Callable[[_In], _Out], items: Sequence[_In], *, workers: int = 4) -> list[_Out]:
    """Return ``[work(item) for item in items]``, computed on a few threads.

    For work that releases the interpreter lock, such as reading and decoding files. Fewer than 8 items run one after
    the other, without threads. The first exception is raised again here.
    """
    if len(items) < 8:
        return [work(item) for item in items]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        return list(pool.map(work, items))
