"""Information theory: entropy, mutual information and its normalised forms, on 256-bin histograms of grey levels."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import ClassVar

from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.histograms import entropy_of, histogram
from fusionkit.metrics.scene import Once, Scene, SceneMetric, direct

__all__ = ["EN", "entropy"]


def entropy(fused: Tensor, *, base: float = 2.0, once: Once = direct) -> Tensor:
    """Shannon entropy of the grey levels.

    ``EN = -sum_k p_k log p_k``, p the 256-bin histogram of ``round(fused)``, ``0 log 0 = 0``.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        base: of the logarithm; 2 for bits.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in [0, log 256]; 0 for a constant image.

    Source: Shannon, 1948; for fusion Roberts, van Aardt and Ahmed, J. Appl. Remote Sens. 2, 2008.
    """
    return (entropy_of(once(histogram, fused)) / log(base)).to(fused.dtype)


@dataclass(frozen=True, kw_only=True)
class EN(SceneMetric):
    """:func:`entropy` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="EN",
        title="entropy",
        measures="how much information the grey levels of the fused image carry; noise counts too",
        higher_is_better=True,
        range=(0.0, 8.0),
        unit="bit",
        paper="Roberts, van Aardt, Ahmed, Assessment of image fusion procedures, J. Appl. Remote Sens. 2, 2008",
        equation="-sum_k p_k log2 p_k",
        needs="fused",
    )
    base: float = 2.0

    def measure(self, scene: Scene) -> Tensor:
        return entropy(scene.fused, base=self.base, once=scene.once)
