"""Visual information fidelity in the pixel domain: VIFp per source, VIFF for fusion, VIFp-truth."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, fsum, inf
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import Reduction, over_sources
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.tiles import row_blocks
from fusionkit.metrics.windows import Moments, Window, filter_planes, local_moments

__all__ = ["VIFF", "TruthVIFp", "VIFp", "visual_information_fidelity", "visual_information_fidelity_for_fusion"]

EPSILON = 1e-10
NOISE = 2.0
"""Variance of the visual noise in VIFp."""
FUSION_NOISE = 0.005 * 255**2
"""Variance of the visual noise in VIFF."""
FUSION_WEIGHTS = (1 / 2.15, 0.0, 0.15 / 2.15, 1 / 2.15)

Grid = Literal["centred", "skewed"]
"""Sampling of the Gaussian: around its middle, or on ``linspace(-(N + 1) / 2, (N - 1) / 2, N)`` with zeros beyond
the border, as IVIF_ZOO does."""


class _Channel(NamedTuple):
    """One scale of the model F = g S + V: gain g, variance of V, variance of S; each ``(B, S, h, w)``."""

    gain: Tensor
    noise: Tensor
    signal: Tensor


def visual_information_fidelity(
    fused: Tensor,
    *sources: Tensor,
    flat: Literal["match", "one", "nan"] = "match",
    grid: Grid = "centred",
    cache: Cache = no_cache,
) -> Tensor:
    """Visual information fidelity per source (VIFp): the share of the source's visual information that is kept.

    ``VIFp = sum log(1 + g^2 var_S / (var_V + 2)) / sum log(1 + var_S / 2)`` over 4 scales and all windows, with the
    local model ``F = g S + V``: ``g = cov / var_S``, ``var_V = var_F - g cov``.

    Args:
        fused: ``(B, 1, H, W)``, 0..255, H and W above 40.
        sources: one or more of the same shape; only the truth for the full-reference VIFp.
        flat: the value for a constant source: 1 if the fused image is constant too, else 0 (``"match"``); 1; or NaN.
        grid: sampling of the Gaussian windows.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B, S)``; 1 for a copy, above 1 where contrast is enhanced.

    Source: Sheikh and Bovik, IEEE Trans. Image Process. 15, 2006, pixel domain (``vifp_mscale.m``).

    Example:
        >>> import torch
        >>> from fusionkit.metrics.vif import visual_information_fidelity
        >>> a = torch.arange(2304.0).double().view(1, 1, 48, 48) % 251
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> [round(x, 4) for x in visual_information_fidelity(fused, a, b).flatten().tolist()]
        [0.0923, 0.0923]
    """
    kept, given = sum(_information(m) for m in cache(_scales, fused, *sources, grid=grid))  # type: ignore[misc]
    empty = given == 0
    if flat == "match":
        whole = fused.flatten(1)
        nothing = (whole.amax(1) == whole.amin(1)).to(fused.dtype)[:, None]
    else:
        nothing = torch.full_like(given[:, :1], 1.0 if flat == "one" else torch.nan)
    return torch.where(empty, nothing, kept / torch.where(empty, 1.0, given))


def visual_information_fidelity_for_fusion(
    fused: Tensor, first: Tensor, second: Tensor, *, cache: Cache = no_cache
) -> Tensor:
    """Visual information fidelity for fusion (VIFF): the reference is chosen per window.

    ``VIFF = sum_k p_k F_k``, ``F_k = sum (log(1 + g^2 var_S / (var_V + n)) + 1e-7) / sum (log(1 + var_S / n) + 1e-7)``
    at scale k, S the source with the smaller g, n = 0.005 255^2, p = (1, 0, 0.15, 1) / 2.15; logarithms to base 10.

    Args:
        fused: ``(B, 1, H, W)``, 0..255, H and W above 40.
        first: A, the same shape.
        second: B, the same shape.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)``.

    Source: Han, Cai, Cao and Xu, Inf. Fusion 14, 2013.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.vif import visual_information_fidelity_for_fusion
        >>> a = torch.arange(2304.0).double().view(1, 1, 48, 48) % 251
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(visual_information_fidelity_for_fusion(fused, a, b).item(), 4)
        0.1115
    """
    total = torch.zeros_like(fused[:, 0, 0, 0])
    for weight, m in zip(FUSION_WEIGHTS, cache(_scales, fused, first, second, grid="centred"), strict=True):
        if weight == 0:
            continue
        c = _channel(m)
        lower = c.gain[:, :1] < c.gain[:, 1:]
        gain, noise, signal = (torch.where(lower, x[:, :1], x[:, 1:]) for x in c)
        kept = (1 + gain.square() * signal / (noise + FUSION_NOISE)).log10() + 1e-7
        given = (1 + signal / FUSION_NOISE).log10() + 1e-7
        total = total + weight * kept.sum((1, 2, 3)) / given.sum((1, 2, 3))
    return total


def _scales(fused: Tensor, *sources: Tensor, grid: Grid) -> list[Moments]:
    images = torch.cat((fused, *sources), 1)
    padding: Literal["valid", "zeros"] = "zeros" if grid == "skewed" else "valid"
    scales = []
    for size in (17, 9, 5, 3):
        taps = _skewed_taps(size) if grid == "skewed" else Window(size, size / 5).taps()
        if size < 17:
            images = filter_planes(images, taps, padding=padding, stride=2)
        scales.append(local_moments(images, taps, padding=padding))
    return scales


def _channel(m: Moments) -> _Channel:
    # Flat source: nothing to follow, all of F is noise. Flat F: nothing kept. Opposite slope: not fidelity.
    flat, deaf = m.var < EPSILON, m.var_fused < EPSILON
    gain = torch.where(flat | deaf, 0.0, m.cov / (m.var + EPSILON)).clamp(min=0)
    noise = torch.addcmul(m.var_fused, gain, m.cov, value=-1).clamp(min=EPSILON)
    return _Channel(gain, noise, torch.where(flat, 0.0, m.var))


def _information(m: Moments) -> Tensor:
    """``sum log(1 + g^2 var_S / (var_V + 2))`` and ``sum log(1 + var_S / 2)`` of one scale: ``(2, B, S)``."""
    total = []
    for rows in row_blocks(m.mean):
        c = _channel(Moments(*(part[:, :, rows] for part in m)))
        kept = (c.gain.square() * c.signal / (c.noise + NOISE)).log1p()
        total.append(torch.stack((kept.sum((2, 3)), (c.signal / NOISE).log1p().sum((2, 3)))))
    return torch.stack(total).sum(0)


def _skewed_taps(size: int) -> tuple[float, ...]:
    sigma, half = size / 5, (size + 1) / 2
    taps = [exp(-((i * size / (size - 1) - half) ** 2) / (2 * sigma**2)) for i in range(size)]
    return tuple(t / fsum(taps) for t in taps)


@dataclass(frozen=True, kw_only=True)
class VIFp(CachingMetric):
    """:func:`visual_information_fidelity`, summed or averaged over the sources."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="VIFp",
        aliases=("VIF",),
        title="visual information fidelity (pixel domain)",
        measures="how much of the information a viewer gets from the sources the fused image still gives",
        higher_is_better=True,
        range=(0.0, inf),
        unit="1",
        paper="Sheikh, Bovik, Image information and visual quality, IEEE Trans. Image Process. 15, 2006",
        equation="mean over S of sum log(1 + g^2 var_S / (var_V + 2)) / sum log(1 + var_S / 2), 4 scales",
        needs="sources",
        min_size=41,
        undefined="a constant source: 1 if the fused image is constant too, else 0",
        differentiable=True,
        notes=("tables that sum over two sources have twice the value", "neither VIFF nor the wavelet-domain VIF"),
    )
    reduction: Reduction = "mean"
    flat: Literal["match", "one", "nan"] = "match"
    grid: Grid = "centred"

    def measure(self, inputs: MetricInputs) -> Tensor:
        values = visual_information_fidelity(
            inputs.fused, *inputs.sources, flat=self.flat, grid=self.grid, cache=inputs.cache
        )
        return over_sources(values, self.reduction)


