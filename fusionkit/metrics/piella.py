"""Piella's quality indices: QS, QW and QE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import ratio, root
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.ssim import similarity_maps
from fusionkit.metrics.windows import Window, moments

__all__ = ["QE", "QS", "QW", "flat_windows", "piella", "piella_edge"]

Images = Literal["grey", "edges"]
"""Compared images: the images themselves, or the magnitudes of their Prewitt responses."""

LARGE = Window(11, 1.5)


def piella(
    fused: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    weighted: bool = False,
    images: Images = "grey",
    flat_variance: float = 0.5,
    window: Window = LARGE,
    cache: Cache = no_cache,
) -> Tensor:
    """Similarity to the sources, each weighted by its share of the local variance (Piella's QS and QW).

    ``q = l SSIM(A, F) + (1 - l) SSIM(B, F)`` per window, ``l = var A / (var A + var B)``. QS is the mean of q; QW
    weighs each window by ``max(var A, var B)``.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        weighted: QW instead of QS.
        images: compare the images, or the magnitudes of their Prewitt responses (zeros beyond the border).
        flat_variance: the variance that a window counts with where neither source varies. 0.5 is the toolbox's; with 0
            such windows have no weight in QW, unless there are no others.
        window: the local weights.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [-1, 1]; 1 where all images are one constant.

    Raises:
        UsageError: ``images`` is unknown.

    Source: Piella and Heijmans, ICIP 2003, with SSIM for their index as in Z. Liu's toolbox (``metricPeilla``).

    Example:
        >>> import torch
        >>> from fusionkit.metrics.piella import piella
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(piella(fused, a, b).item(), 4)
        0.7291
    """
    if images == "edges":
        fused, a, b = (cache(_prewitt, x) for x in (fused, a, b))
    elif images != "grey":
        raise UsageError(f"images {images!r} is unknown: {did_you_mean(images, ('grey', 'edges'))}")
    m = cache(moments, fused, a, b, window=window, padding="valid", sample=False)
    luminance, structure = similarity_maps(m)
    flat = torch.cat([cache(flat_windows, x, size=window.size) for x in (a, b)], 1)
    var = torch.where(flat, 0.0, m.var)
    both = flat.all(1, keepdim=True)
    share = torch.where(both, 0.5, ratio(var, var.sum(1, keepdim=True), 0.5))
    quality = (share * luminance * structure).sum(1, keepdim=True)
    if not weighted:
        return quality.mean((1, 2, 3))
    weight = torch.where(both, flat_variance, var.amax(1, keepdim=True))
    total = weight.sum((1, 2, 3))
    value = (weight * quality).sum((1, 2, 3))
    return torch.where(total == 0, quality.mean((1, 2, 3)), ratio(value, total))


def piella_edge(
    fused: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    edge_power: float = 1.0,
    flat_variance: float = 0.5,
    window: Window = LARGE,
    cache: Cache = no_cache,
) -> Tensor:
    """Piella's edge-dependent quality ``QE = QW(images) * QW(edge images)^alpha``; an edge factor below 0 counts as 0.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        edge_power: alpha, how much edges count, 0 to 1 in the paper.
        flat_variance: see :func:`piella`.
        window: the local weights.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [-1, 1]; 1 where all images are one constant.

    Source: Piella and Heijmans, ICIP 2003.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.piella import piella_edge
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(piella_edge(fused, a, b).item(), 4)
        0.6595
    """
    grey, edges = (
        piella(fused, a, b, weighted=True, images=images, flat_variance=flat_variance, window=window, cache=cache)
        for images in ("grey", "edges")
    )
    return grey * edges.clamp(min=0) ** edge_power


def flat_windows(image: Tensor, *, size: int) -> Tensor:
    """Find the windows whose pixels are all equal.

    Args:
        image: ``(B, 1, H, W)``.
        size: side of the window.

    Returns:
        ``(B, 1, H - size + 1, W - size + 1)``, boolean.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.piella import flat_windows
        >>> fused = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> flat_windows(fused.clamp(min=200), size=5).sum().item()
        101
    """
    rows = _all_along(_all_along(image[..., 1:] == image[..., :-1], size - 1, 3), size, 2)
    columns = _all_along(image[..., 1:, :] == image[..., :-1, :], size - 1, 2)
    return rows & columns[..., : rows.shape[-1]]


def _prewitt(image: Tensor) -> Tensor:
    """Magnitude of the Prewitt response, zeros beyond the border."""
    x = F.pad(image, (1, 1, 1, 1))
    across, down = x[..., 2:] - x[..., :-2], x[..., 2:, :] - x[..., :-2, :]
    gx = across[..., :-2, :] + across[..., 1:-1, :] + across[..., 2:, :]
    gy = down[..., :-2] + down[..., 1:-1] + down[..., 2:]
    return root(gx.square() + gy.square())


def _all_along(mask: Tensor, size: int, axis: int) -> Tensor:
    """Logical and of ``size`` neighbours along an axis."""
    length = mask.shape[axis] - size + 1
    result = mask.narrow(axis, 0, length)
    for k in range(1, size):
        result = result & mask.narrow(axis, k, length)
    return result


_SOURCE = "Piella, Heijmans, A new quality metric for image fusion, ICIP 2003"


@dataclass(frozen=True, kw_only=True)
class QS(CachingMetric):
    """:func:`piella`, unweighted, under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QS",
        title="Piella's fusion quality",
        measures="structural similarity to the sources, each counting by its share of the local variance",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper=_SOURCE,
        equation="mean(l SSIM(A, F) + (1 - l) SSIM(B, F)), l = var A / (var A + var B)",
        needs="sources",
        sources="two",
        min_size=LARGE.size,
        undefined="windows where neither source varies: both weigh 1/2",
        differentiable=True,
        notes=("agrees with Z. Liu's metricPeilla, 1; the paper has the universal index on 8 x 8 pixels for SSIM",),
    )

    def measure(self, inputs: MetricInputs) -> Tensor:
        return piella(inputs.fused, *inputs.sources, cache=inputs.cache)


