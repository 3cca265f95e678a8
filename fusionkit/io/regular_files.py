"""Reads files that are small enough for memory, and no pipes or devices, which would never end."""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path
from typing import Any

__all__ = ["check_regular", "read_json", "read_regular", "read_regular_text"]


def check_regular(path: Path) -> None:
    """Refuse what is no ordinary file, before it is opened: opening a pipe waits for a writer.

    Raises:
        OSError: it is not there, is a folder, a pipe or a device.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "is a pipe or a device, no file", str(path))


def read_regular(path: Path) -> bytes:
    """Read an ordinary file whole.

    Raises:
        OSError: it cannot be read, or is a pipe or a device.
    """
    check_regular(path)
    return path.read_bytes()


def read_regular_text(path: Path) -> str:
    """Read an ordinary file of UTF-8 text, with or without a byte order mark.

    Raises:
        OSError: as :func:`read_regular`.
        UnicodeDecodeError: it is not UTF-8.
    """
    return read_regular(path).decode("utf-8-sig")


def read_json(path: Path) -> Any:
    """Read an ordinary file of JSON.

    Raises:
        OSError: as :func:`read_regular`.
        ValueError: it is not UTF-8 or not JSON, or nested too deeply.
    """
    text = read_regular_text(path)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
