"""Yang's quality (QY) and Cvejic's quality (QC): structural similarity to two sources, weighted per window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.windows import Window, moments

__all__ = ["QC", "QY", "cvejic", "yang"]

Clip = Literal["quality", "weight"]
"""Quantity that is clipped to [0, 1] where the covariances have opposite signs: the quality or the weight."""

Rounding = Literal["exact", "toolbox"]
"""``exact``: variances and covariances that are 0 but for rounding are 0, and every 0/0 has a value. ``toolbox``: the
local moments are summed in the order of the published code under Octave, tap by tap with fused multiply-adds, so that
what cancellation leaves is the same to the last bit; it decides the value of flat windows, and 0/0 is NaN."""

WINDOW = Window(7, 1.5)
TINY = 2e-16
"""Constants of the similarity, so small that they matter only in flat windows."""

NEGLIGIBLE = 1e-9
"""Covariance in squared grey levels below which a window counts as flat; of 8-bit images none but 0 is as small."""


def yang(
    fused: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    threshold: float = 0.75,
    rounding: Rounding = "exact",
    drop_undefined: bool = False,
    cache: Cache = no_cache,
) -> Tensor:
    """Similarity to both sources where they are similar, else to the more similar one (Yang's QY).

    ``l S(A, F) + (1 - l) S(B, F)`` where ``S(A, B) >= 0.75``, ``l = var A / (var A + var B)``, else
    ``max(S(A, F), S(B, F))``; S is SSIM with a 7 x 7 Gaussian window of sigma 1.5 and constants of 2e-16. ``l = 1/2``
    where both sources are flat. Computed in float64 whatever the dtype.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        threshold: minimum similarity of the sources for both to count.
        rounding: how flat windows are treated.
        drop_undefined: leave windows that are NaN out of the mean, as MEFB does; matters only for ``toolbox``.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [-1, 1]; 1 where all images are one constant. ``toolbox`` can give any number, and NaN.

    Raises:
        UsageError: ``rounding`` is unknown.

    Source: Yang, Zhang, Wang and Liu, Inf. Fusion 9, 2008, with the constants of Z. Liu's toolbox (``metricYang``).

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qy_qc import yang
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(yang(fused, a, b).item(), 4)
        0.7039
    """
    m = cache(_local_moments, *(cache(_double, x) for x in (fused, a, b)), rounding=rounding)
    similar_a, similar_b = m.similarity(0, 1), m.similarity(0, 2)
    share = _share(m.cov[1, 1], m.cov[2, 2], rounding)
    alike = (m.similarity(1, 2) >= threshold).double()
    blend = share * similar_a + (1 - share) * similar_b
    quality = alike * blend + (1 - alike) * torch.maximum(similar_a, similar_b)
    return _mean(quality, drop_undefined).to(fused.dtype)


def cvejic(
    fused: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    clip: Clip = "quality",
    rounding: Rounding = "exact",
    drop_undefined: bool = False,
    cache: Cache = no_cache,
) -> Tensor:
    """Similarity to the sources, each weighted by its share of the covariance with the fused image (Cvejic's QC).

    ``q = s S(A, F) + (1 - s) S(B, F)``, ``s = cov(A, F) / (cov(A, F) + cov(B, F))``, S as in :func:`yang`. Where s is
    outside [0, 1], q is 0 below and 1 above: so all published code has it. The paper cuts s off instead
    (``clip="weight"``). ``s = 1/2`` where both covariances are 0. Computed in float64 whatever the dtype.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        clip: what is clipped where s is outside [0, 1].
        rounding: how flat windows are treated. Where one source is flat, s is 1 or 0 but for rounding, and q jumps
            there: with ``toolbox`` the sign of a rounding error chooses between 1 and S.
        drop_undefined: leave windows that are NaN out of the mean, as MEFB does; matters only for ``toolbox``.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)`` in [-1, 1]; 1 where all images are one constant, nearly 0 where the fused image alone is one.
        ``toolbox`` can give any number, and NaN.

    Raises:
        UsageError: ``clip`` or ``rounding`` is unknown.

    Source: Cvejic, Loza, Bull and Canagarajah, Int. J. Signal Process. 2, 2005; Z. Liu's toolbox (``metricCvejic``, 2).

    Example:
        >>> import torch
        >>> from fusionkit.metrics.qy_qc import cvejic
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(cvejic(fused, a, b).item(), 4)
        0.6957
    """
    if clip not in ("quality", "weight"):
        raise UsageError(f"clip {clip!r} is unknown: {did_you_mean(clip, ('quality', 'weight'))}")
    m = cache(_local_moments, *(cache(_double, x) for x in (fused, a, b)), rounding=rounding)
    share = _share(m.cov[0, 1], m.cov[0, 2], rounding)
    inside = share.clamp(0, 1)
    quality = inside * m.similarity(0, 1) + (1 - inside) * m.similarity(0, 2)
    if clip == "quality":
        quality = torch.where(share == inside, quality, inside)
    return _mean(quality, drop_undefined).to(fused.dtype)


class _LocalMoments(NamedTuple):
    """Means and covariances of the fused image (0) and both sources (1, 2) under the window, ``(B, 1, h, w)`` each."""

    mean: tuple[Tensor, ...]
    cov: dict[tuple[int, int], Tensor]

    def similarity(self, x: int, y: int) -> Tensor:
        """SSIM's map with constants of 2e-16."""
        mean_x, mean_y = self.mean[x], self.mean[y]
        luminance = (2 * mean_x * mean_y + TINY) / (mean_x.square() + mean_y.square() + TINY)
        return luminance * ((2 * self.cov[x, y] + TINY) / (self.cov[x, x] + self.cov[y, y] + TINY))


PAIRS = tuple(combinations_with_replacement(range(3), 2))


def _local_moments(fused: Tensor, a: Tensor, b: Tensor, *, rounding: Rounding) -> _LocalMoments:
    images = (fused, a, b)
    if rounding == "toolbox":
        planes = torch.cat([*images, *(images[i] * images[j] for i, j in PAIRS)], 1)
        filtered = list(_accumulated(planes)[:, :, None].unbind(1))
        mean, product = tuple(filtered[:3]), filtered[3:]
        return _LocalMoments(mean, {p: q - mean[p[0]] * mean[p[1]] for p, q in zip(PAIRS, product, strict=True)})
    if rounding != "exact":
        raise UsageError(f"rounding {rounding!r} is unknown: {did_you_mean(rounding, ('exact', 'toolbox'))}")
    with_fused, sources = moments(fused, a, b, window=WINDOW), moments(a, b, window=WINDOW)
    cov = {
        (0, 0): with_fused.var_fused,
        (0, 1): with_fused.cov[:, :1],
        (0, 2): with_fused.cov[:, 1:],
        (1, 1): with_fused.var[:, :1],
        (2, 2): with_fused.var[:, 1:],
        (1, 2): sources.cov,
    }
    # What cancellation leaves of a zero is near 1e-12: it would swamp the constants, and its sign decide QC.
    cov = {pair: torch.where(value.abs() < NEGLIGIBLE, 0.0, value) for pair, value in cov.items()}
    return _LocalMoments((with_fused.mean_fused, with_fused.mean[:, :1], with_fused.mean[:, 1:]), cov)


def _accumulated(planes: Tensor) -> Tensor:
    """Filter with the two-dimensional window as Octave's ``conv2`` does: from the last column and row to the first."""
    size, sigma = WINDOW.size, 1.5
    reach = range(-(size // 2), size // 2 + 1)
    window = [math.exp(-(x * x + y * y) / (2 * sigma**2)) for x in reach for y in reach]
    total = 0.0
    for tap in window:
        total += tap
    height, width = planes.shape[-2] - size + 1, planes.shape[-1] - size + 1
    result = planes.new_zeros(*planes.shape[:2], height, width)
    for n, tap in enumerate(window):
        column, row = size - 1 - n // size, size - 1 - n % size
        result.add_(planes[..., row : row + height, column : column + width], alpha=tap / total)
    return result


def _share(first: Tensor, second: Tensor, rounding: Rounding) -> Tensor:
    total = first + second
    return first / total if rounding == "toolbox" else ratio(first, total, 0.5)


def _mean(quality: Tensor, drop_undefined: bool) -> Tensor:
    return quality.nanmean((1, 2, 3)) if drop_undefined else quality.mean((1, 2, 3))


def _double(image: Tensor) -> Tensor:
    return image.double()


@dataclass(frozen=True, kw_only=True)
class QY(CachingMetric):
    """:func:`yang` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QY",
        title="Yang's quality",
        measures="structural similarity to both sources where they agree, to the better one where they do not",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Yang, Zhang, Wang, Liu, A novel similarity based quality metric for image fusion, Inf. Fusion 9, 2008",
        equation="mean(l S(A, F) + (1 - l) S(B, F) if S(A, B) >= .75 else max(S(A, F), S(B, F)))",
        needs="sources",
        sources="two",
        min_size=WINDOW.size,
        undefined="windows where neither source varies: both weigh 1/2",
        notes=(
            "agrees with Z. Liu's metricYang and MEFB's Qy where no window is flat; in flat windows theirs is made of "
            "rounding errors, and can be in the thousands: rounding='toolbox' repeats them",
        ),
    )
    threshold: float = 0.75
    rounding: Rounding = "exact"
    drop_undefined: bool = False

    def measure(self, inputs: MetricInputs) -> Tensor:
        return yang(
            inputs.fused,
            *inputs.sources,
            threshold=self.threshold,
            rounding=self.rounding,
            drop_undefined=self.drop_undefined,
            cache=inputs.cache,
        )


@dataclass(frozen=True, kw_only=True)
class QC(CachingMetric):
    """:func:`cvejic` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QC",
        title="Cvejic's quality",
        measures="structural similarity to the sources, each counting by its share of the covariance with the result",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Cvejic, Loza, Bull, Canagarajah, A similarity metric for assessment of image fusion algorithms, 2005",
        equation="mean(s S(A, F) + (1 - s) S(B, F)), s = cov(A, F) / (cov(A, F) + cov(B, F)); 0 if s < 0, 1 if s > 1",
        needs="sources",
        sources="two",
        symmetric=False,
        min_size=WINDOW.size,
        undefined="windows where both covariances are 0: both sources weigh 1/2",
        notes=(
            "agrees with Z. Liu's metricCvejic, 2, and MEFB's Qc where no window is flat; in flat windows theirs is "
            "made of rounding errors: rounding='toolbox' repeats them",
            "the paper cuts the weight s off at 0 and 1, all published code the quality, which makes the order of the "
            "sources matter: clip='weight' is the paper's",
        ),
    )
    clip: Clip = "quality"
    rounding: Rounding = "exact"
    drop_undefined: bool = False

    def measure(self, inputs: MetricInputs) -> Tensor:
        return cvejic(
            inputs.fused,
            *inputs.sources,
            clip=self.clip,
            rounding=self.rounding,
            drop_undefined=self.drop_undefined,
            cache=inputs.cache,
        )
