"""Mean squared error (MSE) and its root (RMSE) against the sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import length, root
from fusionkit.metrics.inputs import CachingMetric, MetricInputs

__all__ = ["MSE", "RMSE", "mean_squared_errors"]

PEAK = 255.0


def mean_squared_errors(fused: Tensor, *sources: Tensor) -> Tensor:
    """``mean((F - S)^2)`` for each source: ``(B, S)`` in squared grey levels.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.mse import mean_squared_errors
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> [round(x, 4) for x in mean_squared_errors(fused, a, b).flatten().tolist()]
        [2390.625, 2390.625]
    """
    count = fused[0].numel()
    errors = [fused - source for source in sources]
    return torch.cat([length(e, spent=not e.requires_grad).square() / count for e in errors], 1)


@dataclass(frozen=True, kw_only=True)
class MSE(CachingMetric):
    """:func:`mean_squared_errors`, averaged over the sources; ``peak`` 1 for images scaled to [0, 1]."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="MSE",
        title="mean squared error",
        measures="mean squared difference of the fused image from the sources; the plain average minimises it",
        higher_is_better=False,
        range=(0.0, 65025.0),
        unit="squared grey levels",
        paper="Jagalingam, Hegde, A review of quality metrics for fused image, Aquatic Procedia 4, 2015",
        equation="mean over S of mean((F - S)^2)",
        needs="sources",
        differentiable=True,
    )
    peak: float = PEAK

    @property
    def unit(self) -> str:
        return self.info.unit if self.peak == PEAK else f"squared, of images in 0..{self.peak:g}"

    def measure(self, inputs: MetricInputs) -> Tensor:
        errors = inputs.cache(mean_squared_errors, inputs.fused, *inputs.sources).mean(1)
        return errors if self.peak == PEAK else errors * (self.peak / PEAK) ** 2


@dataclass(frozen=True, kw_only=True)
class RMSE(CachingMetric):
    """Root of :data:`MSE` averaged over the sources; ``per_size`` divides by the root of the pixel count once more."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="RMSE",
        title="root mean squared error",
        measures="root mean squared difference of the fused image from the sources",
        higher_is_better=False,
        range=(0.0, 255.0),
        unit="grey levels",
        paper="Jagalingam, Hegde, A review of quality metrics for fused image, Aquatic Procedia 4, 2015",
        equation="mean over S of sqrt(mean((F - S)^2))",
        needs="sources",
        differentiable=True,
    )
    per_size: bool = False

    @property
    def unit(self) -> str:
        return "grey levels / sqrt(H W)" if self.per_size else self.info.unit

    def measure(self, inputs: MetricInputs) -> Tensor:
        errors = inputs.cache(mean_squared_errors, inputs.fused, *inputs.sources)
        return root(errors / inputs.fused[0].numel() if self.per_size else errors).mean(1)
