"""Cuts images into overlapping tiles that a fuser fuses exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from fusionkit.contracts import Capabilities

__all__ = ["LARGE_PIXELS", "TILE_SIDE", "Tile", "crop", "smaller_side", "tiles"]

LARGE_PIXELS = 2**22
"""Images of more pixels are fused in tiles on a CPU where a method's tiles are exact."""

TILE_SIDE = 1024
"""Height and width of such a tile without its halo, about."""


@dataclass(frozen=True)
class Tile:
    """A part of an image along both sides.

    Attributes:
        seen: rows and columns that are fused, halo included.
        kept: rows and columns of the image that are taken from the result.
        inner: the same rows and columns, counted within what is fused.
    """

    seen: tuple[slice, slice]
    kept: tuple[slice, slice]
    inner: tuple[slice, slice]


def crop(images: Tensor, place: tuple[slice, slice]) -> Tensor:
    """Return the given rows and columns of images (..., height, width), without a copy."""
    rows, columns = place
    return images[..., rows, columns]


def tiles(size: tuple[int, int], side: int, able: Capabilities) -> Iterator[Tile]:
    """Cut an image into tiles, from top to bottom.

    Args:
        size: height and width.
        side: about how high and wide a tile is without its halo.
        able: states halo and grid.

    Yields:
        Tiles that cover every pixel once.
    """
    for seen_rows, rows, inner_rows in _spans(size[0], side, able):
        for seen_columns, columns, inner_columns in _spans(size[1], side, able):
            yield Tile((seen_rows, seen_columns), (rows, columns), (inner_rows, inner_columns))


def _grid(able: Capabilities) -> int:
    return able.multiple if able.grid is None else able.grid


def _halo(able: Capabilities) -> int:
    """The halo, rounded up to the grid."""
    return -(-(able.halo or 0) // _grid(able)) * _grid(able)


def _spans(length: int, side: int, able: Capabilities) -> Iterator[tuple[slice, slice, slice]]:
    grid, halo = _grid(able), _halo(able)
    step = max(side // grid, 1) * grid
    for start in range(0, length, step):
        stop = min(start + step, length)
        first, last = max(start - halo, 0), min(stop + halo + length % grid, length)
        # What is fused must not be too small for the method.
        missing = -(-max(min(able.min_size, length) - (last - first), 0) // grid) * grid
        back = min(missing, first)
        first, last = first - back, min(last + missing - back, length)
        yield slice(first, last), slice(start, stop), slice(start - first, stop - first)


def smaller_side(size: tuple[int, int], side: int | None, able: Capabilities) -> int | None:
    """Return the side of tiles that take less memory than those of ``side``, or than the whole image.

    Returns:
        None if there are none: the method's tiles are not exact, or their halo is most of them already.
    """
    if able.halo is None:
        return None
    longer, grid = max(size), _grid(able)
    half = (longer if side is None else min(side, longer)) // 2 // grid * grid
    smaller = half + 2 * _halo(able) < longer and half > _halo(able)
    return half if smaller and half + _halo(able) >= able.min_size else None
