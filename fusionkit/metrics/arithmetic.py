"""Small arithmetic that metrics share: quotients, roots and correlations that are defined everywhere."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.scene import Once, direct

__all__ = ["Reduction", "centred", "correlation", "length", "over_sources", "ratio", "root"]

Reduction = Literal["sum", "mean"]
"""How a metric's values for the single sources become one."""


def ratio(numerator: Tensor, denominator: Tensor, undefined: float = 0.0) -> Tensor:
    """``numerator / denominator``, and ``undefined`` where the denominator is exactly 0; gradients stay finite."""
    zero = denominator == 0
    return torch.where(zero, undefined, numerator / torch.where(zero, 1.0, denominator))


def root(x: Tensor) -> Tensor:
    """``sqrt(x)`` of ``x >= 0``, with gradient 0 instead of infinity at 0."""
    if not x.requires_grad:
        return x.sqrt()
    zero = x == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, x).sqrt())


def over_sources(values: Tensor, reduction: Reduction) -> Tensor:
    """Sum or mean of ``(B, S)`` over the sources: ``(B,)``.

    Raises:
        UsageError: an unknown reduction.
    """
    if reduction == "sum":
        return values.sum(1)
    if reduction == "mean":
        return values.mean(1)
    raise UsageError(f"reduction {reduction!r} is unknown: {did_you_mean(reduction, ('sum', 'mean'))}")


def centred(image: Tensor) -> Tensor:
    """``(B, K, H, W)`` minus its mean over H and W; exactly 0 everywhere where a plane is constant."""
    # Counted from its first pixel a constant plane is 0 before any rounding.
    shifted = image - image[..., :1, :1]
    return shifted.sub_(shifted.mean((2, 3), keepdim=True))


def length(x: Tensor) -> Tensor:
    """Euclidean length of each plane of ``(B, K, H, W)``: ``(B, K)``."""
    return root(x.square().sum((2, 3)))


def correlation(x: Tensor, y: Tensor, undefined: float = 0.0, *, once: Once = direct) -> Tensor:
    """Pearson's correlation over H and W of ``x`` and ``y``, which :func:`centred` gave.

    Args:
        x: ``(B, K, H, W)`` with zero mean.
        y: the same shape, or one channel for all.
        undefined: the value where either is constant.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B, K)`` in [-1, 1].
    """
    # Lengths before the product: the product of two sums of squares can leave the range of float32.
    return ratio((x * y).sum((2, 3)), once(length, x) * once(length, y), undefined)
