"""PNG files: write them a strip of rows at a time, and find their chunks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fusionkit.io.row_strips import row_strips

__all__ = ["encode_png", "find_chunk"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_DIFFERENCE = 1
"""The filter that stores each sample as its difference from the pixel on its left."""


def encode_png(pixels: NDArray[np.generic], *, exif: bytes | None, icc: bytes | None) -> Iterator[bytes]:
    """Encode pixels as a PNG file, compressed for speed.

    Args:
        pixels: ``(H, W, C)``, C 1 or 3, uint8 or uint16.
        exif: a TIFF structure.
        icc: colour profile.

    Yields:
        The file, in pieces.
    """
    height, width, channels = pixels.shape
    kind = _GREY if channels == 1 else _RGB
    yield _SIGNATURE + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, pixels.itemsize * 8, kind, 0, 0, 0))
    if icc:
        yield _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif:
        yield _chunk(b"eXIf", exif)
    # Runs of equal differences, which is all that the fastest level finds in noise, at twice its speed.
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    for rows in row_strips(height, width):
        packed = packer.compress(_filtered(pixels[rows]).data)
        if packed:
            yield _chunk(b"IDAT", packed)
    yield _chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b"")


def _filtered(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Differences of each sample's bytes from those of the pixel on its left, with the filter's number in front."""
    step = pixels.itemsize * pixels.shape[2]
    stored = pixels.astype(pixels.dtype.newbyteorder(">"), order="C").view(np.uint8).reshape(len(pixels), -1)
    filtered = np.empty((stored.shape[0], stored.shape[1] + 1), np.uint8)
    filtered[:, 0] = _DIFFERENCE
    filtered[:, 1 : step + 1] = stored[:, :step]
    np.subtract(stored[:, step:], stored[:, :-step], out=filtered[:, step + 1 :])
    return filtered


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(content, zlib.crc32(name)))


def find_chunk(data: bytes, name: bytes) -> bytes | None:
    """Return the content of the first chunk of a name in a whole PNG file; None without one."""
    start = len(_SIGNATURE)
    while start + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        if data[start + 4 : start + 8] == name:
            return data[start + 8 : start + 8 + length]
        start += length + 12
    return None
