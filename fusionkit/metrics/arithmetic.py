"""Small arithmetic that metrics share: quotients, roots and correlations that are defined everywhere."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fusionkit.errors import UsageError, did_you_mean

__all__ = ["Reduction", "centred", "correlation", "logarithm", "over_sources", "ratio", "root"]

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


def logarithm(x: Tensor, base: float) -> Tensor:
    """``log_base(x)``; base 2 gives bits, base e nats."""
    if base == 2.0:
        return x.log2()
    if base == 10.0:
        return x.log10()
    return x.log() / torch.tensor(base, dtype=torch.float64).log().item()


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


def correlation(x: Tensor, y: Tensor, undefined: float = 0.0) -> Tensor:
    """Pearson's correlation over H and W of ``x`` and ``y``, which :func:`centred` gave.

    Args:
        x: ``(B, K, H, W)`` with zero mean.
        y: the same shape, or one channel for all.
        undefined: the value where either is constant.

    Returns:
        ``(B, K)`` in [-1, 1].
    """
    # A root of each sum before the product: the product of two sums can leave the range of float32.
    scale = root(x.square().sum((2, 3))) * root(y.square().sum((2, 3)))
    return ratio((x * y).sum((2, 3)), scale, undefined)
