"""How much detail the fused image shows, by its derivatives alone: SF, AG, EI. Noise raises all three."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import length, root
from fusionkit.metrics.gradients import doubled_differences, sobel
from fusionkit.metrics.scene import Once, Scene, SceneMetric, direct
from fusionkit.metrics.tiles import summed_over_tiles
from fusionkit.metrics.windows import Padding

__all__ = ["AG", "EI", "SF", "average_gradient", "edge_intensity", "spatial_frequency"]


def spatial_frequency(fused: Tensor, *, per: Literal["difference", "pixel"] = "difference") -> Tensor:
    """Root mean square of the differences between neighbours.

    ``SF = sqrt(RF^2 + CF^2)``, ``RF^2`` the mean squared difference along the rows, ``CF^2`` along the columns.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        per: divide each sum by the number of its differences, or both by the number of pixels.

    Returns:
        ``(B,)`` in grey levels; an axis of one pixel adds 0.

    Raises:
        UsageError: an unknown ``per``.

    Source: Eskicioglu and Fisher, IEEE Trans. Commun. 43, 1995.
    """
    if per not in ("difference", "pixel"):
        raise UsageError(f"per {per!r} is unknown: {did_you_mean(per, ('difference', 'pixel'))}")
    height, width = fused.shape[-2:]
    steps = (fused[:, :, 1:] - fused[:, :, :-1], fused[..., 1:] - fused[..., :-1])
    down, across = (length(step, spent=not step.requires_grad)[:, 0].square() for step in steps)
    counts = ((height - 1) * width, height * (width - 1)) if per == "difference" else (height * width,) * 2
    return root(down / max(counts[0], 1) + across / max(counts[1], 1))


def average_gradient(fused: Tensor, *, per: Literal["pixel", "inner"] = "pixel") -> Tensor:
    """Mean length of the gradient.

    ``AG = mean sqrt((gx^2 + gy^2) / 2)``, g central differences, one-sided at the border.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        per: divide the sum by ``H W``, or by ``(H - 1) (W - 1)`` as much code does.

    Returns:
        ``(B,)`` in grey levels.

    Raises:
        UsageError: an unknown ``per``.

    Source: Cui, Feng, Xu, Li and Chen, Opt. Commun. 341, 2015.
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


def edge_intensity(fused: Tensor, *, padding: Padding = "replicate", once: Once = direct) -> Tensor:
    """Mean length of the Sobel gradient.

    ``EI = mean sqrt(sx^2 + sy^2)``, s the unnormalised 3 x 3 Sobel responses.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        padding: beyond the border; zeros make an edge of the border itself.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in units of 8 grey levels a pixel.

    Source: Rajalingam and Priya, Int. J. Eng. Sci. Invent., 2018.
    """
    sx, sy = once(sobel, fused, padding=padding)
    return root(sx.square() + sy.square()).mean((1, 2, 3))


@dataclass(frozen=True, kw_only=True)
class SF(SceneMetric):
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

    def measure(self, scene: Scene) -> Tensor:
        return spatial_frequency(scene.fused, per=self.per)


@dataclass(frozen=True, kw_only=True)
class AG(SceneMetric):
    """:func:`average_gradient`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="AG",
        title="average gradient",
        measures="how steep the fused image is on average; noise raises it too",
        higher_is_better=True,
        range=(0.0, inf),
        unit="grey levels a pixel",
        paper="Cui, Feng, Xu, Li, Chen, Detail preserved fusion of visible and infrared images, Opt. Commun. 341, 2015",
        equation="mean sqrt((gx^2 + gy^2) / 2)",
        needs="fused",
        differentiable=True,
    )
    per: Literal["pixel", "inner"] = "pixel"

    def measure(self, scene: Scene) -> Tensor:
        return average_gradient(scene.fused, per=self.per)


@dataclass(frozen=True, kw_only=True)
class EI(SceneMetric):
    """:func:`edge_intensity`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="EI",
        title="edge intensity",
        measures="the mean Sobel gradient of the fused image; noise raises it too",
        higher_is_better=True,
        range=(0.0, inf),
        unit="grey levels / 8 a pixel",
        paper="Rajalingam, Priya, Hybrid multimodality medical image fusion technique, IJESI, 2018",
        equation="mean sqrt(sx^2 + sy^2)",
        needs="fused",
        differentiable=True,
    )
    padding: Padding = "replicate"

    def measure(self, scene: Scene) -> Tensor:
        return edge_intensity(scene.fused, padding=self.padding, once=scene.once)
