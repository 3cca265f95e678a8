"""Zhao's quality by phase congruency (QP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.phase_congruency import EPSILON, phase_congruency
from fusionkit.metrics.windows import Window, local_moments

__all__ = ["QP", "zhao"]

WINDOW = Window(11, 1.5)


def zhao(
    fused: Tensor, a: Tensor, b: Tensor, *, threshold: float = 0.1, finite: bool = True, cache: Cache = no_cache
) -> Tensor:
    """Correlation of the sources' and the fused image's phase congruency (Zhao's QP).

    For each of the maps of :func:`phase_congruency` (p, M, m) the fused map is correlated locally, 11 x 11 Gaussian
    of sigma 1.5, zeros beyond the border, ``(cov + 1e-4) / (sigma sigma_F + 1e-4)``, with the map of A, of B and of
    whichever has the greater p at the pixel. The source maps are cut to where p > 0.1. Per pixel the best of the three
    counts; the mean is over the pixels where the greater p > 0.1. ``QP`` is the product of the three means.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        threshold: minimum congruency of a feature pixel.
        finite: a constant fused image has the value 0, and where no source has a feature the value is 1 if the fused
            image has none either, else 0. Otherwise such values are what the formula gives: NaN for black images, near
            1 for a constant fused image.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [-1, 1]; computed in float64 whatever the dtype.

    Source: Zhao, Laganiere and Liu, Int. J. Innov. Comput. Inf. Control 3, 2007; Z. Liu's toolbox (``metricZhao``).

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qp import zhao
        >>> a = torch.arange(1024.0).double().view(1, 1, 32, 32) % 251
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(zhao(fused, a, b).item(), 4)
        0.5596
    """
    of_fused, of_a, of_b = (cache(phase_congruency, x) for x in (fused, a, b))
    a_leads = of_a.total > of_b.total
    masks = [x > threshold for x in (of_a.total, of_b.total, torch.maximum(of_a.total, of_b.total))]
    count = masks[2].sum((1, 2, 3))
    value = torch.ones_like(of_fused.total[:, 0, 0, 0])
    for map_f, map_a, map_b in zip(of_fused, of_a, of_b, strict=True):
        maps = (map_a, map_b, torch.where(a_leads, map_a, map_b))
        best = _correlation(map_f, maps, masks).amax(1)
        value = value * (best.sum((1, 2)) / count)
    if finite:
        featureless = (fused == fused[..., :1, :1]).all(3).all(2)[:, 0]
        nothing = ~(of_fused.total > threshold).flatten(1).any(1)
        value = torch.where(count == 0, nothing.to(value.dtype), torch.where(featureless, 0.0, value))
    else:
        black = torch.stack([(x == 0).flatten(1).all(1) for x in (fused, a, b)]).any(0)
        value = torch.where(black, torch.nan, value)
    return value.to(fused.dtype)


def _correlation(fused: Tensor, maps: tuple[Tensor, ...], masks: list[Tensor]) -> Tensor:
    """Local correlation of the fused map with each masked map, 0 outside the mask: ``(B, 3, H, W)``."""
    mask = torch.cat(masks, 1)
    source = torch.where(mask, torch.cat(maps, 1), 0.0)
    m = local_moments(torch.cat((fused, source), 1), WINDOW.taps(), padding="zeros")
    return torch.where(mask, (m.cov + EPSILON) / ((m.var * m.var_fused).sqrt() + EPSILON), 0.0)


@dataclass(frozen=True, kw_only=True)
class QP(CachingMetric):
    """:func:`zhao` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QP",
        title="Zhao's phase congruency quality",
        measures="how well the edges and corners of the sources, found by phase congruency, are kept",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Zhao, Laganiere, Liu, Performance assessment of combinative pixel-level image fusion, IJICIC 3, 2007",
        equation="P_p P_M P_m, P = mean over features of max(corr(F, A), corr(F, B), corr(F, max))",
        needs="sources",
        sources="two",
        min_size=11,
        undefined="a constant fused image: 0; sources without features: 1 if the fused image has none either, else 0",
        notes=(
            "agrees with Z. Liu's metricZhao and MEFB's Qp; there a constant fused image scores 0.997, here 0",
            "equal images score below 1: the fused map is not cut to the features, the sources' are",
        ),
    )
    threshold: float = 0.1
    finite: bool = True

    def measure(self, inputs: MetricInputs) -> Tensor:
        return zhao(inputs.fused, *inputs.sources, threshold=self.threshold, finite=self.finite, cache=inputs.cache)
