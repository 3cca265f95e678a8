"""Write files atomically: a reader sees the old or the new file, never a part."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from fusionkit.errors import DataError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, which replaces ``path`` when the block ends without an error.

    Raises:
        DataError: the folder cannot be made or written, or the disk is full; names the file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=path.suffix)
        os.close(handle)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}): choose another place") from None
    aside = Path(name)
    try:
        yield aside
        with aside.open("rb+") as stream:
            os.fsync(stream.fileno())
        umask = os.umask(0)
        os.umask(umask)
        aside.chmod(0o666 & ~umask)
        os.replace(aside, path)
    except (OSError, SafetensorError) as error:
        # safetensors reports a failed write as an error of its own.
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be written ({cause}): free space or choose another place") from None
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def folder_written_aside(path: Path) -> Iterator[Path]:
    """Yield a new folder beside ``path``, which becomes ``path`` when the block ends without an error.

    Of several processes, one makes the folder.

    Raises:
        DataError: something is at ``path`` by then, or the folder cannot be made or written; names ``path``.
    """
    aside = path.with_name(f".{path.name[:80]}.{uuid.uuid4().hex[:8]}.part")
    try:
        aside.mkdir(parents=True)
        yield aside
        with suppress(FileNotFoundError):
            path.rmdir()  # an empty folder may be there
        aside.rename(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}): choose another place") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically.

    Raises:
        DataError: see :func:`written_aside`.
    """
    with written_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
