"""File locks, so that several processes can share an output folder: one lock file per piece of work.

The system gives a lock back when its holder ends, however it ends: a killed process leaves nothing to clean up.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fusionkit.errors import DataError

__all__ = ["file_lock"]

_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def file_lock(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock while the block runs.

    Args:
        path: the lock file, which holds nothing else; it is made where it is missing, and stays.
        wait: wait until other processes have released the lock.

    Yields:
        Whether this process may go on: always with ``wait`` and on a file system without locks, else False where
        another process holds the lock.

    Raises:
        fusionkit.errors.DataError: the lock file cannot be made.
    """
    lock = FileLock(path, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=wait)
    except Timeout:
        yield False
        return
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise DataError(f"{path}: cannot be written ({error.strerror}): choose another folder") from None
        # A file system without locks: two processes may do the same work twice, with equal results.
    try:
        yield True
    finally:
        lock.release()
