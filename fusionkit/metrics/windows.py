"""Separable filters and the local means, variances and covariances of a window: the base of SSIM, VIF and kin."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.errors import UsageError, did_you_mean
from fusionkit.metrics.histograms import histogram

__all__ = ["Moments", "Padding", "Window", "filter_planes", "local_moments", "moments", "pad"]

Padding = Literal["valid", "zeros", "replicate", "reflect"]
"""What lies beyond the border: nothing (the result shrinks), zeros, the last pixel, or a mirror without the edge."""


@dataclass(frozen=True)
class Window:
    """A normalised separable window of ``size`` x ``size`` pixels: Gaussian of ``sigma``, or uniform without one."""

    size: int
    sigma: float | None = None

    def __str__(self) -> str:
        return f"{self.size}x{self.size} " + ("uniform" if self.sigma is None else f"Gaussian, sigma {self.sigma:g}")

    def taps(self) -> tuple[float, ...]:
        """Weights along one axis, which sum to 1."""
        if self.sigma is None:
            return (1.0 / self.size,) * self.size
        middle = (self.size - 1) / 2
        taps = [math.exp(-((i - middle) ** 2) / (2 * self.sigma**2)) for i in range(self.size)]
        return tuple(t / math.fsum(taps) for t in taps)


class Moments(NamedTuple):
    """Local moments under a window, one channel a source where not said otherwise.

    Attributes:
        mean_fused: ``(B, 1, h, w)``.
        mean: ``(B, S, h, w)`` of the sources.
        var_fused: ``(B, 1, h, w)``.
        var: ``(B, S, h, w)`` of the sources.
        cov: ``(B, S, h, w)`` of each source with the fused image.
    """

    mean_fused: Tensor
    mean: Tensor
    var_fused: Tensor
    var: Tensor
    cov: Tensor


def pad(planes: Tensor, amount: int, padding: Padding) -> Tensor:
    """``(B, K, H, W)`` with ``amount`` more pixels on every side; unchanged for ``"valid"``.

    Raises:
        UsageError: an unknown padding.
    """
    if padding == "valid" or amount == 0:
        return planes
    modes = {"zeros": "constant", "replicate": "replicate", "reflect": "reflect"}
    if padding not in modes:
        raise UsageError(f"padding {padding!r} is unknown: {did_you_mean(padding, ('valid', *modes))}")
    return F.pad(planes, (amount,) * 4, mode=modes[padding])


def filter_planes(planes: Tensor, taps: tuple[float, ...], *, padding: Padding = "valid", stride: int = 1) -> Tensor:
    """Correlate every plane with the same taps along both axes.

    Args:
        planes: ``(B, K, H, W)``, any K.
        taps: weights along one axis.
        padding: beyond the border; all but ``"valid"`` keep the size (for odd taps).
        stride: keep every ``stride``-th row and column of the result.

    Returns:
        ``(B, K, h, w)``; for ``"valid"`` ``h = ceil((H - len(taps) + 1) / stride)``.
    """
    planes = pad(planes, len(taps) // 2, padding)
    if planes.is_cuda or (planes.requires_grad and torch.is_grad_enabled()):
        return _convolved(planes, taps, stride)
    # On a CPU shifted sums beat the one-channel convolution of torch by 3 to 15 times.
    return _shifted(_shifted(planes, taps, 2, stride), taps, 3, stride)


def moments(
    fused: Tensor,
    *sources: Tensor,
    window: Window,
    padding: Padding = "valid",
    sample: bool = False,
) -> Moments:
    """Local means, variances and covariances of the fused image and each source, in one pass over all planes.

    ``var = E[x^2] - E[x]^2`` under the window weights, never below 0; ``cov`` alike.

    Args:
        fused: ``(B, 1, H, W)``.
        sources: one or more of the same shape.
        window: the weights.
        padding: beyond the border.
        sample: scale variances by ``N / (N - 1)``, N the number of window pixels.

    Returns:
        The moments.
    """
    m = local_moments(torch.cat((fused, *sources), 1), window.taps(), padding=padding)
    if not sample:
        return m
    scale = window.size**2 / (window.size**2 - 1)
    return m._replace(var_fused=m.var_fused * scale, var=m.var * scale, cov=m.cov * scale)


def local_moments(images: Tensor, taps: tuple[float, ...], *, padding: Padding = "valid") -> Moments:
    """:func:`moments` of the images ``(B, 1 + S, H, W)``, the fused one first, under any separable taps."""
    if padding == "zeros":
        shift = images.new_zeros(1)
    else:
        # Variances do not depend on a shift, but E[x^2] - E[x]^2 loses fewer digits around 0: above all in flat areas,
        # most of which have the most frequent level.
        shift = torch.stack([histogram(plane).argmax(1) for plane in images.split(1, 1)], 1)
        shift = shift[..., None, None].to(images.dtype)
        images = images - shift
    mean, square, product = (
        filter_planes(planes, taps, padding=padding)
        for planes in (images, images.square(), images[:, 1:] * images[:, :1])
    )
    # A variance within the rounding of its terms is 0, and so is the covariance with a flat source. (With a flat fused
    # image it is 0 too, but its derivative is not.)
    var = square - mean.square()
    var = torch.where(var > 8 * torch.finfo(var.dtype).eps * square, var, 0.0)
    cov = torch.where(var[:, 1:] > 0, product - mean[:, 1:] * mean[:, :1], 0.0)
    mean = mean + shift
    return Moments(mean[:, :1], mean[:, 1:], var[:, :1], var[:, 1:], cov)


def _convolved(planes: Tensor, taps: tuple[float, ...], stride: int) -> Tensor:
    channels, size = planes.shape[1], len(taps)
    kernel = planes.new_tensor(taps)
    down = kernel.view(1, 1, size, 1).expand(channels, 1, size, 1)
    across = kernel.view(1, 1, 1, size).expand(channels, 1, 1, size)
    planes = F.conv2d(planes, down, stride=(stride, 1), groups=channels)
    return F.conv2d(planes, across, stride=(1, stride), groups=channels)


def _shifted(planes: Tensor, taps: tuple[float, ...], axis: int, stride: int) -> Tensor:
    length = planes.shape[axis] - len(taps) + 1

    def part(k: int) -> Tensor:
        index = [slice(None)] * 4
        index[axis] = slice(k, k + length, stride)
        return planes[tuple(index)]

    result = part(0) * taps[0]
    for k in range(1, len(taps)):
        result.add_(part(k), alpha=taps[k])
    return result
