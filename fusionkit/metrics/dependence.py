"""Normalised and generalised mutual information: NMI, Tsallis information, nonlinear correlation."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, log2
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import centred, correlation, ratio
from fusionkit.metrics.histograms import (
    entropy_of,
    histogram,
    is_certain,
    joint_histogram,
    mutual_information_of,
    stretch,
)
from fusionkit.metrics.scene import Once, Scene, SceneMetric, direct

__all__ = [
    "NMI",
    "QMI",
    "QNCIE",
    "QTE",
    "nonlinear_correlation_information_entropy",
    "normalized_mutual_information",
    "tsallis_information",
]

NAVA_Q = 0.43137
CVEJIC_Q = 1.85


def normalized_mutual_information(
    fused: Tensor,
    *sources: Tensor,
    by: Literal["pairs", "sources"] = "pairs",
    undefined: float = 0.0,
    once: Once = direct,
) -> Tensor:
    """Mutual information, each term divided by the entropies it is bounded by.

    ``NMI = 2 sum over S of I(S; F) / (H(S) + H(F))``, in [0, S].

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        by: ``"pairs"`` as above; ``"sources"`` for ``2 sum I(S; F) / sum H(S)``, which IVIF_ZOO has.
        undefined: the value of a quotient whose entropies are 0.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)``.

    Source: Hossny, Nahavandi and Creighton, Electron. Lett. 44, 2008.
    """
    shared = [once(mutual_information_of, once(joint_histogram, s, fused)) for s in sources]
    own = [entropy_of(once(histogram, s)) for s in sources]
    if by == "pairs":
        target = entropy_of(once(histogram, fused))
        total = sum(ratio(2 * i, h + target, undefined) for i, h in zip(shared, own, strict=True))
    elif by == "sources":
        total = ratio(2 * torch.stack(shared).sum(0), torch.stack(own).sum(0), undefined)
    else:
        raise UsageError(f"by {by!r} is unknown: {did_you_mean(by, ('pairs', 'sources'))}")
    assert isinstance(total, Tensor)
    return total.to(fused.dtype)


def tsallis_information(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    q: float = NAVA_Q,
    form: Literal["nava", "cvejic"] = "nava",
    transposed: bool = False,
    undefined: float = 0.0,
    once: Once = direct,
) -> Tensor:
    """Tsallis mutual information of the fused image with both sources.

    ``I_q(X; Y) = (1 - sum p_xy^q / (p_x p_y)^(q-1)) / (1 - q)``.
    ``"nava"``: ``(I_q(A; F) + I_q(B; F)) / (H(A)^q + H(B)^q + I_q(A; B))``, H in bits.
    ``"cvejic"``: ``I_q(A; F) + I_q(B; F)``.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        first: A, the same shape.
        second: B, the same shape.
        q: order; 0.43137 for Nava, 1.85 for Cvejic.
        form: see above.
        transposed: multiply the joint histogram with its marginals swapped, as Zheng Liu's toolbox and MEFB do.
        undefined: the value of ``"nava"`` where all its terms are 0.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)``.

    Source: Cvejic, Canagarajah and Bull, Electron. Lett. 42, 2006; Nava, Cristobal and Escalante-Ramirez, SPIE 2007.
    """

    def information(x: Tensor, y: Tensor) -> Tensor:
        joint = once(joint_histogram, x, y)
        rows, columns = joint.sum(2), joint.sum(1)
        constant = is_certain(rows) | is_certain(columns)
        if transposed:
            rows, columns, constant = columns, rows, torch.zeros_like(constant)
        product = rows[:, :, None] * columns[:, None, :]
        both = (joint > 0) & (product > 0)
        powers = torch.zeros_like(joint)
        powers[both] = joint[both] ** q * product[both] ** (1 - q)
        return torch.where(constant, 0.0, (1 - powers.sum((1, 2))) / (1 - q)) + 0.0

    if transposed:
        # Now the levels' values matter, so the stretch that the toolbox starts with does too.
        fused, first, second = (once(stretch, image) for image in (fused, first, second))
    total = information(first, fused) + information(second, fused)
    if form == "nava":
        own = sum((entropy_of(once(histogram, s)) / log(2)) ** q for s in (first, second))
        total = ratio(total, own + information(first, second), undefined)
    elif form != "cvejic":
        raise UsageError(f"form {form!r} is unknown: {did_you_mean(form, ('nava', 'cvejic'))}")
    return total.to(fused.dtype)


def nonlinear_correlation_information_entropy(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    by: Literal["information", "pearson"] = "information",
    undefined: float = 0.0,
    once: Once = direct,
) -> Tensor:
    """Joint dependence of both sources and the fused image.

    ``Q = 1 + sum_i (l_i / 3) log2(l_i / 3) / 8``, l the eigenvalues of the 3 x 3 matrix of nonlinear correlations
    ``NCC(X, Y) = I(X; Y) / 8`` (I in bits, 1 on the diagonal).

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        first: A, the same shape.
        second: B, the same shape.
        by: ``"pearson"`` puts Pearson's correlation in NCC's place, as IVIF_ZOO does.
        undefined: Pearson's correlation where an image is constant (the mutual information is 0 there anyway).
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in [1 - log2(3) / 8, 1].

    Source: Wang, Shen and Jin, in Image Fusion: Algorithms and Applications, 2008.
    """

    def dependence(x: Tensor, y: Tensor) -> Tensor:
        if by == "information":
            return once(mutual_information_of, once(joint_histogram, x, y)) / log(256)
        if by == "pearson":
            return correlation(once(centred, x), once(centred, y), undefined)[:, 0].double()
        raise UsageError(f"by {by!r} is unknown: {did_you_mean(by, ('information', 'pearson'))}")

    ab, af, bf = dependence(first, second), dependence(first, fused), dependence(second, fused)
    one = torch.ones_like(ab)
    matrix = torch.stack((one, ab, af, ab, one, bf, af, bf, one), 1).view(-1, 3, 3)
    unknown = matrix.isnan().flatten(1).any(1)
    share = torch.linalg.eigvalsh(torch.where(unknown[:, None, None], 0.0, matrix)) / 3
    # Two equal images make an eigenvalue 0 that rounding moves to either side: 0 log 0 = 0.
    result = 1 - torch.special.entr(share.clamp(min=0)).sum(1) / log(256)
    return torch.where(unknown, torch.nan, result).to(fused.dtype)


@dataclass(frozen=True, kw_only=True)
class NMI(SceneMetric):
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

    def measure(self, scene: Scene) -> Tensor:
        return normalized_mutual_information(
            scene.fused, *scene.sources, by=self.by, undefined=self.undefined, once=scene.once
        )


@dataclass(frozen=True, kw_only=True)
class QMI(SceneMetric):
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

    def measure(self, scene: Scene) -> Tensor:
        return normalized_mutual_information(scene.fused, *scene.sources, undefined=self.undefined, once=scene.once)


@dataclass(frozen=True, kw_only=True)
class QTE(SceneMetric):
    """:func:`tsallis_information`; ``form="entropies"`` is IVIF_ZOO's ``H(A) + H(B) - H(F)``."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QTE",
        title="Tsallis-entropy mutual information",
        measures="how much the fused image tells about the sources, in Tsallis' non-additive information",
        higher_is_better=True,
        range=(0.0, inf),
        unit="1",
        paper="Nava, Cristobal, Escalante-Ramirez, Mutual information improves image fusion quality assessments, 2007",
        equation="(I_q(A;F) + I_q(B;F)) / (H(A)^q + H(B)^q + I_q(A;B)), q = 0.43137",
        needs="sources",
        sources="two",
        undefined="two constant sources: 0",
        notes=("Zheng Liu's toolbox and MEFB swap the marginals, which changes the value by up to ten times",),
    )
    q: float = NAVA_Q
    form: Literal["nava", "cvejic", "entropies"] = "nava"
    transposed: bool = False
    undefined: float = 0.0

    def measure(self, scene: Scene) -> Tensor:
        if self.form == "entropies":
            first, second, fused = (entropy_of(scene.once(histogram, image)) for image in (*scene.sources, scene.fused))
            return ((first + second - fused) / log(2)).to(scene.fused.dtype)
        return tsallis_information(
            scene.fused,
            *scene.sources,
            q=self.q,
            form=self.form,
            transposed=self.transposed,
            undefined=self.undefined,
            once=scene.once,
        )


@dataclass(frozen=True, kw_only=True)
class QNCIE(SceneMetric):
    """:func:`nonlinear_correlation_information_entropy`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QNCIE",
        title="nonlinear correlation information entropy",
        measures="joint dependence of both sources and the fused image, through their mutual information",
        higher_is_better=True,
        range=(1 - log2(3) / 8, 1.0),
        unit="1",
        paper="Wang, Shen, Jin, Performance evaluation of image fusion techniques, in Image Fusion, 2008",
        equation="1 + sum_i (l_i/3) log2(l_i/3) / 8, l the eigenvalues of (I(X;Y)/8)",
        needs="sources",
        sources="two",
    )
    by: Literal["information", "pearson"] = "information"
    undefined: float = 0.0

    def measure(self, scene: Scene) -> Tensor:
        return nonlinear_correlation_information_entropy(
            scene.fused, *scene.sources, by=self.by, undefined=self.undefined, once=scene.once
        )
