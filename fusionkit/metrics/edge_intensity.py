"""Edge intensity (EI), the mean length of the Sobel gradient. Noise raises it too."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar

from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import root
from fusionkit.metrics.gradients import sobel
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.windows import Padding

__all__ = ["EI", "edge_intensity"]


def edge_intensity(fused: Tensor, *, padding: Padding = "replicate", cache: Cache = no_cache) -> Tensor:
    """Edge intensity (EI): the mean length of the Sobel gradient.

    ``EI = mean sqrt(sx^2 + sy^2)``, s the unnormalised 3 x 3 Sobel responses.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        padding: beyond the border; zeros make an edge of the border itself.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in units of 8 grey levels per pixel.

    Source: Rajalingam and Priya, Int. J. Eng. Sci. Invent., 2018.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.edge_intensity import edge_intensity
        >>> fused = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> round(edge_intensity(fused).item(), 4)
        120.2545
    """
    sx, sy = cache(sobel, fused, padding=padding)
    return root(sx.square() + sy.square()).mean((1, 2, 3))


@dataclass(frozen=True, kw_only=True)
class EI(CachingMetric):
    """:func:`edge_intensity`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="EI",
        title="edge intensity",
        measures="the mean Sobel gradient of the fused image; noise raises it too",
        higher_is_better=True,
        range=(0.0, inf),
        unit="grey levels / 8 per pixel",
        paper="Rajalingam, Priya, Hybrid multimodality medical image fusion technique, IJESI, 2018",
        equation="mean sqrt(sx^2 + sy^2)",
        needs="fused",
        differentiable=True,
    )
    padding: Padding = "replicate"

    def measure(self, inputs: MetricInputs) -> Tensor:
        return edge_intensity(inputs.fused, padding=self.padding, cache=inputs.cache)
