"""Burt and Adelson's Gaussian pyramid: reduce and expand by two, for images of any size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fusionkit_classical import opencv
from fusionkit_classical.borders import extend

__all__ = ["expand", "gaussian_pyramid", "pyramid_depth", "pyramid_halo", "reduce", "split"]

_KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def pyramid_depth(size: Sequence[int], levels: int) -> int:
    """The number of halvings, at most ``levels``, that leave the shorter side of ``size`` at least one pixel."""
    return min(levels, min(size).bit_length() - 1)


def pyramid_halo(levels: int, window: int) -> int:
    """The number of pixels around one that decide it where coefficients are chosen twice in windows of a width.

    At level l, in pixels of 2^l: 4 for the reductions below it and above it, 3 for the expansion that gives the detail,
    ``window - 1`` for the choices, and 3 for all expansions below. The level before the last reaches farthest.
    """
    return 2 ** max(levels - 1, 0) * (9 + window)


def reduce(image: Tensor) -> Tensor:
    """Smooth with [1 4 6 4 1] / 16 and keep every second row and column.

    Args:
        image: ``(..., H, W)``.

    Returns:
        ``(..., ceil(H / 2), ceil(W / 2))``.

    Agrees with ``cv2.pyrDown``. Source: Burt, Adelson, "The Laplacian Pyramid as a Compact Image Code", IEEE Trans.
    Communications 31(4), 1983, equation 1 with a = 0.375.
    """
    if opencv.is_plain(image):
        return opencv.pyramid_down(image)
    for dim in (-1, -2):
        length = image.shape[dim]
        wide = extend(image, dim, 2, 2, border="reflect").movedim(dim, -1)
        image = torch.zeros_like(wide[..., :length:2])
        for k, weight in enumerate(_KERNEL):
            image += weight * wide[..., k : k + length : 2]
        image = image.movedim(-1, dim)
    return image


def expand(image: Tensor, height: int, width: int) -> Tensor:
    """Double an image by interpolation with the kernel of :func:`reduce`.

    Args:
        image: ``(..., h, w)``.
        height: rows of the result, ``2 h`` or ``2 h - 1``.
        width: columns of the result, ``2 w`` or ``2 w - 1``.

    Returns:
        ``(..., height, width)``.

    Agrees with ``cv2.pyrUp``. Source: Burt and Adelson 1983, equation 2.
    """
    if opencv.is_plain(image):
        return opencv.pyramid_up(image, height, width)
    for dim, length in ((-1, width), (-2, height)):
        # The grid goes on past its first sample as a mirror about it, and past its last as that sample: as in cv2.
        head = extend(image, dim, 1, 0, border="reflect")
        wide = extend(head, dim, 0, 1, border="edge").movedim(dim, -1)
        on_grid = (wide[..., :-2] + 6 * wide[..., 1:-1] + wide[..., 2:]) / 8
        between = (wide[..., 1:-1] + wide[..., 2:]) / 2
        image = torch.stack((on_grid, between), -1).flatten(-2)[..., :length].movedim(-1, dim)
    return image


def gaussian_pyramid(image: Tensor, levels: int) -> list[Tensor]:
    """The image and its ``levels`` reductions, finest first."""
    pyramid = [image]
    for _ in range(levels):
        pyramid.append(reduce(pyramid[-1]))
    return pyramid


def split(image: Tensor) -> tuple[Tensor, Tensor]:
    """Split an image ``(..., H, W)`` into the detail of a Laplacian pyramid's level and the next coarser image."""
    coarse = reduce(image)
    return image - expand(coarse, *image.shape[-2:]), coarse
