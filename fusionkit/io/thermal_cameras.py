"""Photographs of thermal cameras that hold temperatures: radiometric JPEG of FLIR, by the library flyr (extra).

Such a file is a JPEG in false colours, for people. Beside it, it holds the raw values of the sensor with the constants
that make temperatures of them, usually a visible photograph, and where the one lies in the other.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import JpegImagePlugin

from fusionkit.io.decoded import Decoded, check_size
from fusionkit.io.extra_codecs import needed_library
from fusionkit.io.tiff import Refused, quiet

__all__ = ["PARTS", "decode_part", "holds_temperatures", "visible_to_thermal"]

PARTS = ("thermal", "visible")
"""Names of the pictures in a radiometric file: ``FILE[thermal]``, ``FILE[visible]``."""

_FLIR = b"FLIR\0"
_MAKER = 271  # EXIF


def holds_temperatures(data: bytes) -> bool:
    """Return whether bytes are a radiometric JPEG that :func:`decode_part` reads."""
    return any(marker == 0xE1 and data.startswith(_FLIR, start) for marker, start in _segments(data))


def decode_part(data: bytes, part: str) -> Decoded:
    """Decode one picture of a radiometric JPEG.

    Args:
        data: the bytes of the file.
        part: ``"thermal"``: degrees Celsius, ``(H, W, 1)`` float32, by the constants, the emissivity, the distance and
            the air that the file states; ``"visible"``: the photograph, ``(H, W, 1)`` or ``(H, W, 3)`` uint8.

    Raises:
        fusionkit.io.tiff.Refused: flyr is missing, the file holds no temperatures or those of another maker, or no
            photograph.
        ValueError: the file is damaged.
    """
    opened = _opened(data, f"[{part}]")
    if part == "thermal":
        try:
            # Raw values below what the constants can give have no logarithm: they become NaN.
            with np.errstate(all="ignore"):
                celsius = np.asarray(opened.celsius, np.float32)
        except (ArithmeticError, KeyError, ValueError) as error:
            raise ValueError(f"its constants give no temperatures: {error}") from None
        check_size(celsius.shape[1], celsius.shape[0])
        return Decoded(celsius[..., None])
    photograph = opened.optical
    if photograph is None:
        raise Refused("holds no visible photograph beside its temperatures")
    pixels: NDArray[np.uint8] = np.asarray(photograph, np.uint8)
    check_size(pixels.shape[1], pixels.shape[0])
    return Decoded(np.ascontiguousarray(pixels[..., None] if pixels.ndim == 2 else pixels[..., :3]))


def visible_to_thermal(data: bytes) -> NDArray[np.float64] | None:
    """Matrix that maps points of the visible photograph to points of the thermal picture, as the camera states it.

    The file states by which factor the photograph sees more than the thermal sensor, Real2IR, and by how many pixels of
    the photograph the two centres lie apart, OffsetX and OffsetY.

    Returns:
        3x3, pixel centres at whole numbers; None if the file states none, or has no photograph.

    Raises:
        fusionkit.io.tiff.Refused: as :func:`decode_part`.
        ValueError: the file is damaged.
    """
    opened = _opened(data, "[thermal]")
    stated, photograph = opened.pip_info, opened.optical
    if stated is None or photograph is None or not 0.1 <= stated.real_to_ir <= 100:
        return None
    seen_height, seen_width = photograph.shape[:2]
    height, width = opened.celsius.shape
    scale = width * stated.real_to_ir / seen_width
    x = (width - 1) / 2 - scale * ((seen_width - 1) / 2 + stated.offset_x)
    y = (height - 1) / 2 - scale * ((seen_height - 1) / 2 + stated.offset_y)
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])


def _opened(data: bytes, asked: str) -> Any:
    if not holds_temperatures(data):
        raise Refused(f"holds no temperatures that are read ({_says_maker(data)}); {asked} is asked for: {_INSTEAD}")
    flyr = needed_library("flyr", "a radiometric JPEG", "radiometric")
    try:
        return flyr.unpack(io.BufferedReader(io.BytesIO(data)))
    except (MemoryError, Refused):
        raise
    except Exception as error:  # the library lets any error of its decoders through
        raise ValueError(f"its thermal data: {' '.join(str(error).split()) or type(error).__name__}") from None


_INSTEAD = "radiometric JPEG of FLIR is read; save the temperatures of another camera as TIFF by its maker's program"


def _says_maker(data: bytes) -> str:
    try:
        with quiet(), JpegImagePlugin.JpegImageFile(io.BytesIO(data)) as picture:
            maker = str(picture.getexif().get(_MAKER, "")).strip("\0 ")[:40]
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return "it is no JPEG"
    return f"its maker is {maker!r}" if maker else "it names no maker"


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and start of the content of the segments of a JPEG up to its first scan."""
    place = 2 if data.startswith(b"\xff\xd8") else len(data)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xDA:
            return
        yield marker, place + 4
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
