"""The contract of every metric, and its description as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

__all__ = ["Metric", "MetricInfo"]


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """Description of a metric, as data. No field but ``aliases`` and ``bibtex`` may be blank.

    Attributes:
        name: the field's abbreviation, the registered name (``"EN"``).
        title: name in words.
        measures: what it measures, in one sentence.
        higher_is_better: direction; for some it is a habit of the field more than a truth.
        range: least and greatest possible value, ``-inf``/``inf`` where unbounded.
        unit: ``"bit"``, ``"grey levels"``, ``"1"``...
        paper: who defined it, where.
        equation: the formula in one line.
        needs: ``"fused"``, ``"sources"`` or ``"truth"``.
        sources: ``"two"`` where it is defined for exactly two sources, ``"any"`` for one or more.
        symmetric: whether the order of the sources does not matter.
        min_size: least height and width that it is defined on.
        undefined: on which images the formula is 0/0 and what the metric gives there.
        differentiable: whether its gradient with respect to the fused image is exact and useful as a loss.
        notes: what else a reader of the number should know.
        aliases: other names that papers have for the metric (``"VIF"`` for VIFp).
        bibtex: BibTeX entry of ``paper``; "" where that is to be quoted as it is.
    """

    name: str
    title: str
    measures: str
    higher_is_better: bool
    range: tuple[float, float]
    unit: str
    paper: str
    equation: str
    needs: Literal["fused", "sources", "truth"]
    sources: Literal["two", "any"] = "any"
    symmetric: bool = True
    min_size: int = 1
    undefined: str = "none: the formula is defined on every image"
    differentiable: bool = False
    notes: tuple[str, ...] = field(default=("none",))
    aliases: tuple[str, ...] = ()
    bibtex: str = ""


class Metric(ABC):
    """A fusion-quality metric under one convention: a thin class over a pure function.

    The constructor's keyword arguments are the convention (window, log base, reduction over sources...); a
    profile names one set of them for every metric. Images are luminance on the 0..255 scale, as every published
    definition is.
    """

    info: ClassVar[MetricInfo]
    conventions: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Profiles that a plugin's metric joins: profile name -> the fields that differ there from the defaults. Profiles
    list the built-in metrics themselves."""

    @abstractmethod
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        """Values of a batch.

        Args:
            fused: ``(B, 1, H, W)``, 0..255, float32 or float64.
            sources: the sources, same shape.
            truth: the known result where there is one, same shape.

        Returns:
            ``(B,)`` in the dtype of ``fused``; NaN only where the metric is documented as not defined.
        """
