"""The pixels of a file as stored, and what is stored with them: the result of a decoder."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_PIXELS", "Decoded", "check_page", "check_size"]

from fusionkit.io.geo_tags import GeoTags
from fusionkit.io.text import counted
from fusionkit.io.tiff import Refused

MAX_PIXELS = 2**27
"""Largest picture that is decoded (11585 x 11585): a header that claims more is taken for damaged or hostile."""


@dataclass(frozen=True)
class Decoded:
    """Pixels ``(H, W, C)`` as stored, RGB, C 1 or 3, integers of 8, 16 or 32 bits or float32, and the metadata.

    ``joined``: the three pages are read as the channels of one picture. ``radiometric``: the file also holds
    temperatures.
    """

    pixels: NDArray[np.generic]
    exif: bytes | None = None
    orientation: int = 1
    icc: bytes | None = None
    pages: int = 1
    transparent: bool = False
    spacing: float | None = None
    joined: bool = False
    radiometric: bool = False
    geo: GeoTags | None = None


def check_page(page: int, pages: int) -> None:
    """Refuse a page that a file does not have.

    Raises:
        fusionkit.io.tiff.Refused: always in that case.
    """
    if page >= pages:
        raise Refused(f"has {counted(pages, 'page')}, and page {page} is asked for: pages count from 0")


def check_size(width: int, height: int) -> None:
    """Refuse a picture that no camera makes.

    Raises:
        fusionkit.io.tiff.Refused: always in that case.
    """
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise Refused(
            f"says that it is {width}x{height} pixels; from 1 to {MAX_PIXELS} pixels are read: it is damaged, "
            "or has to be cut into parts"
        )
