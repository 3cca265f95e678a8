"""Kingsbury's dual-tree complex wavelet transform in two dimensions, with q-shift filters.

Both trees live in one array: at every level the samples of tree a and tree b alternate along each axis, so that a
mirrored image stays a mirrored image in the transform and no border needs a case of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionkit_classical.borders import extend
from fusionkit_classical.complexfilters import FIRST_FILTERS, FirstFilter, QshiftFilter, QshiftPair, Taps, modulated

__all__ = ["ComplexPyramid", "forward", "inverse"]


@dataclass(frozen=True)
class ComplexPyramid:
    """A transformed image.

    Attributes:
        base: the low-pass image of the coarsest level, all four trees interleaved.
        details: one complex tensor ``(..., 6, h, w)`` per level, finest first; the six bands look along +-15, +-45
            and +-75 degrees.
        sizes: height and width that each level was given, finest first.
    """

    base: Tensor
    details: tuple[Tensor, ...]
    sizes: tuple[tuple[int, int], ...]


def _tap_sum(taps: Taps, shifted: list[Tensor]) -> Tensor:
    terms = [(tap, image) for tap, image in zip(taps, shifted, strict=True) if tap]
    total = terms[0][0] * terms[0][1]
    for tap, image in terms[1:]:
        total.add_(image, alpha=tap)
    return total


def _smooth(image: Tensor, taps: Taps) -> Tensor:
    """Filter the last axis with a symmetric filter of odd length."""
    length, radius = image.shape[-1], len(taps) // 2
    wide = extend(image, -1, radius, radius, border="symmetric")
    return _tap_sum(taps, [wide[..., n : n + length] for n in range(len(taps))])


def _interleave(first: Tensor, second: Tensor) -> Tensor:
    return torch.stack((first, second), -1).flatten(-2)


def _halve(image: Tensor, filters: tuple[Taps, Taps]) -> tuple[Tensor, Tensor]:
    """Filter and decimate each tree of the last axis: ``y[k] = sum_j h[j] x[4 k + m + o - 2 j]``, o = 0 even, 1 odd."""
    length, taps = image.shape[-1], len(filters[0])
    wide = extend(image, -1, taps, taps, border="symmetric")
    even, odd = (
        _tap_sum(h, [wide[..., 2 * taps + o - 2 * j :: 4][..., : length // 4] for j in range(taps)])
        for o, h in enumerate(filters)
    )
    return even, odd


def _double(even: Tensor, odd: Tensor, filters: tuple[Taps, Taps]) -> Tensor:
    """The transpose of :func:`_halve` on coefficients that are already extended by ``_margin`` on both sides."""
    taps = len(filters[0])
    margin = _margin(taps)
    count = even.shape[-1]
    room = 4 * count + 2 * taps + 4
    out = even.new_zeros((*even.shape[:-1], room))
    for o, (h, band) in enumerate(zip(filters, (even, odd), strict=True)):
        for j, tap in enumerate(h):
            if tap:
                # Coefficient k - margin lands on sample 4 (k - margin) + taps + o - 2 j; the buffer starts at
                # sample -4 margin - taps + 2.
                start = 2 * taps - 2 + o - 2 * j
                out[..., start : start + 4 * count : 4].add_(band, alpha=tap)
    first = 4 * margin + taps - 2
    return out[..., first : first + 4 * (count - 2 * margin)]


def _margin(taps: int) -> int:
    return -(-taps // 4) + 1


def _analyse(image: Tensor, pair: QshiftPair) -> tuple[Tensor, Tensor]:
    """One q-shift level along the last axis: interleaved low-pass and high-pass, each half as long."""
    low = _interleave(*_halve(image, pair.low))
    # The two trees' high-pass samples stand at one place; this order keeps the mirror at the border.
    even, odd = _halve(image, pair.high)
    return low, _interleave(odd, even)


def _synthesise(low: Tensor, high: Tensor, pair: QshiftPair) -> Tensor:
    """The inverse of :func:`_analyse`."""
    margin = 2 * _margin(len(pair.low[0]))
    low, high = (extend(band, -1, margin, margin, border="symmetric") for band in (low, high))
    rebuilt = _double(low[..., 0::2], low[..., 1::2], pair.low)
    return rebuilt + _double(high[..., 1::2], high[..., 0::2], pair.high)


def _to_complex(quads: Tensor) -> tuple[Tensor, Tensor]:
    """The two complex bands in 2x2 quads of real ones: one looks up to the right, one down to the right."""
    a, b = quads[..., 0::2, 0::2], quads[..., 0::2, 1::2]
    c, d = quads[..., 1::2, 0::2], quads[..., 1::2, 1::2]
    return torch.complex(a - d, b + c) * math.sqrt(0.5), torch.complex(a + d, b - c) * math.sqrt(0.5)


def _to_quads(first: Tensor, second: Tensor) -> Tensor:
    """The inverse of :func:`_to_complex`."""
    total, gap = (first + second) * math.sqrt(0.5), (second - first) * math.sqrt(0.5)
    top = _interleave(total.real, total.imag)
    bottom = _interleave(-gap.imag, gap.real)
    return torch.stack((top, bottom), -2).flatten(-3, -2)


def _pack(low_high: Tensor, high_high: Tensor, high_low: Tensor) -> Tensor:
    return torch.stack([band for quads in (low_high, high_high, high_low) for band in _to_complex(quads)], -3)


def _unpack(details: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    bands = details.unbind(-3)
    return _to_quads(*bands[0:2]), _to_quads(*bands[2:4]), _to_quads(*bands[4:6])


def _split_first(image: Tensor, first: FirstFilter) -> tuple[Tensor, Tensor]:
    """Level 1 along the last axis: low-pass and high-pass, not decimated."""
    analysis, synthesis = FIRST_FILTERS[first]
    return _smooth(image, analysis), _smooth(image, modulated(synthesis))


def _merge_first(low: Tensor, high: Tensor, first: FirstFilter) -> Tensor:
    """The inverse of :func:`_split_first`."""
    analysis, synthesis = FIRST_FILTERS[first]
    return _smooth(low, synthesis) + _smooth(high, modulated(analysis))


def _split(image: Tensor, split: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Split along rows, then along columns: the low-pass image and its packed details."""
    low, high = split(image)
    low_low, high_low = (part.mT for part in split(low.mT))
    low_high, high_high = (part.mT for part in split(high.mT))
    return low_low, _pack(low_high, high_high, high_low)


