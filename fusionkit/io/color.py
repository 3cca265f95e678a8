"""Colour of fused images: full-range YCrCb and the chroma fusion rule of the field, as pure functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.errors import UsageError

__all__ = ["ChromaSum", "chroma_of", "fit_gamut", "fuse_chroma", "luminance", "rgb_to_ycrcb", "ycrcb_to_rgb"]

# ITU-R BT.601 luma and the chroma scales as OpenCV and kornia round them. The inverse is derived from them, so that
# it is exact; OpenCV (and kornia before 0.9) rounds the inverse too and drifts by 3e-4 in a round trip.
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114
_CR, _CB = 0.713, 0.564
_NEUTRAL = 0.5


def luminance(image: Tensor) -> Tensor:
    r"""Convert to luminance: :math:`Y = 0.299 R + 0.587 G + 0.114 B`; one channel is its own luminance.

    Args:
        image: ``(B, C, H, W)``, C 1 or 3, in [0, 1].

    Returns:
        ``(B, 1, H, W)`` in [0, 1].

    Raises:
        fusionkit.errors.UsageError: the image has another shape.
    """
    _check(image, (1, 3))
    if image.shape[1] == 1:
        return image
    red, green, blue = image[:, 0:1], image[:, 1:2], image[:, 2:3]
    return _RED * red + _GREEN * green + _BLUE * blue


def rgb_to_ycrcb(image: Tensor) -> Tensor:
    r"""Convert RGB to full-range YCrCb.

    .. math:: Cr = 0.713 (R - Y) + 0.5, \quad Cb = 0.564 (B - Y) + 0.5

    Agrees with ``cv2.COLOR_RGB2YCrCb`` on floats to rounding, and with its 8-bit form to one grey level.

    Args:
        image: ``(B, 3, H, W)`` in [0, 1].

    Returns:
        ``(B, 3, H, W)``: Y, Cr, Cb; neutral chroma is 0.5.

    Raises:
        fusionkit.errors.UsageError: the image has another shape.

    Source:
        ITU-R BT.601; JFIF full range; constants of OpenCV.
    """
    _check(image, (3,))
    return torch.cat([luminance(image), chroma_of(image)], dim=1)


def chroma_of(image: Tensor) -> Tensor:
    """Convert RGB ``(B, 3, H, W)`` to the chroma of :func:`rgb_to_ycrcb`: ``(B, 2, H, W)``, Cr and Cb.

    Raises:
        fusionkit.errors.UsageError: the image has another shape.
    """
    _check(image, (3,))
    y = luminance(image)
    return torch.cat([_CR * (image[:, 0:1] - y) + _NEUTRAL, _CB * (image[:, 2:3] - y) + _NEUTRAL], dim=1)


def ycrcb_to_rgb(image: Tensor) -> Tensor:
    r"""Convert full-range YCrCb to RGB: the exact inverse of :func:`rgb_to_ycrcb`.

    .. math:: R = Y + (Cr - 0.5) / 0.713, \quad B = Y + (Cb - 0.5) / 0.564, \quad
              G = (Y - 0.299 R - 0.114 B) / 0.587

    Args:
        image: ``(B, 3, H, W)``: Y, Cr, Cb.

    Returns:
        ``(B, 3, H, W)``; not clamped: chroma that the luminance cannot carry leads out of [0, 1].

    Raises:
        fusionkit.errors.UsageError: the image has another shape.
    """
    _check(image, (3,))
    y, cr, cb = image[:, 0:1], image[:, 1:2], image[:, 2:3]
    red = y + (cr - _NEUTRAL) / _CR
    blue = y + (cb - _NEUTRAL) / _CB
    green = y - (_RED * (red - y) + _BLUE * (blue - y)) / _GREEN
    return torch.cat([red, green, blue], dim=1)


def fit_gamut(image: Tensor) -> Tensor:
    r"""Convert full-range YCrCb to RGB in [0, 1], keeping the luminance: chroma outside the gamut is scaled down.

    Every pixel's chroma is scaled by the largest factor that keeps its three channels in [0, 1]; the hue stays too:

    .. math:: s = \min\left(1, \min_{k:\, d_k > 0} \frac{1 - Y}{d_k}, \min_{k:\, d_k < 0} \frac{Y}{-d_k}\right),
              \qquad RGB_k = Y + s\, d_k

    with :math:`d` the departures of :func:`ycrcb_to_rgb` from :math:`Y`. Clipping each channel instead changes the
    luminance, most where a colour is saturated and the luminance is near black or white.

    Args:
        image: ``(B, 3, H, W)``: Y, Cr, Cb; Y in [0, 1], neutral chroma is 0.5.

    Returns:
        ``(B, 3, H, W)`` in [0, 1]; its :func:`luminance` is Y.

    Raises:
        fusionkit.errors.UsageError: the image has another shape.
    """
    y = image[:, 0:1]
    departures = ycrcb_to_rgb(image) - y
    # How many times a departure exceeds its room. Where one is above zero another is below, so that a pixel without
    # any has no quotient of two zeros: the smallest number is large beside no room and small beside any other.
    least, greatest = departures.amin(1, keepdim=True), departures.amax(1, keepdim=True)
    tiny = torch.finfo(image.dtype).tiny
    excess = torch.maximum(greatest.clamp(min=tiny) / (1 - y), least.neg().clamp(min=tiny) / y)
    return (y + departures / excess.clamp(min=1)).clamp(0, 1)


def fuse_chroma(*chroma: Tensor, tau: float = _NEUTRAL) -> Tensor:
    r"""Fuse chroma channels of two or more sources, weighted by their distance from neutral.

    .. math:: C_f = \frac{\sum_k C_k |C_k - \tau|}{\sum_k |C_k - \tau|}

    Where all sources are neutral the result is neutral. A grey source has weight 0.

    Args:
        chroma: one tensor ``(B, C, H, W)`` per source, in [0, 1], all of one shape.
        tau: neutral chroma: 0.5 in [0, 1], 128 for 8-bit values as floats.

    Returns:
        ``(B, C, H, W)``, within the range of the sources' chroma.

    Raises:
        fusionkit.errors.UsageError: no source, or sources of different shapes.

    Source:
        Bai et al., ReFusion, IJCV 2025, eq. (15); for more than two sources the same weights.
    """
    if not chroma:
        raise UsageError("fuse_chroma: at least one source is needed")
    shapes = {tuple(c.shape) for c in chroma}
    if len(shapes) > 1:
        raise UsageError(f"fuse_chroma: sources of one shape are needed, got {sorted(shapes)}")
    total = ChromaSum(tau)
    for source in chroma:
        total.add(source)
    return total.value()


class ChromaSum:
    """The sums of :func:`fuse_chroma`, for sources that come one at a time.

    Args:
        tau: neutral chroma.
    """

    def __init__(self, tau: float = _NEUTRAL) -> None:
        self._tau = tau
        self._weighted: Tensor | None = None
        self._total: Tensor | None = None

    def add(self, chroma: Tensor) -> None:
        """Add the chroma ``(B, C, H, W)`` of one more source."""
        # The formula relative to tau, which keeps small chroma free of rounding errors.
        departure = chroma - self._tau
        weight = departure.abs()
        if self._weighted is None or self._total is None:
            self._weighted, self._total = departure * weight, weight
        else:
            self._weighted, self._total = self._weighted.addcmul(departure, weight), self._total + weight

    def value(self) -> Tensor:
        """The fused chroma ``(B, C, H, W)`` of all sources that were added.

        Raises:
            fusionkit.errors.UsageError: none was.
        """
        if self._weighted is None or self._total is None:
            raise UsageError("fuse_chroma: at least one source is needed")
        return self._tau + self._weighted / torch.where(self._total > 0, self._total, torch.ones_like(self._total))


def _check(image: Tensor, channels: tuple[int, ...]) -> None:
    if image.ndim != 4 or image.shape[1] not in channels:
        wanted = " or ".join(str(c) for c in channels)
        raise UsageError(f"an image (B, {wanted}, H, W) is needed, got {tuple(image.shape)}")
