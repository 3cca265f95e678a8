"""Who does what, where several processes work in one folder: a locked file a piece of work.

The system gives a lock back when its holder ends, however it ends: a killed process leaves nothing to clean up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fusionkit.errors import DataError

__all__ = ["claimed"]


@contextmanager
def claimed(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a piece of work while the block runs.

    Args:
        path: the file that stands for it; made where it is missing, and left.
        wait: until another process is done with it.

    Returns:
        Whether it is ours; always, with ``wait``, and where the system knows no such locks.

    Raises:
        fusionkit.errors.DataError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}): choose another --out") from None
    with stream:
        yield _lock(stream.fileno(), wait)


def _lock(handle: int, wait: bool) -> bool:
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        # A file system without locks: two processes may then do the same work twice, with equal results.
        return True
    return True
