"""Derivatives of an image: Sobel responses and central differences."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.metrics.windows import Padding, pad

__all__ = ["central_differences", "sobel"]


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
    return _differences(image, 3), _differences(image, 2)


def _differences(image: Tensor, axis: int) -> Tensor:
    if image.shape[axis] == 1:
        return torch.zeros_like(image)
    step = image.diff(dim=axis)
    count = step.shape[axis]
    inside = (step.narrow(axis, 0, count - 1) + step.narrow(axis, 1, count - 1)) / 2
    return torch.cat((step.narrow(axis, 0, 1), inside, step.narrow(axis, count - 1, 1)), axis)
