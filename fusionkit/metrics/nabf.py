"""Edge information that fusion made up (Nabf) or lost (Labf)."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import ratio, root, smaller_over_larger
from fusionkit.metrics.gradients import sobel
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache

__all__ = ["Labf", "Nabf", "fusion_artefacts", "fusion_loss"]


class _Preservation(NamedTuple):
    """Petrovic's edge preservation of each source ``(B, S, H, W)``, its weights, and where artefacts are."""

    quality: Tensor
    weight: Tensor
    artefact: Tensor


def fusion_artefacts(
    fused: Tensor, *sources: Tensor, least_weight: float = 0.001, undefined: float = 0.0, cache: Cache = no_cache
) -> Tensor:
    """Share of edge information that fusion made up (Nabf).

    ``Nabf = sum over artefacts of sum_S (1 - Q_SF) w_S / sum over all pixels of sum_S w_S``. An artefact is a pixel
    whose gradient exceeds that of every source. ``Q_SF = sqrt(Qg Qa)`` with
    ``Qg = 0.9999 / (1 + exp(-19 (G - 0.5)))``, ``Qa = 0.9995 / (1 + exp(-22 (D - 0.5)))``,
    ``D = ||a_S - a_F| - pi / 2| 2 / pi``; ``w = g^1.5`` where ``g >= 2``, else ``least_weight``;
    g and a from Sobel / 8 on mirrored borders.

    Args:
        fused: ``(B, 1, H, W)``, 0..255 (not 0..1: the threshold is in grey levels).
        sources: one or more of the same shape.
        least_weight: the weight of a flat pixel.
        undefined: the value where all weights are 0, which takes a ``least_weight`` of 0.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [0, 1].

    Source: Shreyamsha Kumar, Signal Image Video Process. 7, 2013, after Petrovic and Xydeas, 2005.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.nabf import fusion_artefacts
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(fusion_artefacts(fused, a, b).item(), 4)
        0.0
    """
    p = cache(_preservation, fused, *sources, least_weight=least_weight)
    lost = torch.where(p.artefact, (1 - p.quality) * p.weight, 0.0)
    return ratio(lost.sum((1, 2, 3)), p.weight.sum((1, 2, 3)), undefined)


def fusion_loss(
    fused: Tensor, *sources: Tensor, least_weight: float = 0.001, undefined: float = 0.0, cache: Cache = no_cache
) -> Tensor:
    """Share of edge information that fusion lost (Labf): :func:`fusion_artefacts` over all other pixels.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.nabf import fusion_loss
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(fusion_loss(fused, a, b).item(), 4)
        0.1681
    """
    p = cache(_preservation, fused, *sources, least_weight=least_weight)
    lost = torch.where(p.artefact, 0.0, (1 - p.quality) * p.weight)
    return ratio(lost.sum((1, 2, 3)), p.weight.sum((1, 2, 3)), undefined)


def _preservation(fused: Tensor, *sources: Tensor, least_weight: float) -> _Preservation:
    sx, sy = sobel(torch.cat((fused, *sources), 1) / 8, padding="reflect")
    strength = root(sx.square() + sy.square())
    # sx over sy: the angle from the vertical. It is pi/2 or -pi/2 where sy = 0, and 0 on flat ground.
    level = sy == 0
    angle = torch.where(level, sx.sign() * (pi / 2), (sx / torch.where(level, 1.0, sy)).atan())
    g, g_fused = strength[:, 1:], strength[:, :1]
    relative = smaller_over_larger(g, g_fused)
    turned = ((angle[:, 1:] - angle[:, :1]).abs() - pi / 2).abs() * (2 / pi)
    quality = root(0.9999 * torch.sigmoid(19 * (relative - 0.5)) * 0.9995 * torch.sigmoid(22 * (turned - 0.5)))
    # g sqrt(g): a general power is ten times slower.
    weight = torch.where(g >= 2, g * root(g), least_weight)
    return _Preservation(quality, weight, (g_fused > g).all(1, keepdim=True))


@dataclass(frozen=True, kw_only=True)
class Nabf(CachingMetric):
    """:func:`fusion_artefacts`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="Nabf",
        title="fusion artefacts",
        measures="how much edge information the fused image shows that no source has",
        higher_is_better=False,
        range=(0.0, 1.0),
        unit="1",
        paper="Shreyamsha Kumar, Multifocus and multispectral image fusion based on pixel significance, SIViP 7, 2013",
        equation="sum_{g_F > all g_S} sum_S (1 - Q_SF) w_S / sum w_S",
        needs="sources",
        min_size=2,
    )
    least_weight: float = 0.001
    undefined: float = 0.0

    def measure(self, inputs: MetricInputs) -> Tensor:
        return fusion_artefacts(
            inputs.fused,
            *inputs.sources,
            least_weight=self.least_weight,
            undefined=self.undefined,
            cache=inputs.cache,
        )


@dataclass(frozen=True, kw_only=True)
class Labf(CachingMetric):
    """:func:`fusion_loss`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="Labf",
        title="fusion loss",
        measures="how much edge information of the sources the fused image lacks",
        higher_is_better=False,
        range=(0.0, 1.0),
        unit="1",
        paper="Petrovic, Xydeas, Objective image fusion performance characterisation, ICCV 2005",
        equation="sum_{not g_F > all g_S} sum_S (1 - Q_SF) w_S / sum w_S",
        needs="sources",
        min_size=2,
    )
    least_weight: float = 0.001
    undefined: float = 0.0

    def measure(self, inputs: MetricInputs) -> Tensor:
        return fusion_loss(
            inputs.fused,
            *inputs.sources,
            least_weight=self.least_weight,
            undefined=self.undefined,
            cache=inputs.cache,
        )
