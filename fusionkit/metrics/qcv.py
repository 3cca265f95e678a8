"""Chen and Varshney's quality (QCV): visible difference to the sources where they are salient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.contrast_sensitivity import filter_by_response, frequency_response, stretch_or_constant
from fusionkit.metrics.gradients import sobel
from fusionkit.metrics.inputs import CachingMetric, MetricInputs

__all__ = ["QCV", "chen_varshney"]


def chen_varshney(
    fused: Tensor, a: Tensor, b: Tensor, *, block: int = 16, saliency_power: float = 5.0, undefined: float = 0.0
) -> Tensor:
    """Visible squared difference to the sources, weighted by their saliency (Chen and Varshney's QCV); 0 is best.

    Every image is stretched to 0..255. A block of source X weighs ``l_X = sum |Sobel X|^5``; ``D_X`` is the block mean
    of the squared difference ``X - F`` after the Mannos-Sakrison contrast sensitivity
    ``2.6 (0.0192 + 0.144 r) exp(-(0.144 r)^1.1)``. ``QCV = sum(l_A D_A + l_B D_B) / sum(l_A + l_B)`` over all blocks.
    Where neither source has an edge every block weighs the same. Computed in float64 whatever the dtype.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        block: side of a block in pixels; the image is extended with zeros to whole blocks.
        saliency_power: the exponent of the edge strength, 1 to 15 in the paper.
        undefined: what a constant image is stretched to; nan, as in the published code, makes the value nan, unless
            the image is black.

    Returns:
        ``(B,)`` in [0, inf).

    Source: Chen and Varshney, Inf. Fusion 8, 2007, with the constants of Z. Liu's toolbox (``metricChen``).

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qcv import chen_varshney
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(chen_varshney(fused, a, b).item(), 4)
        143.6836
    """
    images = torch.cat([stretch_or_constant(x.double(), undefined) for x in (fused, a, b)], 1)
    sources = images[:, 1:]
    gx, gy = sobel(sources, padding="zeros")
    saliency = _block_means((gx.square() + gy.square()).pow(saliency_power / 2), block)
    visible = filter_by_response(sources - images[:, :1], frequency_response(fused, _mannos_sakrison, 8.0))
    error = _block_means(visible.square(), block)
    total = saliency.sum((1, 2, 3))
    value = torch.where(total == 0, error.mean((1, 2, 3)), ratio((saliency * error).sum((1, 2, 3)), total))
    return value.to(fused.dtype)


def _mannos_sakrison(r: Tensor) -> Tensor:
    return 2.6 * (0.0192 + 0.144 * r) * torch.exp(-((0.144 * r) ** 1.1))


def _block_means(planes: Tensor, block: int) -> Tensor:
    """Means of whole blocks, of planes extended with zeros on the right and below."""
    height, width = planes.shape[-2:]
    return F.avg_pool2d(F.pad(planes, (0, -width % block, 0, -height % block)), block)


@dataclass(frozen=True, kw_only=True)
class QCV(CachingMetric):
    """:func:`chen_varshney` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QCV",
        title="Chen-Varshney quality",
        measures="the visible squared difference to the sources, weighted by how salient each source region is",
        higher_is_better=False,
        range=(0.0, float("inf")),
        unit="squared grey levels",
        paper="Chen, Varshney, A human perception inspired quality metric for image fusion, Inf. Fusion 8, 2007",
        equation="sum(l_A D_A + l_B D_B) / sum(l_A + l_B) over blocks, l_X = sum |Sobel X|^5, D_X = mean CSF(X - F)^2",
        needs="sources",
        sources="two",
        undefined="a constant image: stretched to 0; no edges in the sources: all blocks weigh the same",
        notes=("agrees with Z. Liu's metricChen and MEFB's Qcv; images are stretched to their full range first",),
    )
    block: int = 16
    saliency_power: float = 5.0
    undefined: float = 0.0

    def measure(self, inputs: MetricInputs) -> Tensor:
        return chen_varshney(
            inputs.fused,
            *inputs.sources,
            block=self.block,
            saliency_power=self.saliency_power,
            undefined=self.undefined,
        )