def _merge(image: Tensor, details: Tensor, merge: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The inverse of :func:`_split`."""
    low_high, high_high, high_low = _unpack(details)
    return merge(merge(image.mT, high_low.mT).mT, merge(low_high.mT, high_high.mT).mT)


def _pad(image: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    wide = extend(image, -1, before[1], after[1], border="edge")
    return extend(wide, -2, before[0], after[0], border="edge")


def forward(image: Tensor, levels: int, *, first: FirstFilter = "legall", qshift: QshiftFilter = "6") -> ComplexPyramid:
    """Transform an image.

    Args:
        image: ``(..., H, W)``, real; any size.
        levels: halvings, 1 or more.
        first: filters of level 1.
        qshift: filters of the levels above it.

    Returns:
        The pyramid: level l has six complex bands of about ``H / 2^l x W / 2^l``; four times as many numbers as
        the image in all.

    Source: Kingsbury, "Complex Wavelets for Shift Invariant Analysis and Filtering of Signals", Applied and
    Computational Harmonic Analysis 10(3), 2001.
    """
    pair = QshiftPair.of(qshift)
    sizes, details = [], []
    for level in range(levels):
        height, width = image.shape[-2:]
        sizes.append((height, width))
        if level == 0:
            image = _pad(image, (0, 0), (height % 2, width % 2))
            image, bands = _split(image, lambda x: _split_first(x, first))
        else:
            # Lengths are even here; the two trees need a multiple of four.
            edge = (height % 4 // 2, width % 4 // 2)
            image, bands = _split(_pad(image, edge, edge), lambda x: _analyse(x, pair))
        details.append(bands)
    return ComplexPyramid(image, tuple(details), tuple(sizes))


def inverse(pyramid: ComplexPyramid, *, first: FirstFilter = "legall", qshift: QshiftFilter = "6") -> Tensor:
    """Rebuild the image of a pyramid; exact for one that :func:`forward` gave with the same filters."""
    pair = QshiftPair.of(qshift)
    image = pyramid.base
    for level in reversed(range(len(pyramid.details))):
        height, width = pyramid.sizes[level]
        if level == 0:
            image = _merge(image, pyramid.details[level], lambda low, high: _merge_first(low, high, first))
            top, left = 0, 0
        else:
            image = _merge(image, pyramid.details[level], lambda low, high: _synthesise(low, high, pair))
            top, left = height % 4 // 2, width % 4 // 2
        image = image[..., top : top + height, left : left + width]
    return image
