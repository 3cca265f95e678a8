"""Structural similarity for multi-exposure fusion (MEF-SSIM)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import DataError, UsageError
from fusionkit.metrics.arithmetic import ratio, root
from fusionkit.metrics.inputs import CachingMetric, MetricInputs
from fusionkit.metrics.windows import Window, filter_planes

__all__ = ["MEFSSIM", "mef_ssim"]

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001)
"""Weights of the scales, finest first: the first three of MS-SSIM's five."""

SIDE = 11
EPSILON = 2.0**-52
CONTRAST_FLOOR = 0.001


def mef_ssim(fused: Tensor, *sources: Tensor, scales: int = 3, constant: float = 0.03) -> Tensor:
    """Structural similarity for multi-exposure fusion (MEF-SSIM): every patch against the best patch of the sources.

    Of a patch's sources ``x_k`` (11 x 11 pixels, means taken off) the norms are ``c_k = |x_k| + 0.001``, their
    agreement is ``R = |sum x_k| / sum |x_k|`` and ``p = min(tan(pi R / 2), 10)``. The wanted patch has the direction of
    ``sum_k (c_k / 11)^p x_k / c_k`` (weights normalised) and the norm ``max c_k``. With Gaussian-weighted moments of
    it and of the fused patch ``q = (2 cov + C) / (var + var_F + C)``, ``C = (255 constant)^2``; Q is the mean of q.
    Over scales, halved by 2 x 2 means, ``MEF-SSIM = prod Q_l^w_l``, w = .0448, .2856, .3001 normalised to sum 1.

    There is no luminance term: a constant added to any image changes nothing. Computed in float64 whatever the dtype.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        scales: 1 to 3.
        constant: K of C.

    Returns:
        ``(B,)``, at most 1; 1 where every image is constant. In [0, 1] for more than one scale, where a mean below
        0 counts as 0: its root is not defined.

    Raises:
        UsageError: ``scales`` is not 1, 2 or 3.
        DataError: the images are smaller than ``11 * 2^(scales - 1)``.

    Source: Ma, Zeng and Wang, IEEE Trans. Image Process. 24, 2015; agrees with the authors' ``mef_ms_ssim``.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.mef_ssim import mef_ssim
        >>> a = torch.arange(1936.0).double().view(1, 1, 44, 44) % 251
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(mef_ssim(fused, a, b).item(), 4)
        0.9353
    """
    if not 1 <= scales <= len(SCALE_WEIGHTS):
        raise UsageError(f"scales {scales} is out of range: MEF-SSIM has 1 to {len(SCALE_WEIGHTS)} scales")
    least = SIDE << (scales - 1)
    height, width = fused.shape[-2:]
    if min(height, width) < least:
        raise DataError(f"MEF-SSIM over {scales} scales needs {least}x{least} pixels, these are {height}x{width}")
    images = torch.cat((fused, *sources), 1).double()
    if scales == 1:
        return _similarity(images, constant).to(fused.dtype)
    total = math.fsum(SCALE_WEIGHTS[:scales])
    value = images.new_ones(images.shape[0])
    for weight in SCALE_WEIGHTS[:scales]:
        mean = _similarity(images, constant)
        # The derivative of 0^w is infinite; there the result is 0 and so is its gradient.
        value = value * torch.where(mean > 0, torch.where(mean > 0, mean, 1.0) ** (weight / total), 0.0)
        images = _halved(images)
    return value.to(fused.dtype)


