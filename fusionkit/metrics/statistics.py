"""Second-order statistics: contrast and correlation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import centre, centred, correlation, dot, length, ratio, snapped
from fusionkit.metrics.scene import Once, Scene, SceneMetric, direct

__all__ = [
    "CC",
    "SCD",
    "SD",
    "FirstCorrelation",
    "SecondCorrelation",
    "correlation_coefficients",
    "standard_deviation",
    "sum_of_correlations_of_differences",
]


def standard_deviation(fused: Tensor, *, once: Once = direct) -> Tensor:
    """Contrast of the fused image.

    ``SD = sqrt(mean((F - mean F)^2))``, the mean over all ``H W`` pixels.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in grey levels, 0..127.5.

    Source: Rao, Meas. Sci. Technol. 8, 1997.
    """
    return once(_spread, fused, once(centre, fused))[:, 0] / fused[0].numel() ** 0.5


def _spread(image: Tensor, mean: Tensor) -> Tensor:
    """Length of ``image - mean``: ``(B, 1)``."""
    if image.dtype == torch.float64 and image.device.type == "cpu" and not image.requires_grad:
        # sum x^2 - N mean^2 writes no plane; it does where no more than four of float64's digits are lost.
        square, middle = length(image).square(), mean[:, :, 0, 0].square() * image[0].numel()
        if bool((square - middle > 1e-4 * square).all()):
            return (square - middle).sqrt()
    return length(image - mean, spent=not image.requires_grad)


def correlation_coefficients(fused: Tensor, *sources: Tensor, undefined: float = 0.0, once: Once = direct) -> Tensor:
    """Pearson's correlation of the fused image with each source.

    Args:
        fused: ``(B, 1, H, W)``.
        sources: one or more of the same shape.
        undefined: the value where either image is constant.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B, S)`` in [-1, 1].
    """
    target = once(centred, fused)
    return torch.cat([correlation(once(centred, s), target, undefined, once=once) for s in sources], 1)


def sum_of_correlations_of_differences(
    fused: Tensor, first: Tensor, second: Tensor, *, undefined: float = 0.0, once: Once = direct
) -> Tensor:
    """How well each source explains what the fused image has beyond the other source.

    ``SCD = r(F - B, A) + r(F - A, B)``, r Pearson's correlation.

    Args:
        fused: ``(B, 1, H, W)``.
        first: A, the same shape.
        second: B, the same shape.
        undefined: the value of a term where a source or a difference is constant.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in [-2, 2].

    Source: Aslantas and Bendes, AEU Int. J. Electron. Commun. 69, 2015. Subtraction in uint8, which saturates,
    gives other values.
    """
    f_mean, *means = (once(centre, image) for image in (fused, first, second))
    sources = (first, second)
    total = torch.zeros_like(fused[:, :, 0, 0])
    for i in (0, 1):
        rest = fused - sources[1 - i]
        rest = rest.sub_(snapped(f_mean - means[1 - i], rest[..., :1, :1]))
        if rest.dtype == torch.float64:
            # The mean of the rest is 0 to 16 digits, so that of the source does not count.
            both, own = dot(rest, sources[i]), once(_spread, sources[i], means[i])
        else:
            source = sources[i] - means[i]
            both = dot(rest, source)
            own = length(source, spent=not both.requires_grad)
        # Lengths before the product: the product of two sums of squares can leave the range of float32.
        lengths = length(rest, spent=not both.requires_grad) * own
        total = total + ratio(both, lengths, undefined)
    return total[:, 0]


@dataclass(frozen=True, kw_only=True)
class SD(SceneMetric):
    """:func:`standard_deviation`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="SD",
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

    def measure(self, scene: Scene) -> Tensor:
        return standard_deviation(scene.fused, once=scene.once)


@dataclass(frozen=True, kw_only=True)
class CC(SceneMetric):
    """Mean over the sources of :func:`correlation_coefficients`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="CC",
        title="correlation coefficient",
        measures="linear correlation of the fused image with the sources",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Deshmukh, Bhosale, Image fusion and image quality assessment of fused images, IJIP 4, 2010",
        equation="mean over S of r(S, F)",
        needs="sources",
        undefined="a constant fused image or source: 0 for that source",
        differentiable=True,
    )
    undefined: float = 0.0

    def measure(self, scene: Scene) -> Tensor:
        return correlation_coefficients(scene.fused, *scene.sources, undefined=self.undefined, once=scene.once).mean(1)


@dataclass(frozen=True, kw_only=True)
class FirstCorrelation(SceneMetric):
    """:func:`correlation_coefficients` with the first source alone."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="CC-a",
        title="correlation with the first source",
        measures="linear correlation with the first source; beside CC-b it shows a fused image that copies one source",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Pearson, Proc. R. Soc. Lond. 58, 1895",
        equation="r(A, F)",
        needs="sources",
        symmetric=False,
        undefined="a constant fused image or source: 0",
        differentiable=True,
        notes=("read it with CC-b: near 1 for one and low for the other means a copy",),
    )

    def measure(self, scene: Scene) -> Tensor:
        return correlation_coefficients(scene.fused, scene.sources[0], once=scene.once)[:, 0]


@dataclass(frozen=True, kw_only=True)
class SecondCorrelation(SceneMetric):
    """:func:`correlation_coefficients` with the second source alone."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="CC-b",
        title="correlation with the second source",
        measures="linear correlation with the second source; beside CC-a it shows a fused image that copies one source",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Pearson, Proc. R. Soc. Lond. 58, 1895",
        equation="r(B, F)",
        needs="sources",
        sources="two",
        symmetric=False,
        undefined="a constant fused image or source: 0",
        differentiable=True,
        notes=("read it with CC-a: near 1 for one and low for the other means a copy",),
    )

    def measure(self, scene: Scene) -> Tensor:
        return correlation_coefficients(scene.fused, scene.sources[1], once=scene.once)[:, 0]


@dataclass(frozen=True, kw_only=True)
class SCD(SceneMetric):
    """:func:`sum_of_correlations_of_differences`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="SCD",
        title="sum of the correlations of differences",
        measures="how well each source explains what the fused image holds beyond the other source",
        higher_is_better=True,
        range=(-2.0, 2.0),
        unit="1",
        paper="Aslantas, Bendes, A new image quality metric for image fusion, AEU 69, 2015",
        equation="r(F - B, A) + r(F - A, B)",
        needs="sources",
        sources="two",
        undefined="a constant source or difference (a copy of a source): 0 for that term",
        differentiable=True,
    )
    undefined: float = 0.0

    def measure(self, scene: Scene) -> Tensor:
        return sum_of_correlations_of_differences(
            scene.fused, *scene.sources, undefined=self.undefined, once=scene.once
        )