@dataclass(frozen=True, kw_only=True)
class QW(CachingMetric):
    """:func:`piella`, weighted, under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QW",
        title="Piella's weighted fusion quality",
        measures="as QS, with windows counting by the greater variance of the sources",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper=_SOURCE,
        equation="sum(c (l SSIM(A, F) + (1 - l) SSIM(B, F))) / sum c, c = max(var A, var B)",
        needs="sources",
        sources="two",
        min_size=LARGE.size,
        undefined="windows where neither source varies: both weigh 1/2",
        differentiable=True,
        notes=(
            "agrees with Z. Liu's metricPeilla, 2; what MEFB calls Qw is images='edges'",
            "where both sources are flat the toolbox counts a variance of 0.5; it does so for black windows alone, "
            "elsewhere rounding decides",
        ),
    )
    images: Images = "grey"
    flat_variance: float = 0.5

    def measure(self, inputs: MetricInputs) -> Tensor:
        return piella(
            inputs.fused,
            *inputs.sources,
            weighted=True,
            images=self.images,
            flat_variance=self.flat_variance,
            cache=inputs.cache,
        )


@dataclass(frozen=True, kw_only=True)
class QE(CachingMetric):
    """:func:`piella_edge` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QE",
        title="Piella's edge-dependent fusion quality",
        measures="as QW, times the same of the edge images",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper=_SOURCE,
        equation="QW(A, B, F) QW(A', B', F')^alpha, A' the Prewitt magnitude of A",
        needs="sources",
        sources="two",
        min_size=LARGE.size,
        undefined="windows where neither source varies: both weigh 1/2",
        differentiable=True,
        notes=("Z. Liu's metricPeilla, 3, stops with an error; the edge factor agrees with MEFB's Qw",),
    )
    edge_power: float = 1.0
    flat_variance: float = 0.5

    def measure(self, inputs: MetricInputs) -> Tensor:
        return piella_edge(
            inputs.fused,
            *inputs.sources,
            edge_power=self.edge_power,
            flat_variance=self.flat_variance,
            cache=inputs.cache,
        )
