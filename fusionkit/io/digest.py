"""The SHA-256 digest of a file, by which copies of it are recognised."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fusionkit.errors import DataError
from fusionkit.io.regular_files import check_regular

__all__ = ["file_digest"]

_PART = 2**18
"""Bytes read at once."""


def file_digest(file: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal.

    Raises:
        fusionkit.errors.DataError: the file cannot be read.
    """
    try:
        check_regular(file)
        with file.open("rb") as stream:
            digest = hashlib.sha256()
            while part := stream.read(_PART):
                digest.update(part)
            return digest.hexdigest()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error