@dataclass(frozen=True, kw_only=True)
class VIFF(CachingMetric):
    """:func:`visual_information_fidelity_for_fusion`."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="VIFF",
        title="visual information fidelity for fusion",
        measures="visual information fidelity against, at each window, the source that is followed less steeply",
        higher_is_better=True,
        range=(0.0, inf),
        unit="1",
        paper="Han, Cai, Cao, Xu, A new image fusion performance metric based on VIF, Inf. Fusion 14, 2013",
        equation="sum_k p_k sum (log10(1 + g^2 var_S/(var_V + n)) + 1e-7) / sum (log10(1 + var_S/n) + 1e-7)",
        needs="sources",
        sources="two",
        symmetric=False,
        min_size=41,
        differentiable=True,
        notes=("where both gains are equal the second source counts, so the order can matter a little",),
    )

    def measure(self, inputs: MetricInputs) -> Tensor:
        return visual_information_fidelity_for_fusion(inputs.fused, *inputs.sources, cache=inputs.cache)


@dataclass(frozen=True, kw_only=True)
class TruthVIFp(CachingMetric):
    """:func:`visual_information_fidelity` with the truth."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="VIFp-truth",
        title="visual information fidelity with the truth",
        measures="how much of the information a viewer gets from the known result the fused image gives",
        higher_is_better=True,
        range=(0.0, inf),
        unit="1",
        paper="Sheikh, Bovik, Image information and visual quality, IEEE Trans. Image Process. 15, 2006",
        equation="sum log(1 + g^2 var_T / (var_V + 2)) / sum log(1 + var_T / 2), 4 scales",
        needs="truth",
        min_size=41,
        undefined="a constant truth: 1 if the fused image is constant too, else 0",
        differentiable=True,
    )

    def measure(self, inputs: MetricInputs) -> Tensor:
        assert inputs.truth is not None  # check() saw to it
        return visual_information_fidelity(inputs.fused, inputs.truth)[:, 0]
