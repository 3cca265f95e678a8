"""Spatial frequency (SF). Noise raises it too."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import length, root
from fusionkit.metrics.inputs import CachingMetric, MetricInputs

__all__ = ["SF", "spatial_frequency"]


def spatial_frequency(fused: Tensor, *, per: Literal["difference", "pixel"] = "difference") -> Tensor:
    """Spatial frequency (SF): the root mean square of the differences between neighbours.

    ``SF = sqrt(RF^2 + CF^2)``, ``RF^2`` the mean squared difference along the rows, ``CF^2`` along the columns.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        per: divide each sum by the number of its differences, or both by the number of pixels.

    Returns:
        ``(B,)`` in grey levels; an axis of one pixel adds 0.

    Raises:
        UsageError: an unknown ``per``.

    Source: Eskicioglu and Fisher, IEEE Trans. Commun. 43, 1995.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.spatial_frequency import spatial_frequency
        >>> fused = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> round(spatial_frequency(fused).item(), 4)
        16.0312
    """
    if per not in ("difference", "pixel"):
        raise UsageError(f"per {per!r} is unknown: {did_you_mean(per, ('difference', 'pixel'))}")
    height, width = fused.shape[-2:]
    steps = (fused[:, :, 1:] - fused[:, :, :-1], fused[..., 1:] - fused[..., :-1])
    down, across = (length(step, spent=not step.requires_grad)[:, 0].square() for step in steps)
    counts = ((height - 1) * width, height * (width - 1)) if per == "difference" else (height * width,) * 2
    return root(down / max(counts[0], 1) + across / max(counts[1], 1))


@dataclass(frozen=True, kw_only=True)
class SF(CachingMetric):
    """:func:`spatial_frequency`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="SF",
        title="spatial frequency",
        measures="how strongly neighbouring pixels of the fused image differ; noise raises it too",
        higher_is_better=True,
        range=(0.0, inf),
        unit="grey levels",
        paper="Eskicioglu, Fisher, Image quality measures and their performance, IEEE Trans. Commun. 43, 1995",
        equation="sqrt(mean (F[i,j] - F[i,j-1])^2 + mean (F[i,j] - F[i-1,j])^2)",
        needs="fused",
        differentiable=True,
    )
    per: Literal["difference", "pixel"] = "difference"

    def measure(self, inputs: MetricInputs) -> Tensor:
        return spatial_frequency(inputs.fused, per=self.per)
