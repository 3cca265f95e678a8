"""Average gradient (AG). Noise raises it too."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import root
from fusionkit.metrics.gradients import doubled_differences
from fusionkit.metrics.inputs import CachingMetric, MetricInputs
from fusionkit.metrics.tiles import summed_over_tiles

__all__ = ["AG", "average_gradient"]


def average_gradient(fused: Tensor, *, per: Literal["pixel", "inner"] = "pixel") -> Tensor:
    """Average gradient (AG): the mean length of the gradient.

    ``AG = mean sqrt((gx^2 + gy^2) / 2)``, g central differences, one-sided at the border.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        per: divide the sum by ``H W``, or by ``(H - 1) (W - 1)`` as much code does.

    Returns:
        ``(B,)`` in grey levels.

    Raises:
        UsageError: an unknown ``per``.

    Source: Cui, Feng, Xu, Li and Chen, Opt. Commun. 341, 2015.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.average_gradient import average_gradient
        >>> fused = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> round(average_gradient(fused).item(), 4)
        11.3358
    """
    total = summed_over_tiles(_steepness, fused, halo=2) if fused.shape[2] > 2 else 0.0
    border = [(fused[:, :, :1], fused[:, :, 1:2]), (fused[:, :, -1:], fused[:, :, -2:-1])]
    for row, neighbour in border if fused.shape[2] > 1 else [(fused, fused)]:
        total = total + _lengths(doubled_differences(row, 3), 2 * (neighbour - row))
    # Of doubled differences, and of the sum of the squares instead of their mean.
    total = total * (0.5 * 0.5**0.5)
    height, width = fused.shape[-2:]
    if per == "pixel":
        return total / (height * width)
    if per == "inner":
        return total / max((height - 1) * (width - 1), 1)
    raise UsageError(f"per {per!r} is unknown: {did_you_mean(per, ('pixel', 'inner'))}")


def _steepness(rows: Tensor) -> Tensor:
    """``sum sqrt(4 gx^2 + 4 gy^2)`` over all rows but the first and the last: ``(B,)``."""
    return _lengths(doubled_differences(rows[:, :, 1:-1], 3), rows[:, :, 2:] - rows[:, :, :-2])


def _lengths(gx: Tensor, gy: Tensor) -> Tensor:
    return root(gx.square().addcmul_(gy, gy)).sum((1, 2, 3))


@dataclass(frozen=True, kw_only=True)
class AG(CachingMetric):
    """:func:`average_gradient`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="AG",
        title="average gradient",
        measures="how steep the fused image is on average; noise raises it too",
        higher_is_better=True,
        range=(0.0, inf),
        unit="grey levels per pixel",
        paper="Cui, Feng, Xu, Li, Chen, Detail preserved fusion of visible and infrared images, Opt. Commun. 341, 2015",
        equation="mean sqrt((gx^2 + gy^2) / 2)",
        needs="fused",
        differentiable=True,
    )
    per: Literal["pixel", "inner"] = "pixel"

    def measure(self, inputs: MetricInputs) -> Tensor:
        return average_gradient(inputs.fused, per=self.per)
