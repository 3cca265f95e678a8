"""Feature mutual information (FMI) of grey levels, gradients, DCT and wavelet coefficients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pywt
import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.gradients import central_differences
from fusionkit.metrics.inputs import Cache, CachingMetric, MetricInputs, no_cache
from fusionkit.metrics.native.library import load_native_fmi

__all__ = ["FMIDCT", "FMIGradient", "FMIPixel", "FMIWavelet", "Feature", "feature_map", "feature_mutual_information"]

Feature = Literal["pixels", "gradient", "dct", "wavelet"]
"""Compared feature: grey levels, their derivative along x, the cosine transform of the whole image, or the four bands
of one level of the discrete Meyer wavelet, side by side and scaled to [0, 1] together."""

WINDOWS_AT_ONCE = {"cpu": 1 << 12, "cuda": 1 << 16}
"""Number of windows processed together: what fits a CPU's cache, and what fills a GPU."""


def feature_mutual_information(
    fused: Tensor, *sources: Tensor, feature: Feature = "pixels", window: int = 3, cache: Cache = no_cache
) -> Tensor:
    """Mean normalised mutual information of local features (FMI, the fast algorithm).

    Every 3 x 3 window of a feature map, scaled from its least to its greatest value (all ones where it is flat) and
    divided by its sum, is a distribution p over 9 positions, read down the columns. The joint distribution of two is
    ``phi J + (1 - phi) p q``, J the Frechet bound, upper where the correlation c of the values p and q is at least 0
    and lower where not; ``phi = c / r``, r the correlation of the positions under J. Per window
    ``2 (H(p) + H(q) - H(p, q)) / (H(p) + H(q))``, 1 where the windows are equal or both flat; FMI is the mean over
    windows and sources. Computed in float64 whatever the dtype, on a CPU by compiled code where the package has it.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        sources: one or more of the same shape.
        feature: what is compared.
        window: side of the windows, odd.
        cache: shares intermediates, see :class:`fusionkit.metrics.inputs.Cache`.

    Returns:
        ``(B,)``, 0 or more, 1 where the sources equal the fused image. A window that is nearly all in one pixel can
        exceed 1, because phi can.

    Raises:
        UsageError: ``feature`` is unknown, or ``window`` is even or below 3.

    Source: Haghighat, Aghagolzadeh and Seyedarabi, Comput. Electr. Eng. 37, 2011; Haghighat and Razian, AICT 2014.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.fmi import feature_mutual_information
        >>> a = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> b, fused = a.mT, (a + a.mT) / 2
        >>> round(feature_mutual_information(fused, a, b).item(), 4)
        0.4258
    """
    if window < 3 or window % 2 == 0:
        raise UsageError(f"window {window} is out of range: FMI takes odd sides from 3")
    features = [cache(feature_map, x, feature=feature) for x in (fused, *sources)]
    height, width = (max(side - window + 1, 0) for side in features[0].shape[-2:])
    on_cpu = features[0].device.type == "cpu" and not any(x.requires_grad for x in features)
    native = load_native_fmi() if on_cpu else None
    total = _summed(features, window) if native is None else native(features, window)
    return (total / (height * width * len(sources))).to(fused.dtype)


def _summed(features: list[Tensor], window: int) -> Tensor:
    """Sum over windows and sources, ``(B,)``, by PyTorch: on a GPU, for gradients, and where nothing was compiled."""
    total = features[0].new_zeros(features[0].shape[0])
    for of_fused, *of_sources in _slabs(features, window):
        f = _distribution(of_fused)
        for patches in of_sources:
            s = _distribution(patches)
            equal = (patches == of_fused).all(0).flatten() | (s.flat & f.flat)
            value = torch.where(equal, 1.0, _normalised_information(s, f))
            total = total + value.view(total.shape[0], -1).sum(1)
    return total


