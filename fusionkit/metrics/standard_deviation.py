"""Standard deviation (SD): the contrast of the fused image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import centre, deviation_length
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache

__all__ = ["SD", "standard_deviation"]


def standard_deviation(fused: Tensor, *, cache: Cache = no_cache) -> Tensor:
    """Standard deviation of the fused image (SD): its contrast.

    ``SD = sqrt(mean((F - mean F)^2))``, the mean over all ``H W`` pixels.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in grey levels, 0..127.5.

    Source: Rao, Meas. Sci. Technol. 8, 1997.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.standard_deviation import standard_deviation
        >>> fused = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> round(standard_deviation(fused).item(), 4)
        73.9003
    """
    return cache(deviation_length, fused, cache(centre, fused))[:, 0] / fused[0].numel() ** 0.5


@dataclass(frozen=True, kw_only=True)
class SD(CachingMetric):
    """:func:`standard_deviation`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="SD",
        aliases=("STD",),
        title="standard deviation",
        measures="the contrast of the fused image; noise and over-exposure raise it too",
        higher_is_better=True,
        range=(0.0, 127.5),
        unit="grey levels",
        paper="Rao, In-fibre Bragg grating sensors, Meas. Sci. Technol. 8, 1997",
        equation="sqrt(mean((F - mean F)^2))",
        needs="fused",
        differentiable=True,
    )

    def measure(self, inputs: MetricInputs) -> Tensor:
        return standard_deviation(inputs.fused, cache=inputs.cache)
