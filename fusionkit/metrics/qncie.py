"""Nonlinear correlation information entropy (QNCIE)."""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log2
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import centred, correlation
from fusionkit.metrics.histograms import (
    joint_histogram,
    mutual_information_of,
)
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache

__all__ = ["QNCIE", "nonlinear_correlation_information_entropy"]


def nonlinear_correlation_information_entropy(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    by: Literal["information", "pearson"] = "information",
    undefined: float = 0.0,
    cache: Cache = no_cache,
) -> Tensor:
    """Nonlinear correlation information entropy (QNCIE): joint dependence of both sources and the fused image.

    ``Q = 1 + sum_i (l_i / 3) log2(l_i / 3) / 8``, l the eigenvalues of the 3 x 3 matrix of nonlinear correlations
    ``NCC(X, Y) = I(X; Y) / 8`` (I in bits, 1 on the diagonal).

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        first: A, the same shape.
        second: B, the same shape.
        by: ``"pearson"`` puts Pearson's correlation in NCC's place, as IVIF_ZOO does.
        undefined: Pearson's correlation where an image is constant (the mutual information is 0 there anyway).
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [1 - log2(3) / 8, 1].

    Source: Wang, Shen and Jin, in Image Fusion: Algorithms and Applications, 2008.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qncie import nonlinear_correlation_information_entropy
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(nonlinear_correlation_information_entropy(fused, a, b).item(), 4)
        0.9161
    """

    def dependence(x: Tensor, y: Tensor) -> Tensor:
        if by == "information":
            return cache(mutual_information_of, cache(joint_histogram, x, y)) / log(256)
        if by == "pearson":
            return correlation(cache(centred, x), cache(centred, y), undefined)[:, 0].double()
        raise UsageError(f"by {by!r} is unknown: {did_you_mean(by, ('information', 'pearson'))}")

    ab, af, bf = dependence(first, second), dependence(first, fused), dependence(second, fused)
    one = torch.ones_like(ab)
    matrix = torch.stack((one, ab, af, ab, one, bf, af, bf, one), 1).view(-1, 3, 3)
    unknown = matrix.isnan().flatten(1).any(1)
    share = torch.linalg.eigvalsh(torch.where(unknown[:, None, None], 0.0, matrix)) / 3
    # Two equal images make an eigenvalue 0 that rounding moves to either side: 0 log 0 = 0.
    result = 1 - torch.special.entr(share.clamp(min=0)).sum(1) / log(256)
    return torch.where(unknown, torch.nan, result).to(fused.dtype)


@dataclass(frozen=True, kw_only=True)
class QNCIE(CachingMetric):
    """:func:`nonlinear_correlation_information_entropy`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QNCIE",
        aliases=("NCIE",),
        title="nonlinear correlation information entropy",
        measures="joint dependence of both sources and the fused image, through their mutual information",
        higher_is_better=True,
        range=(1 - log2(3) / 8, 1.0),
        unit="1",
        paper="Wang, Shen, Jin, Performance evaluation of image fusion techniques, in Image Fusion, 2008",
        equation="1 + sum_i (l_i/3) log2(l_i/3) / 8, l the eigenvalues of (I(X;Y)/8)",
        needs="sources",
        sources="two",
    )
    by: Literal["information", "pearson"] = "information"
    undefined: float = 0.0

    def measure(self, inputs: MetricInputs) -> Tensor:
        return nonlinear_correlation_information_entropy(
            inputs.fused, *inputs.sources, by=self.by, undefined=self.undefined, cache=inputs.cache
        )
