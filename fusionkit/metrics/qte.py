"""Mutual information from Tsallis entropy (QTE)."""

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
    is_certain,
    joint_histogram,
    stretch,
)
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache

__all__ = ["QTE", "tsallis_information"]

NAVA_Q = 0.43137
CVEJIC_Q = 1.85


def tsallis_information(
    fused: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    q: float = NAVA_Q,
    form: Literal["nava", "cvejic"] = "nava",
    transposed: bool = False,
    undefined: float = 0.0,
    cache: Cache = no_cache,
) -> Tensor:
    """Tsallis mutual information of the fused image with both sources (QTE).

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
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)``.

    Source: Cvejic, Canagarajah and Bull, Electron. Lett. 42, 2006; Nava, Cristobal and Escalante-Ramirez, SPIE 2007.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qte import tsallis_information
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(tsallis_information(fused, a, b).item(), 4)
        0.4479
    """

    def information(x: Tensor, y: Tensor) -> Tensor:
        joint = cache(joint_histogram, x, y)
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
        fused, first, second = (cache(stretch, image) for image in (fused, first, second))
    total = information(first, fused) + information(second, fused)
    if form == "nava":
        own = sum((entropy_of(cache(histogram, s)) / log(2)) ** q for s in (first, second))
        total = ratio(total, own + information(first, second), undefined)
    elif form != "cvejic":
        raise UsageError(f"form {form!r} is unknown: {did_you_mean(form, ('nava', 'cvejic'))}")
    return total.to(fused.dtype)


@dataclass(frozen=True, kw_only=True)
class QTE(CachingMetric):
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

    def measure(self, inputs: MetricInputs) -> Tensor:
        if self.form == "entropies":
            first, second, fused = (
                entropy_of(inputs.cache(histogram, image)) for image in (*inputs.sources, inputs.fused)
            )
            return ((first + second - fused) / log(2)).to(inputs.fused.dtype)
        return tsallis_information(
            inputs.fused,
            *inputs.sources,
            q=self.q,
            form=self.form,
            transposed=self.transposed,
            undefined=self.undefined,
            cache=inputs.cache,
        )
