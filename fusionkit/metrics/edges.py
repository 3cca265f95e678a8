"""How well the edges of the sources survive: Qabf, and the artefact and loss shares Nabf and Labf."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import ratio, root
from fusionkit.metrics.gradients import sobel
from fusionkit.metrics.scene import Once, Scene, SceneMetric, direct
from fusionkit.metrics.tiles import summed_over_tiles
from fusionkit.metrics.windows import pad

__all__ = ["Labf", "Nabf", "Qabf", "edge_preservation", "fusion_artefacts", "fusion_loss"]


def edge_preservation(fused: Tensor, *sources: Tensor, undefined: float = 0.0) -> Tensor:
    """Share of the sources' edges, in strength and orientation, that the fused image keeps.

    ``Qabf = sum (Q_AF g_A + Q_BF g_B) / sum (g_A + g_B)``, ``Q_SF = Qg(G) Qa(D)``,
    ``Qg(G) = 0.9994 / (1 + exp(-15 (G - 0.5)))``, ``Qa(D) = 0.9879 / (1 + exp(-22 (D - 0.8)))``,
    G the quotient of the smaller by the larger of g_S and g_F, ``D = 1 - |a_S - a_F| / (pi / 2)``,
    g and a the length and angle ``atan(sy / sx)`` of the Sobel gradient (y upwards, zeros beyond the border).

    As in every public implementation ``G = g_F`` where the two are equal, and D is not wrapped.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        undefined: the value where no source has any edge, which takes all-zero sources: the border counts.

    Returns:
        ``(B,)`` in [0, 0.98].

    Source: Xydeas and Petrovic, Electron. Lett. 36, 2000.
    """
    images = pad(torch.cat((fused, *sources), 1), 1, "zeros")
    kept, total = summed_over_tiles(_edges_kept, images, halo=2).unbind(1)
    return ratio(kept, total, undefined)


def _edges_kept(images: Tensor) -> Tensor:
    """``sum Q_SF g_S`` and ``sum g_S`` over sources and pixels ``(B, 2)``; the outermost pixels are borders."""
    sx, sy = sobel(images, padding="valid")
    strength = root(sx.square() + sy.square())
    upright = sx == 0
    # y points up: the sign decides how far from others the angle pi/2 of a horizontal edge is.
    angle = torch.where(upright, pi / 2, -(sy / torch.where(upright, 1.0, sx)).atan())
    g, g_fused = strength[:, 1:], strength[:, :1]
    relative = torch.where(g == g_fused, g_fused, _quotient(g, g_fused))
    turned = 1 - (angle[:, 1:] - angle[:, :1]).abs() / (pi / 2)
    quality = (0.9994 * 0.9879) * torch.sigmoid(15 * (relative - 0.5)) * torch.sigmoid(22 * (turned - 0.8))
    return torch.stack(((quality * g).sum((1, 2, 3)), g.sum((1, 2, 3))), 1)


class _Preservation(NamedTuple):
    """Petrovic's edge preservation of each source ``(B, S, H, W)``, its weights, and where artefacts are."""

    quality: Tensor
    weight: Tensor
    artefact: Tensor


def fusion_artefacts(
    fused: Tensor, *sources: Tensor, least_weight: float = 0.001, undefined: float = 0.0, once: Once = direct
) -> Tensor:
    """Share of edge information that fusion made up.

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
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in [0, 1].

    Source: Shreyamsha Kumar, Signal Image Video Process. 7, 2013, after Petrovic and Xydeas, 2005.
    """
    p = once(_preservation, fused, *sources, least_weight=least_weight)
    lost = torch.where(p.artefact, (1 - p.quality) * p.weight, 0.0)
    return ratio(lost.sum((1, 2, 3)), p.weight.sum((1, 2, 3)), undefined)


def fusion_loss(
    fused: Tensor, *sources: Tensor, least_weight: float = 0.001, undefined: float = 0.0, once: Once = direct
) -> Tensor:
    """Share of edge information that fusion lost: :func:`fusion_artefacts` over all pixels that are no artefacts."""
    p = once(_preservation, fused, *sources, least_weight=least_weight)
    lost = torch.where(p.artefact, 0.0, (1 - p.quality) * p.weight)
    return ratio(lost.sum((1, 2, 3)), p.weight.sum((1, 2, 3)), undefined)


def _preservation(fused: Tensor, *sources: Tensor, least_weight: float) -> _Preservation:
    sx, sy = sobel(torch.cat((fused, *sources), 1) / 8, padding="reflect")
    strength = root(sx.square() + sy.square())
    # sx over sy: the angle from the vertical. It is pi/2 or -pi/2 where sy = 0, and 0 on flat ground.
    level = sy == 0
    angle = torch.where(level, sx.sign() * (pi / 2), (sx / torch.where(level, 1.0, sy)).atan())
    g, g_fused = strength[:, 1:], strength[:, :1]
    relative = _quotient(g, g_fused)
    turned = ((angle[:, 1:] - angle[:, :1]).abs() - pi / 2).abs() * (2 / pi)
    quality = root(0.9999 * torch.sigmoid(19 * (relative - 0.5)) * 0.9995 * torch.sigmoid(22 * (turned - 0.5)))
    # g sqrt(g): a general power is ten times slower.
    weight = torch.where(g >= 2, g * root(g), least_weight)
    return _Preservation(quality, weight, (g_fused > g).all(1, keepdim=True))


def _quotient(first: Tensor, second: Tensor) -> Tensor:
    """The smaller over the larger of two lengths; 0 where both are 0."""
    return ratio(torch.minimum(first, second), torch.maximum(first, second))


@dataclass(frozen=True, kw_only=True)
class Qabf(SceneMetric):
    """:func:`edge_preservation`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="Qabf",
        title="gradient-based fusion performance",
        measures="how much of the sources' edges, in strength and orientation, the fused image keeps",
        higher_is_better=True,
        range=(0.0, 0.9873),
        unit="1",
        paper="Xydeas, Petrovic, Objective image fusion performance measure, Electron. Lett. 36, 2000",
        equation="sum (Q_AF g_A + Q_BF g_B) / sum (g_A + g_B)",
        needs="sources",
        undefined="all sources 0 everywhere: 0",
        differentiable=True,
        notes=("zeros beyond the border make an edge of it, as in every public code: constant images have edges too",),
    )
    undefined: float = 0.0

    def measure(self, scene: Scene) -> Tensor:
        return edge_preservation(scene.fused, *scene.sources, undefined=self.undefined)


@dataclass(frozen=True, kw_only=True)
class Nabf(SceneMetric):
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

    def measure(self, scene: Scene) -> Tensor:
        return fusion_artefacts(
            scene.fused,
            *scene.sources,
            least_weight=self.least_weight,
            undefined=self.undefined,
            once=scene.once,
        )


@dataclass(frozen=True, kw_only=True)
class Labf(SceneMetric):
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

    def measure(self, scene: Scene) -> Tensor:
        return fusion_loss(
            scene.fused,
            *scene.sources,
            least_weight=self.least_weight,
            undefined=self.undefined,
            once=scene.once,
        )
