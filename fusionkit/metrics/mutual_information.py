"""Mutual information with the sources (MI) and its normalised form (NMI, which toolboxes call QMI)."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.histograms import (
    entropy_of,
    histogram,
    joint_histogram,
    log_unit,
    mutual_information_of,
)
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache

__all__ = ["MI", "NMI", "QMI", "mutual_information", "normalized_mutual_information"]


def mutual_information(
    fused: Tensor, *sources: Tensor, base: float = 2.0, saturated: bool = False, cache: Cache = no_cache
) -> Tensor:
    """Mutual information of the fused image with the sources, summed (MI).

    ``MI = sum over S of I(S; F)``, I from the 256 x 256 joint histogram.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        base: of the logarithm; 2 for bits, e for nats.
        saturated: count 254 and 255 as one level in the joint histogram, though not in its marginals, as code does
            that adds 1 to a uint8 level.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)``, at most S times the entropy of the fused image.

    Source: Qu, Zhang and Yan, Electron. Lett. 38, 2002.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.mutual_information import mutual_information
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(mutual_information(fused, a, b).item(), 4)
        9.4319
    """
    joints = [cache(joint_histogram, s, fused) for s in sources]
    nats = torch.stack([cache(mutual_information_of, joint) for joint in joints]).sum(0)
    if saturated:
        nats = nats + torch.stack([_merging_gain(joint) for joint in joints]).sum(0)
    return (nats / log(base)).to(fused.dtype)


def _merging_gain(joint: Tensor) -> Tensor:
    """Entropy that joint frequencies lose if their last two rows and columns are added up."""
    rows = torch.cat((joint[:, :254], joint[:, 254:].sum(1, keepdim=True)), 1)
    merged = torch.cat((rows[..., :254], rows[..., 254:].sum(2, keepdim=True)), 2)
    return entropy_of(joint.flatten(1)) - entropy_of(merged.flatten(1))


def normalized_mutual_information(
    fused: Tensor,
    *sources: Tensor,
    by: Literal["pairs", "sources"] = "pairs",
    undefined: float = 0.0,
    cache: Cache = no_cache,
) -> Tensor:
    """Normalized mutual information (NMI): each term divided by the entropies that bound it.

    ``NMI = 2 sum over S of I(S; F) / (H(S) + H(F))``, in [0, S].

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        by: ``"pairs"`` as above; ``"sources"`` for ``2 sum I(S; F) / sum H(S)``, which IVIF_ZOO has.
        undefined: the value of a quotient whose entropies are 0.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)``.

    Source: Hossny, Nahavandi and Creighton, Electron. Lett. 44, 2008.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.mutual_information import normalized_mutual_information
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(normalized_mutual_information(fused, a, b).item(), 4)
        1.4835
    """
    shared = [cache(mutual_information_of, cache(joint_histogram, s, fused)) for s in sources]
    own = [entropy_of(cache(histogram, s)) for s in sources]
    if by == "pairs":
        target = entropy_of(cache(histogram, fused))
        total = sum(ratio(2 * i, h + target, undefined) for i, h in zip(shared, own, strict=True))
    elif by == "sources":
        total = ratio(2 * torch.stack(shared).sum(0), torch.stack(own).sum(0), undefined)
    else:
        raise UsageError(f"by {by!r} is unknown: {did_you_mean(by, ('pairs', 'sources'))}")
    assert isinstance(total, Tensor)
    return total.to(fused.dtype)


@dataclass(frozen=True, kw_only=True)
class MI(CachingMetric):
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
        return log_unit(self.base)

    def measure(self, inputs: MetricInputs) -> Tensor:
        return mutual_information(
            inputs.fused, *inputs.sources, base=self.base, saturated=self.saturated, cache=inputs.cache
        )


@dataclass(frozen=True, kw_only=True)
class NMI(CachingMetric):
    """:func:`normalized_mutual_information`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="NMI",
        title="normalized mutual information",
        measures="how much the fused image tells about each source, relative to what both carry",
        higher_is_better=True,
        range=(0.0, 2.0),
        unit="1",
        paper="Hossny, Nahavandi, Creighton, Comments on Information measure for performance of image fusion, 2008",
        equation="2 sum over S of I(S; F) / (H(S) + H(F))",
        needs="sources",
        undefined="a source and a fused image that are both constant: 0 for that source",
    )
    by: Literal["pairs", "sources"] = "pairs"
    undefined: float = 0.0

    def measure(self, inputs: MetricInputs) -> Tensor:
        return normalized_mutual_information(
            inputs.fused, *inputs.sources, by=self.by, undefined=self.undefined, cache=inputs.cache
        )


@dataclass(frozen=True, kw_only=True)
class QMI(CachingMetric):
    """:func:`normalized_mutual_information` under the name that Zheng Liu's toolbox gives it."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QMI",
        title="normalized mutual information (the toolbox's name)",
        measures="the same as NMI, which see",
        higher_is_better=True,
        range=(0.0, 2.0),
        unit="1",
        paper="Hossny et al., 2008; so named in Liu et al., Objective assessment of fusion algorithms, TPAMI 34, 2012",
        equation="2 sum over S of I(S; F) / (H(S) + H(F))",
        needs="sources",
        undefined="a source and a fused image that are both constant: 0 for that source",
    )
    undefined: float = 0.0

    def measure(self, inputs: MetricInputs) -> Tensor:
        return normalized_mutual_information(
            inputs.fused, *inputs.sources, undefined=self.undefined, cache=inputs.cache
        )
