"""Strips of rows: work on large images in pieces that stay in a processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["STRIP_PIXELS", "row_strips"]

STRIP_PIXELS = 2**16
"""About how many pixels a strip has."""


def row_strips(height: int, width: int, *, pixels: int = STRIP_PIXELS) -> Iterator[slice]:
    """Cut an image into strips of whole rows, from top to bottom.

    Args:
        height: rows of the image.
        width: pixels of a row.
        pixels: about how many pixels a strip has; it has one row at least.

    Yields:
        The rows of each strip.
    """
    step = max(pixels // max(width, 1), 1)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))