def feature_map(image: Tensor, *, feature: Feature) -> Tensor:
    """Compute the features of an image that FMI compares.

    Args:
        image: ``(B, 1, H, W)``.
        feature: which.

    Returns:
        ``(B, 1, h, w)`` float64, of the image's size; wavelet bands are longer by the filter's length.

    Raises:
        UsageError: ``feature`` is unknown.

    Example:
        >>> import torch
        >>> from fusionkit.metrics.fmi import feature_map
        >>> fused = torch.arange(256.0).double().view(1, 1, 16, 16)
        >>> [round(x, 4) for x in feature_map(fused, feature="gradient")[0, 0, 0, :2].flatten().tolist()]
        [1.0, 1.0]
    """
    image = image.double()
    if feature == "pixels":
        return image
    if feature == "gradient":
        return central_differences(image)[0]
    if feature == "dct":
        down, across = (_cosines(n).to(image.device) for n in image.shape[-2:])
        coefficients = down @ image @ across.T
        # Of a flat image all but one are 0 but for rounding, which the scaling of windows would blow up.
        return torch.where(coefficients.abs() < 1e-9, 0.0, coefficients)
    if feature == "wavelet":
        # PyWavelets on the host, for tensors of any device: where an image is flat the details are rounding errors,
        # which the scaling of windows blows up, so that only the same sums give the same value.
        planes = pywt.dwt2(image.detach().cpu().numpy(), "dmey", mode="symmetric", axes=(2, 3))
        approximation, (horizontal, vertical, diagonal) = planes
        tiles = np.block([[approximation, horizontal], [vertical, diagonal]])
        bands = torch.from_numpy(tiles).to(image.device)
        least = bands.amin((-2, -1), keepdim=True)
        return ratio(bands - least, bands.amax((-2, -1), keepdim=True) - least, 1.0)
    known = ("pixels", "gradient", "dct", "wavelet")
    raise UsageError(f"feature {feature!r} is unknown: {did_you_mean(feature, known)}")


class _Distributions(NamedTuple):
    """Distributions over the K positions of N windows.

    Attributes:
        p: ``(K, N)``, sums to 1 over K.
        below: cumulated probability before each position, ``(K, N)``.
        upto: the same with the position, ``(K, N)``.
        flat: where the window is flat, ``(N,)``.
        centred: p less its mean, 0 exactly where the window is flat, ``(K, N)``.
        entropy: in nats, ``(N,)``.
        mean: of the position 1..K, ``(N,)``.
        deviation: standard deviation of the position, ``(N,)``.
    """

    p: Tensor
    below: Tensor
    upto: Tensor
    flat: Tensor
    centred: Tensor
    entropy: Tensor
    mean: Tensor
    deviation: Tensor


