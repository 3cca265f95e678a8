"""Entropy (EN) and cross entropy (CE) of 256-bin grey-level histograms."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, log2
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.histograms import entropy_of, histogram, log_unit
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache

__all__ = ["CE", "EN", "cross_entropy", "entropy", "sigmoid_cross_entropy"]


def entropy(fused: Tensor, *, base: float = 2.0, offset: float = 0.0, cache: Cache = no_cache) -> Tensor:
    """Shannon entropy of the grey levels (EN).

    ``EN = -sum_k p_k log p_k``, p the 256-bin histogram of ``round(fused)``, ``0 log 0 = 0``.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        base: of the logarithm; 2 for bits.
        offset: added to p inside the logarithm, as some code does against ``log 0``.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [0, log 256]; 0 for a constant image.

    Source: Shannon, 1948; for fusion Roberts, van Aardt and Ahmed, J. Appl. Remote Sens. 2, 2008.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.entropy import entropy
        >>> fused = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> round(entropy(fused).item(), 4)
        8.0
    """
    p = cache(histogram, fused)
    if offset:
        # In float32, where 1 + 1e-7 is rounded, as in the code that has an offset.
        p = p.float()
        return (-(p * (p + offset).log2()).sum(1) / log2(base)).to(fused.dtype)
    return (entropy_of(p) / log(base)).to(fused.dtype)


def cross_entropy(fused: Tensor, *sources: Tensor, cache: Cache = no_cache) -> Tensor:
    """Cross entropy (CE): the divergence of the grey-level distributions, averaged over the sources.

    ``CE = mean over S of sum_k p_S log2(p_S / p_F)`` over the levels that both images have. Levels that only one
    image has are left out, so it can be a little below 0.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in bits.

    Source: Bulanon, Burks and Alchanatis, Biosyst. Eng. 103, 2009.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.entropy import cross_entropy
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(cross_entropy(fused, a, b).item(), 4)
        -0.3301
    """
    q = cache(histogram, fused)
    total = torch.zeros_like(q[:, 0])
    for source in sources:
        p = cache(histogram, source)
        both = (p > 0) & (q > 0)
        total += torch.where(both, p * (p / torch.where(both, q, 1.0)).clamp(min=1e-300).log2(), 0.0).sum(1)
    return (total / len(sources)).to(fused.dtype)


def sigmoid_cross_entropy(fused: Tensor, *sources: Tensor) -> Tensor:
    """Binary cross entropy between the sigmoids of the grey levels: what IVIF_ZOO reports as CE.

    In float32, whose rounding near 1 decides the value.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.entropy import sigmoid_cross_entropy
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(sigmoid_cross_entropy(fused, a, b).item(), 4)
        0.0238
    """
    truth = torch.stack([s.float().sigmoid() for s in sources]).mean(0)
    epsilon = 1e-7
    p = fused.float().sigmoid().clamp(epsilon, 1.0 - epsilon)
    truth = truth.clamp(epsilon, 1.0 - epsilon)
    loss = torch.nn.functional.binary_cross_entropy(p, truth, reduction="none")
    return loss.mean((1, 2, 3)).to(fused.dtype)


@dataclass(frozen=True, kw_only=True)
class EN(CachingMetric):
    """:func:`entropy`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="EN",
        title="entropy",
        measures="how much information the grey levels of the fused image carry; noise counts too",
        higher_is_better=True,
        range=(0.0, 8.0),
        unit="bit",
        paper="Roberts, van Aardt, Ahmed, Assessment of image fusion procedures, J. Appl. Remote Sens. 2, 2008",
        equation="-sum_k p_k log2 p_k",
        needs="fused",
    )
    base: float = 2.0
    offset: float = 0.0

    @property
    def unit(self) -> str:
        return log_unit(self.base)

    def measure(self, inputs: MetricInputs) -> Tensor:
        return entropy(inputs.fused, base=self.base, offset=self.offset, cache=inputs.cache)


@dataclass(frozen=True, kw_only=True)
class CE(CachingMetric):
    """:func:`cross_entropy`, or :func:`sigmoid_cross_entropy` with ``of="sigmoids"``."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="CE",
        title="cross entropy",
        measures="how far the grey-level distribution of the fused image is from those of the sources",
        higher_is_better=False,
        range=(-1.0, inf),
        unit="bit",
        paper="Bulanon, Burks, Alchanatis, Image fusion of visible and thermal images, Biosyst. Eng. 103, 2009",
        equation="mean over S of sum_k p_S log2(p_S / p_F), over levels that both have",
        needs="sources",
        notes=("levels that one image lacks are left out, so that it can fall a little below 0",),
    )
    of: Literal["histograms", "sigmoids"] = "histograms"

    def measure(self, inputs: MetricInputs) -> Tensor:
        if self.of == "sigmoids":
            return sigmoid_cross_entropy(inputs.fused, *inputs.sources)
        return cross_entropy(inputs.fused, *inputs.sources, cache=inputs.cache)
