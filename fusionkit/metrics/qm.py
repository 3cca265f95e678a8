"""Wang and Liu's multi-scale quality (QM): wavelet detail that is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.inputs import CachingMetric, MetricInputs

__all__ = ["QM", "wang_liu"]

SCALE_POWERS = (2 / 3, 1 / 3)
"""Exponents of the scales, finest first."""


def wang_liu(fused: Tensor, a: Tensor, b: Tensor, *, normalised: bool = False) -> Tensor:
    """Share of the sources' wavelet detail that the fused image keeps, over two scales (Wang and Liu's QM).

    On each scale of an orthonormal Haar transform with the detail bands d = horizontal, vertical, diagonal,
    ``E_X = sum_d exp(-|d_X - d_F|)`` and ``w_X = sum_d d_X^2``; ``Q = sum(E_A w_A + E_B w_B) / sum(w_A + w_B)``
    over all positions, and ``QM = Q_1^(2/3) Q_2^(1/3)``, finest scale first. Where the sources have no detail every
    position weighs the same. An odd last row or column is left out. Computed in float64 whatever the dtype.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        normalised: take the mean of the three exponentials instead of their sum, so that 1 is best and not 3.

    Returns:
        ``(B,)`` in [0, 3], or in [0, 1] if normalised; the greatest value where all images are equal.

    Source: Wang and Liu, ICSP 2008; the sum of the exponentials is that of Z. Liu's toolbox (``metricPWW``).

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qm import wang_liu
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(wang_liu(fused, a, b).item(), 4)
        1.0007
    """
    images = torch.cat((fused, a, b), 1).double()
    value = images.new_ones(images.shape[0])
    for power in SCALE_POWERS:
        details, images = _haar(images)
        source = details[:, :, 1:]
        kept = torch.exp(-(source - details[:, :, :1]).abs()).sum(1)
        weight = source.square().sum(1)
        total = weight.sum((1, 2, 3))
        quality = ratio((kept * weight).sum((1, 2, 3)), total)
        value = value * torch.where(total == 0, kept.mean((1, 2, 3)), quality) ** power
    return (value / 3 if normalised else value).to(fused.dtype)


def _haar(planes: Tensor) -> tuple[Tensor, Tensor]:
    """One level: the detail bands ``(B, 3, K, h, w)`` and the approximation ``(B, K, h, w)``."""
    height, width = planes.shape[-2] // 2 * 2, planes.shape[-1] // 2 * 2
    left, right = planes[..., :height, 0:width:2], planes[..., :height, 1:width:2]
    low, high = left + right, left - right
    top, bottom = low[..., 0::2, :], low[..., 1::2, :]
    high_top, high_bottom = high[..., 0::2, :], high[..., 1::2, :]
    details = torch.stack((top - bottom, high_top + high_bottom, high_top - high_bottom), 1)
    return details / 2, (top + bottom) / 2


@dataclass(frozen=True, kw_only=True)
class QM(CachingMetric):
    """:func:`wang_liu` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QM",
        title="Wang's multiscale quality",
        measures="how much of the sources' wavelet detail the fused image keeps",
        higher_is_better=True,
        range=(0.0, 3.0),
        unit="1",
        paper="Wang, Liu, A novel image fusion metric based on multi-scale analysis, ICSP 2008",
        equation="prod_s (sum(E_A w_A + E_B w_B) / sum(w_A + w_B))^p_s, E_X = sum_d exp(-|d_X - d_F|), w_X = sum d_X^2",
        needs="sources",
        sources="two",
        min_size=4,
        undefined="no detail in the sources: all positions weigh the same",
        notes=(
            "agrees with Z. Liu's metricPWW; three exponentials are summed, so 3 is best (1 with normalised=True)",
            "a difference of a few grey levels in a band already counts as lost",
        ),
    )
    normalised: bool = False

    def measure(self, inputs: MetricInputs) -> Tensor:
        return wang_liu(inputs.fused, *inputs.sources, normalised=self.normalised)
