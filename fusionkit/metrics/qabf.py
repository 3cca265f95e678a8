"""Gradient-based fusion performance (Qabf): how well the sources' edges are kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import ClassVar

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import ratio, root, smaller_over_larger
from fusionkit.metrics.gradients import sobel
from fusionkit.metrics.inputs import CachingMetric, MetricInputs
from fusionkit.metrics.tiles import summed_over_tiles
from fusionkit.metrics.windows import pad

__all__ = ["Qabf", "edge_preservation"]


def edge_preservation(fused: Tensor, *sources: Tensor, undefined: float = 0.0) -> Tensor:
    """Share of the sources' edges, in strength and orientation, that the fused image keeps (Qabf).

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

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qabf import edge_preservation
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(edge_preservation(fused, a, b).item(), 4)
        0.4512
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
    relative = torch.where(g == g_fused, g_fused, smaller_over_larger(g, g_fused))
    turned = 1 - (angle[:, 1:] - angle[:, :1]).abs() / (pi / 2)
    quality = (0.9994 * 0.9879) * torch.sigmoid(15 * (relative - 0.5)) * torch.sigmoid(22 * (turned - 0.8))
    return torch.stack(((quality * g).sum((1, 2, 3)), g.sum((1, 2, 3))), 1)


@dataclass(frozen=True, kw_only=True)
class Qabf(CachingMetric):
    """:func:`edge_preservation`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="Qabf",
        aliases=("QG",),
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

    def measure(self, inputs: MetricInputs) -> Tensor:
        return edge_preservation(inputs.fused, *inputs.sources, undefined=self.undefined)
