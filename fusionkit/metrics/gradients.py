"""Derivatives of an image: Sobel responses and central differences."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.metrics.windows import Padding, pad

__all__ = ["central_differences", "doubled_differences", "sobel"]


def sobel(image: Tensor, *, padding: Padding = "replicate") -> tuple[Tensor, Tensor]:
    """Sobel responses along x (columns) and y (rows), unnormalised: weights 1, 2, 1 across the difference.

    ``gx = right - left`` and ``gy = below - above`` (correlation), positive where the image grows.

    Args:
        image: ``(B, K, H, W)``.
        padding: beyond the border; ``"valid"`` drops one pixel on every side.

    Returns:
        ``gx`` and ``gy``, each ``(B, K, H, W)``.
    """
    x = pad(image, 1, padding)
    across = x[..., 2:] - x[..., :-2]
    down = x[..., 2:, :] - x[..., :-2, :]
    gx = (across[..., :-2, :] + across[..., 2:, :]).add_(across[..., 1:-1, :], alpha=2)
    gy = (down[..., :-2] + down[..., 2:]).add_(down[..., 1:-1], alpha=2)
    return gx, gy


def central_differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """Differences along x and y: ``(next - previous) / 2`` inside, one-sided at the border.

    Along an axis of one pixel they are 0; otherwise the same as MATLAB's ``gradient`` and ``numpy.gradient``.

    Args:
        image: ``(B, K, H, W)``.

    Returns:
        ``gx`` and ``gy``, each ``(B, K, H, W)``.
    """
    return 0.5 * doubled_differences(image, 3), 0.5 * doubled_differences(image, 2)


def doubled_differences(image: Tensor, axis: int) -> Tensor:
    """Twice the :func:`central_differences` along one axis: ``next - previous`` inside."""
    count = image.shape[axis]
    if count == 1:
        return torch.zeros_like(image)
    inside = image.narrow(axis, 2, count - 2) - image.narrow(axis, 0, count - 2)
    first = image.narrow(axis, 1, 1) - image.narrow(axis, 0, 1)
    last = image.narrow(axis, count - 1, 1) - image.narrow(axis, count - 2, 1)
    return torch.cat((2 * first, inside, 2 * last), axis)