def _similarity(images: Tensor, constant: float) -> Tensor:
    """Q of one scale: ``(B,)`` from the fused image and its sources ``(B, 1 + K, H, W)``."""
    sources = images[:, 1:]
    count = sources.shape[1]
    pairs = list(combinations_with_replacement(range(count), 2))
    products = torch.stack([sources[:, i] * sources[:, j] for i, j in pairs], 1)
    dots = _centred_dots(sources, products, pairs)
    norms = torch.stack([root(dots[:, pairs.index((k, k))]) for k in range(count)], 1)
    contrast = norms + CONTRAST_FLOOR
    agreement = (root(_quadratic(dots, pairs)) + EPSILON) / (norms.sum(1, keepdim=True) + EPSILON)
    power = torch.tan(agreement.clamp(max=1) * (math.pi / 2)).clamp(max=10)
    weight = (contrast / SIDE) ** power + EPSILON
    # The wanted patch is gain * sum_k direction_k x_k.
    direction = weight / weight.sum(1, keepdim=True) / contrast
    gain = ratio(contrast.amax(1, keepdim=True), root(_quadratic(dots, pairs, direction)))

    moments = filter_planes(
        torch.cat((images, images[:, :1] * images, products), 1), Window(SIDE, 1.5).taps(), padding="valid"
    )
    mean, with_fused, product = torch.split(moments, [1 + count, 1 + count, len(pairs)], 1)
    covariance = with_fused - mean[:, :1] * mean
    var_fused, cov_fused = covariance[:, :1], covariance[:, 1:]
    product = product - torch.stack([mean[:, 1 + i] * mean[:, 1 + j] for i, j in pairs], 1)
    var_wanted = gain.square() * _quadratic(product, pairs, direction)
    cov_wanted = gain * (direction * cov_fused).sum(1, keepdim=True)
    stabiliser = (constant * 255) ** 2
    quality = (2 * cov_wanted + stabiliser) / (var_wanted + var_fused + stabiliser)
    return quality.mean((1, 2, 3))


def _centred_dots(sources: Tensor, products: Tensor, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Dot products of the centred patches for every pair of sources; exact for integer grey levels."""
    ones, pixels = (1.0,) * SIDE, SIDE**2
    filtered = filter_planes(torch.cat((sources, products), 1), ones)
    total, product = filtered[:, : sources.shape[1]], filtered[:, sources.shape[1] :]
    outer = torch.stack([total[:, i] * total[:, j] for i, j in pairs], 1)
    dots = (pixels * product - outer) / pixels
    squares = torch.tensor([i == j for i, j in pairs], device=dots.device)[:, None, None]
    return torch.where(squares, dots.clamp(min=0), dots)


def _quadratic(dots: Tensor, pairs: Sequence[tuple[int, int]], factor: Tensor | None = None) -> Tensor:
    """``|sum_k factor_k x_k|^2`` from the dot products of the pairs, ``(B, 1, h, w)``, never below 0."""
    terms = [
        (1 if i == j else 2) * dots[:, n] * (1 if factor is None else factor[:, i] * factor[:, j])
        for n, (i, j) in enumerate(pairs)
    ]
    return torch.stack(terms, 1).sum(1, keepdim=True).clamp(min=0)


def _halved(images: Tensor) -> Tensor:
    """2 x 2 means; a last odd row or column is repeated."""
    height, width = images.shape[-2:]
    return F.avg_pool2d(F.pad(images, (0, width % 2, 0, height % 2), mode="replicate"), 2)


@dataclass(frozen=True, kw_only=True)
class MEFSSIM(CachingMetric):
    """:func:`mef_ssim` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="MEF-SSIM",
        title="structural similarity for multi-exposure fusion",
        measures="how close every patch comes to the structure and contrast that the sources together offer",
        higher_is_better=True,
        range=(0.0, 1.0),
        unit="1",
        paper="Ma, Zeng, Wang, Perceptual quality assessment for multi-exposure image fusion, IEEE TIP 24, 2015",
        equation="prod_l mean((2 cov(W, F) + C) / (var W + var F + C))^w_l, W the wanted patch",
        needs="sources",
        min_size=SIDE << (len(SCALE_WEIGHTS) - 1),
        undefined="patches where no source varies: C / (var F + C); a negative mean of one of several scales: 0",
        differentiable=True,
        notes=(
            "agrees with the authors' mef_ms_ssim, MEFB's MEF_SSIM and what Tang's evaluation calls MS_SSIM; with "
            "scales=1 with mef_ssim, which can fall below 0",
            "no luminance term: a constant added to any image changes nothing",
        ),
    )
    scales: int = 3
    constant: float = 0.03

    @property
    def min_size(self) -> int:
        return SIDE << (self.scales - 1)

    def measure(self, inputs: MetricInputs) -> Tensor:
        return mef_ssim(inputs.fused, *inputs.sources, scales=self.scales, constant=self.constant)
