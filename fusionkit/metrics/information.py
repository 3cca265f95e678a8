"""Information theory: entropy, cross entropy and mutual information, on 256-bin histograms of grey levels.

Toolboxes stretch every image to 0..255 before they count. On integer grey levels the stretch is one-to-one, so it
changes no value here and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, inf, log, log2
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.histograms import entropy_of, histogram, joint_histogram, mutual_information_of
from fusionkit.metrics.scene import Once, Scene, SceneMetric, direct

__all__ = ["CE", "EN", "MI", "cross_entropy", "entropy", "mutual_information", "sigmoid_cross_entropy"]


def entropy(fused: Tensor, *, base: float = 2.0, offset: float = 0.0, once: Once = direct) -> Tensor:
    """Shannon entropy of the grey levels.

    ``EN = -sum_k p_k log p_k``, p the 256-bin histogram of ``round(fused)``, ``0 log 0 = 0``.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        base: of the logarithm; 2 for bits.
        offset: added to p inside the logarithm, as some code does against ``log 0``.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in [0, log 256]; 0 for a constant image.

    Source: Shannon, 1948; for fusion Roberts, van Aardt and Ahmed, J. Appl. Remote Sens. 2, 2008.
    """
    p = once(histogram, fused)
    if offset:
        # In float32, where 1 + 1e-7 is rounded, as in the code that has an offset.
        p = p.float()
        return (-(p * (p + offset).log2()).sum(1) / log2(base)).to(fused.dtype)
    return (entropy_of(p) / log(base)).to(fused.dtype)


def cross_entropy(fused: Tensor, *sources: Tensor, once: Once = direct) -> Tensor:
    """Divergence of the grey-level distributions, averaged over the sources.

    ``CE = mean over S of sum_k p_S log2(p_S / p_F)`` over the levels that both images have. Levels that only one
    image has are left out, so it can be a little below 0.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in bits.

    Source: Bulanon, Burks and Alchanatis, Biosyst. Eng. 103, 2009.
    """
    q = once(histogram, fused)
    total = torch.zeros_like(q[:, 0])
    for source in sources:
        p = once(histogram, source)
        both = (p > 0) & (q > 0)
        total += torch.where(both, p * (p / torch.where(both, q, 1.0)).clamp(min=1e-300).log2(), 0.0).sum(1)
    return (total / len(sources)).to(fused.dtype)


def sigmoid_cross_entropy(fused: Tensor, *sources: Tensor) -> Tensor:
    """Binary cross entropy between the sigmoids of the grey levels: what IVIF_ZOO reports as CE.

    In float32, whose rounding near 1 decides the value.
    """
    truth = torch.stack([s.float().sigmoid() for s in sources]).mean(0)
    epsilon = 1e-7
    p = fused.float().sigmoid().clamp(epsilon, 1.0 - epsilon)
    truth = truth.clamp(epsilon, 1.0 - epsilon)
    loss = torch.nn.functional.binary_cross_entropy(p, truth, reduction="none")
    return loss.mean((1, 2, 3)).to(fused.dtype)


def mutual_information(
    fused: Tensor, *sources: Tensor, base: float = 2.0, saturated: bool = False, once: Once = direct
) -> Tensor:
    """Mutual information of the fused image with the sources, summed.

    ``MI = sum over S of I(S; F)``, I from the 256 x 256 joint histogram.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        base: of the logarithm; 2 for bits, e for nats.
        saturated: count 254 and 255 as one level in the joint histogram, though not in its marginals, as code does
            that adds 1 to a uint8 level.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)``, at most S times the entropy of the fused image.

    Source: Qu, Zhang and Yan, Electron. Lett. 38, 2002.
    """
    joints = [once(joint_histogram, s, fused) for s in sources]
    nats = torch.stack([once(mutual_information_of, joint) for joint in joints]).sum(0)
    if saturated:
        nats = nats + torch.stack([_merging_gain(joint) for joint in joints]).sum(0)
    return (nats / log(base)).to(fused.dtype)


def _merging_gain(joint: Tensor) -> Tensor:
    """How much entropy joint frequencies lose if their last two rows and columns are added up."""
    rows = torch.cat((joint[:, :254], joint[:, 254:].sum(1, keepdim=True)), 1)
    merged = torch.cat((rows[..., :254], rows[..., 254:].sum(2, keepdim=True)), 2)
    return entropy_of(joint.flatten(1)) - entropy_of(merged.flatten(1))


def _unit_of(base: float) -> str:
    return {2.0: "bit", e: "nat"}.get(base, f"log {base:g}")


@dataclass(frozen=True, kw_only=True)
class EN(SceneMetric):
    """:func:`entropy`."""

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
    offset: float = 0.0

    @property
    def unit(self) -> str:
        return _unit_of(self.base)

    def measure(self, scene: Scene) -> Tensor:
        return entropy(scene.fused, base=self.base, offset=self.offset, once=scene.once)


@dataclass(frozen=True, kw_only=True)
class CE(SceneMetric):
    """:func:`cross_entropy`, or :func:`sigmoid_cross_entropy` with ``of="sigmoids"``."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="CE",
        title="cross entropy",
        measures="how far the grey-level distribution of the fused image is from those of the sources",
        higher_is_better=False,
        range=(-1.0, inf),
        unit="bit",
        paper="Bulanon, Burks, Alchanatis, Image fusion of visible and thermal images, Biosyst. Eng. 103, 2009",
        equation="mean over S of sum_k p_S log2(p_S / p_F), over levels that both have",
        needs="sources",
        notes=("levels that one image lacks are left out, so that it can fall a little below 0",),
    )
    of: Literal["histograms", "sigmoids"] = "histograms"

    def measure(self, scene: Scene) -> Tensor:
        if self.of == "sigmoids":
            return sigmoid_cross_entropy(scene.fused, *scene.sources)
        return cross_entropy(scene.fused, *scene.sources, once=scene.once)


@dataclass(frozen=True, kw_only=True)
class MI(SceneMetric):
    """:func:`mutual_information`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="MI",
        title="mutual information",
        measures="how much the fused image tells about the sources, pixel by pixel",
        higher_is_better=True,
        range=(0.0, inf),
        unit="bit",
        paper="Qu, Zhang, Yan, Information measure for performance of image fusion, Electron. Lett. 38, 2002",
        equation="sum over S of I(S; F)",
        needs="sources",
        notes=("some tables give nats: bits times 0.693147", "at most S times EN; a copy of a source reaches EN"),
    )
    base: float = 2.0
    saturated: bool = False

    @property
    def unit(self) -> str:
        return _unit_of(self.base)

    def measure(self, scene: Scene) -> Tensor:
        return mutual_information(
            scene.fused, *scene.sources, base=self.base, saturated=self.saturated, once=scene.once
        )
