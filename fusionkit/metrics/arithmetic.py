"""Arithmetic that metrics share: quotients, roots and correlations that are defined for all inputs."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.inputs import Cache, no_cache

__all__ = [
    "Reduction",
    "centre",
    "centred",
    "correlation",
    "deviation_length",
    "dot",
    "length",
    "over_sources",
    "ratio",
    "root",
    "smaller_over_larger",
    "snapped",
]

Reduction = Literal["sum", "mean"]
"""Way to combine a metric's values over the sources."""


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


def centre(image: Tensor) -> Tensor:
    """The mean of each plane of ``(B, K, H, W)``: ``(B, K, 1, 1)``.

    A mean that equals the first pixel up to rounding becomes that pixel: constant planes minus it are exactly 0.
    """
    return snapped(image.mean((2, 3), keepdim=True), image[..., :1, :1])


def snapped(mean: Tensor, pixel: Tensor) -> Tensor:
    """Replace ``mean`` by ``pixel`` where the two are equal up to the rounding of a sum."""
    same = (mean - pixel).abs() <= 32 * torch.finfo(mean.dtype).eps * pixel.abs()
    return torch.where(same, pixel, mean)


def centred(image: Tensor) -> Tensor:
    """``(B, K, H, W)`` minus its mean over H and W; exactly 0 everywhere where a plane is constant."""
    return image - centre(image)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """``sum(x y)`` of each plane of ``(B, K, H, W)``: ``(B, K)``."""
    if x.dtype == torch.float64:
        return torch.einsum("bkhw,bkhw->bk", x, y)
    # The plain sums of a matrix product lose digits in float32; these are made in pairs.
    return (x * y).sum((2, 3))


def length(x: Tensor, *, spent: bool = False) -> Tensor:
    """Euclidean length of each plane of ``(B, K, H, W)``: ``(B, K)``; ``spent`` planes are overwritten."""
    if x.dtype == torch.float64:
        norm: Tensor = torch.linalg.vector_norm(x, dim=(2, 3))
        return norm
    return root((x.square_() if spent else x.square()).sum((2, 3)))


def correlation(x: Tensor, y: Tensor, undefined: float = 0.0, *, cache: Cache = no_cache) -> Tensor:
    """Pearson's correlation over H and W of ``x`` and ``y``, which have been centred by :func:`centred`.

    Args:
        x: ``(B, K, H, W)`` with zero mean.
        y: the same shape, or one channel for all.
        undefined: the value where either is constant.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B, K)`` in [-1, 1].
    """
    # Lengths before the product: the product of two sums of squares can leave the range of float32.
    return ratio(dot(x, y.expand_as(x)), cache(length, x) * cache(length, y), undefined)


def deviation_length(image: Tensor, mean: Tensor) -> Tensor:
    """Length of ``image - mean``: ``(B, 1)``."""
    if image.dtype == torch.float64 and image.device.type == "cpu" and not image.requires_grad:
        # sum x^2 - N mean^2 writes no plane; it does where no more than four of float64's digits are lost.
        square, middle = length(image).square(), mean[:, :, 0, 0].square() * image[0].numel()
        if bool((square - middle > 1e-4 * square).all()):
            return (square - middle).sqrt()
    return length(image - mean, spent=not image.requires_grad)


def smaller_over_larger(first: Tensor, second: Tensor) -> Tensor:
    """The smaller over the larger of two lengths; 0 where both are 0."""
    return ratio(torch.minimum(first, second), torch.maximum(first, second))