def _slabs(features: list[Tensor], window: int) -> Iterator[list[Tensor]]:
    """Windows of bands of rows: for each map ``(K, B, rows, w)``, positions first, read down the columns."""
    batch, _, height, width = features[0].shape
    across = width - window + 1
    rows = max(1, WINDOWS_AT_ONCE.get(features[0].device.type, 1 << 12) // (batch * across))
    for top in range(0, height - window + 1, rows):
        bottom = min(top + rows, height - window + 1)
        yield [
            torch.stack([x[:, 0, top + r : bottom + r, c : c + across] for c in range(window) for r in range(window)])
            for x in features
        ]


def _distribution(patches: Tensor) -> _Distributions:
    patches = patches.flatten(1)
    least, greatest = patches.amin(0), patches.amax(0)
    scaled = ratio(patches - least, greatest - least, 1.0)
    p = scaled / scaled.sum(0)
    flat = least == greatest
    centred = torch.where(flat, 0.0, p - p.mean(0))
    upto = p.cumsum(0)
    below = torch.cat((torch.zeros_like(upto[:1]), upto[:-1]))
    position = torch.arange(1, len(p) + 1, dtype=p.dtype, device=p.device)
    mean = position @ p
    variance = position.square() @ p - mean.square()
    entropy = torch.special.entr(p).sum(0)
    return _Distributions(p, below, upto, flat, centred, entropy, mean, variance.clamp(min=0).sqrt())


def _normalised_information(x: _Distributions, y: _Distributions) -> Tensor:
    """``2 (H(x) + H(y) - H(x, y)) / (H(x) + H(y))`` of every window, ``(N,)``; 0 where both entropies are 0."""
    product = (x.centred * y.centred).sum(0)
    scale = (x.centred.square().sum(0) * y.centred.square().sum(0)).sqrt()
    correlation = ratio(product, scale)
    # A Frechet bound pairs equal quantiles (upper) or opposite ones (lower): its mass is the overlap of two intervals.
    lower = correlation < 0
    below = torch.where(lower, 1 - x.upto, x.below)
    upto = torch.where(lower, 1 - x.below, x.upto)
    bound = torch.minimum(upto[:, None], y.upto) - torch.maximum(below[:, None], y.below)
    bound.clamp_(min=0)
    position = torch.arange(1, len(bound) + 1, dtype=bound.dtype, device=bound.device)
    moment = torch.outer(position, position).flatten() @ bound.flatten(0, 1)
    phi = ratio(correlation * x.deviation * y.deviation, moment - x.mean * y.mean)
    phi = torch.where((x.deviation == 0) | (y.deviation == 0), 0.0, phi)
    independent = x.p[:, None] * y.p
    joint = bound.sub_(independent).mul_(phi).add_(independent)
    # phi can exceed 1, and the joint distribution then has negative parts: they count with log |p|.
    logarithm = joint.abs().clamp_(min=torch.finfo(joint.dtype).tiny).log_()
    joint_entropy = -joint.mul_(logarithm).sum((0, 1))
    entropies = x.entropy + y.entropy
    return ratio(2 * (entropies - joint_entropy).clamp(min=0), entropies)


@lru_cache(maxsize=8)
def _cosines(count: int) -> Tensor:
    """The orthonormal cosine transform (type II) as a matrix."""
    k = torch.arange(count, dtype=torch.float64)
    matrix = torch.cos(math.pi / (2 * count) * k[:, None] * (2 * k + 1)) * math.sqrt(2 / count)
    matrix[0] = math.sqrt(1 / count)
    return matrix


class _FMI(CachingMetric):
    """:func:`feature_mutual_information` of one feature."""

    feature: ClassVar[Feature]
    window: int

    @property
    def min_size(self) -> int:
        return self.window

    def measure(self, inputs: MetricInputs) -> Tensor:
        return feature_mutual_information(
            inputs.fused, *inputs.sources, feature=self.feature, window=self.window, cache=inputs.cache
        )


def _info(name: str, feature: str, *notes: str) -> MetricInfo:
    return MetricInfo(
        name=name,
        title=f"feature mutual information of {feature}",
        measures=f"how much the {feature} of the fused image tell of the sources', window by window",
        higher_is_better=True,
        range=(0.0, math.inf),
        unit="1",
        paper="Haghighat, Razian, Fast-FMI: non-reference image fusion metric, AICT 2014",
        equation="mean over S and windows of 2 (H(S) + H(F) - H(S, F)) / (H(S) + H(F))",
        needs="sources",
        min_size=3,
        undefined="flat windows: 1 where both are flat, 0 where one is",
        notes=(
            "agrees with the authors' code; what MEFB calls FMI and Tang's evaluation FMI_pixel is its default, "
            "binary edge maps, which need MATLAB",
            "on real images in [0, 1]; single windows can exceed 1",
            *notes,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class FMIPixel(_FMI):
    """:func:`feature_mutual_information` of grey levels."""

    info: ClassVar[MetricInfo] = _info("FMI-pixel", "grey levels")
    feature: ClassVar[Feature] = "pixels"
    window: int = 3


@dataclass(frozen=True, kw_only=True)
class FMIGradient(_FMI):
    """:func:`feature_mutual_information` of derivatives along x."""

    info: ClassVar[MetricInfo] = _info("FMI-gradient", "horizontal derivatives")
    feature: ClassVar[Feature] = "gradient"
    window: int = 3


@dataclass(frozen=True, kw_only=True)
class FMIDCT(_FMI):
    """:func:`feature_mutual_information` of the coefficients of the cosine transform."""

    info: ClassVar[MetricInfo] = _info("FMI-dct", "cosine transform coefficients")
    feature: ClassVar[Feature] = "dct"
    window: int = 3


@dataclass(frozen=True, kw_only=True)
class FMIWavelet(_FMI):
    """:func:`feature_mutual_information` of discrete Meyer wavelet coefficients."""

    info: ClassVar[MetricInfo] = _info(
        "FMI-wavelet", "Meyer wavelet coefficients", "flat areas count by the rounding errors of the transform"
    )
    feature: ClassVar[Feature] = "wavelet"
    window: int = 3
