"""Pearson's correlation with the sources (CC, CC-a, CC-b) and the sum of the correlations of differences (SCD)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import centre, centred, correlation, deviation_length, dot, length, ratio, snapped
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache

__all__ = [
    "CC",
    "SCD",
    "FirstCorrelation",
    "SecondCorrelation",
    "correlation_coefficients",
    "sum_of_correlations_of_differences",
]


def correlation_coefficients(
    fused: Tensor, *sources: Tensor, undefined: float = 0.0, cache: Cache = no_cache
) -> Tensor:
    """Pearson's correlation of the fused image with each source.

    Args:
        fused: ``(B, 1, H, W)``.
        sources: one or more of the same shape.
        undefined: the value where either image is constant.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B, S)`` in [-1, 1].

    Example:
        >>> import torch
        >>> from fusionkit.metrics.correlation import correlation_coefficients
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> [round(x, 4) for x in correlation_coefficients(fused, a, b).flatten().tolist()]
        [0.7498, 0.7498]
    """
    target = cache(centred, fused)
    return torch.cat([correlation(cache(centred, s), target, undefined, cache=cache) for s in sources], 1)


def sum_of_correlations_of_differences(
    fused: Tensor, first: Tensor, second: Tensor, *, undefined: float = 0.0, cache: Cache = no_cache
) -> Tensor:
    """Sum of the correlations of differences (SCD): each source with what the fused image has beyond the other source.

    ``SCD = r(F - B, A) + r(F - A, B)``, r Pearson's correlation.

    Args:
        fused: ``(B, 1, H, W)``.
        first: A, the same shape.
        second: B, the same shape.
        undefined: the value of a term where a source or a difference is constant.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [-2, 2].

    Source: Aslantas and Bendes, AEU Int. J. Electron. Commun. 69, 2015. Subtraction in uint8, which saturates,
    gives other values.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.correlation import sum_of_correlations_of_differences
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(sum_of_correlations_of_differences(fused, a, b).item(), 4)
        1.3232
    """
    f_mean, *means = (cache(centre, image) for image in (fused, first, second))
    sources = (first, second)
    total = torch.zeros_like(fused[:, :, 0, 0])
    for i in (0, 1):
        rest = fused - sources[1 - i]
        rest = rest.sub_(snapped(f_mean - means[1 - i], rest[..., :1, :1]))
        if rest.dtype == torch.float64:
            # The mean of the rest is 0 to 16 digits, so that of the source does not count.
            both, own = dot(rest, sources[i]), cache(deviation_length, sources[i], means[i])
        else:
            source = sources[i] - means[i]
            both = dot(rest, source)
            own = length(source, spent=not both.requires_grad)
        # Lengths before the product: the product of two sums of squares can leave the range of float32.
        lengths = length(rest, spent=not both.requires_grad) * own
        total = total + ratio(both, lengths, undefined)
    return total[:, 0]


@dataclass(frozen=True, kw_only=True)
class CC(CachingMetric):
    """Mean over the sources of :func:`correlation_coefficients`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="CC",
        title="correlation coefficient",
        measures="linear correlation of the fused image with the sources",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Deshmukh, Bhosale, Image fusion and image quality assessment of fused images, IJIP 4, 2010",
        equation="mean over S of r(S, F)",
        needs="sources",
        undefined="a constant fused image or source: 0 for that source",
        differentiable=True,
    )
    undefined: float = 0.0

    def measure(self, inputs: MetricInputs) -> Tensor:
        return correlation_coefficients(
            inputs.fused, *inputs.sources, undefined=self.undefined, cache=inputs.cache
        ).mean(1)


@dataclass(frozen=True, kw_only=True)
class FirstCorrelation(CachingMetric):
    """:func:`correlation_coefficients` with only the first source."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="CC-a",
        title="correlation with the first source",
        measures="linear correlation with the first source; beside CC-b it shows a fused image that copies one source",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Pearson, Proc. R. Soc. Lond. 58, 1895",
        equation="r(A, F)",
        needs="sources",
        symmetric=False,
        undefined="a constant fused image or source: 0",
        differentiable=True,
        notes=("read it with CC-b: near 1 for one and low for the other means a copy",),
    )

    def measure(self, inputs: MetricInputs) -> Tensor:
        return correlation_coefficients(inputs.fused, inputs.sources[0], cache=inputs.cache)[:, 0]


@dataclass(frozen=True, kw_only=True)
class SecondCorrelation(CachingMetric):
    """:func:`correlation_coefficients` with only the second source."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="CC-b",
        title="correlation with the second source",
        measures="linear correlation with the second source; beside CC-a it shows a fused image that copies one source",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Pearson, Proc. R. Soc. Lond. 58, 1895",
        equation="r(B, F)",
        needs="sources",
        sources="two",
        symmetric=False,
        undefined="a constant fused image or source: 0",
        differentiable=True,
        notes=("read it with CC-a: near 1 for one and low for the other means a copy",),
    )

    def measure(self, inputs: MetricInputs) -> Tensor:
        return correlation_coefficients(inputs.fused, inputs.sources[1], cache=inputs.cache)[:, 0]


@dataclass(frozen=True, kw_only=True)
class SCD(CachingMetric):
    """:func:`sum_of_correlations_of_differences`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="SCD",
        title="sum of the correlations of differences",
        measures="how well each source explains what the fused image holds beyond the other source",
        higher_is_better=True,
        range=(-2.0, 2.0),
        unit="1",
        paper="Aslantas, Bendes, A new image quality metric for image fusion, AEU 69, 2015",
        equation="r(F - B, A) + r(F - A, B)",
        needs="sources",
        sources="two",
        undefined="a constant source or difference (a copy of a source): 0 for that term",
        differentiable=True,
    )
    undefined: float = 0.0

    def measure(self, inputs: MetricInputs) -> Tensor:
        return sum_of_correlations_of_differences(
            inputs.fused, *inputs.sources, undefined=self.undefined, cache=inputs.cache
        )
