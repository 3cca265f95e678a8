"""Fuses shrunk sources, and carries the result over to the sources of full size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.fuse.adapter import call_fuser

__all__ = [
    "SHRINKING",
    "ReducedFuser",
    "Speed",
    "at_speed",
    "box_mean",
    "check_sources_at",
    "check_speed",
    "enlarged",
    "local_regression",
]

Speed = Literal["exact", "half", "quarter", "eighth"]
"""Fuse all pixels, or the sources shrunk 2, 4 or 8 times, whose result is carried over to full size."""

SHRINKING: dict[Speed, int] = {"exact": 1, "half": 2, "quarter": 4, "eighth": 8}
"""Factor by which height and width are shrunk, per speed."""

# Windows of 9x9 pixels and a ridge of 1e-4 cost 0.02 more of Qabf on infrared-visible pairs.
_RADIUS = 2
_RIDGE = 1e-5
_STRIP_PIXELS = 2**17


def check_speed(speed: str) -> None:
    """Refuse an unknown speed.

    Raises:
        fusionkit.errors.UsageError: always in that case.
    """
    known = get_args(Speed)
    if speed not in known:
        raise UsageError(f"speed {speed!r}: {did_you_mean(speed, known)}")


def at_speed(fuser: Fuser, speed: Speed, *, name: str) -> Fuser:
    """Return the fuser itself where the speed is ``"exact"``, else its :class:`ReducedFuser`.

    Raises:
        fusionkit.errors.UsageError: an unknown speed, or a fuser that cannot be used at it.
    """
    check_speed(speed)
    return fuser if speed == "exact" else ReducedFuser(fuser, speed, name=name).eval()


def check_sources_at(speed: Speed, count: int, *, name: str) -> None:
    """Refuse more than two sources at another speed than ``"exact"``.

    Raises:
        fusionkit.errors.UsageError: always in that case.
    """
    if speed != "exact" and count > 2:
        raise UsageError(f"speed {speed}: {name} fuses two sources at this speed, and {count} are given: use exact")


class ReducedFuser(Fuser):
    """A luminance fuser of two sources at a fraction of its cost.

    The sources are shrunk by area and fused; in every window of 5x5 shrunk pixels the result is regressed on the two
    shrunk sources and a constant; the coefficients are averaged over the same windows, enlarged bilinearly and applied
    to the sources of full size:

        F = p I_a + q I_b + c.

    Detail that both sources have at full size is kept; a choice between them is made per shrunk pixel, not per pixel.

    Source: after He, Sun, "Fast Guided Filter", arXiv 1505.00996, with two guides; Chen, Adams, Wadhwa, Hasinoff,
    "Bilateral Guided Upsampling", SIGGRAPH Asia 2016.

    Args:
        fuser: the fuser, ready to use.
        speed: how far to shrink.
        name: what to call the fuser in messages.

    Raises:
        fusionkit.errors.UsageError: the fuser takes RGB, whose channels have no joint regression here, or does not take
            two sources.
    """

    def __init__(self, fuser: Fuser, speed: Speed, *, name: str = "") -> None:
        super().__init__()
        name = name or type(fuser).__name__
        able = fuser.capabilities
        if fuser.space != "luminance":
            raise UsageError(f"speed {speed}: is for methods that fuse luminance, and {name} fuses RGB: use exact")
        if able.min_sources != 2:
            raise UsageError(f"speed {speed}: is for methods of two sources, and {name} takes more: use exact")
        self.fuser = fuser
        self.config = fuser.config
        self.stretch = fuser.stretch
        self.factor = SHRINKING[speed]
        least = (able.min_size - 1) * self.factor + 1
        self.capabilities = replace(able, max_sources=2, min_size=least, multiple=self.factor, halo=None)

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse two sources ``(B, 1, H, W)`` in [0, 1] whose height and width are multiples of :attr:`factor`."""
        a, b = sources
        small_a, small_b = (F.avg_pool2d(source, self.factor) for source in sources)
        fused = call_fuser(self.fuser, (small_a, small_b))
        coefficients = local_regression(small_a, small_b, fused)
        out = torch.empty_like(a)
        for rows, (p, q, c) in enlarged(coefficients, self.factor, max(_STRIP_PIXELS // a.shape[3], 1)):
            strip = torch.addcmul(c, p, a[:, :, rows]).addcmul_(q, b[:, :, rows])
            out[:, :, rows] = strip.clamp_(0, 1)
        return out


def local_regression(a: Tensor, b: Tensor, fused: Tensor) -> Tensor:
    """Regress an image on two others in every window, and average the coefficients over the windows of each pixel.

    In each window of 5x5 pixels, cut off at the border, p, q and c minimise

        mean (p a + q b + c - fused)^2 + 1e-5 ((p - 1/2)^2 + (q - 1/2)^2).

    Args:
        a: ``(B, 1, H, W)`` in [0, 1], floating.
        b: same shape.
        fused: same shape.

    Returns:
        ``(B, 3, H, W)``: p, q, c.
    """
    a, b, fused = a.float(), b.float(), fused.float()
    # What the mean of the two leaves: with coefficients of (p - 1/2, q - 1/2) the ridge is one toward zero.
    fused = fused - (a + b) / 2
    # Moments about a constant near the values: the differences below then lose fewer digits.
    a0, b0, f0 = (image.mean((1, 2, 3), keepdim=True) for image in (a, b, fused))
    a, b, fused = a - a0, b - b0, fused - f0
    moments = box_mean(torch.cat((a, b, fused, a * a, b * b, a * b, a * fused, b * fused), 1))
    ma, mb, mf, maa, mbb, mab, maf, mbf = moments.split(1, 1)
    aa, bb = (maa - ma * ma).clamp_(min=0) + _RIDGE, (mbb - mb * mb).clamp_(min=0) + _RIDGE
    ab = mab - ma * mb
    af, bf = maf - ma * mf, mbf - mb * mf
    determinant = aa * bb - ab * ab
    p = (bb * af - ab * bf) / determinant
    q = (aa * bf - ab * af) / determinant
    c = mf + f0 - p * (ma + a0) - q * (mb + b0)
    return box_mean(torch.cat((p + 0.5, q + 0.5, c), 1))


def box_mean(images: Tensor) -> Tensor:
    """Average images ``(B, C, H, W)`` over the part of each window of 5x5 pixels that lies inside."""
    counts = _sum_of_five(_sum_of_five(images.new_ones(1, 1, *images.shape[2:]), 2), 3)
    return _sum_of_five(_sum_of_five(images, 2), 3).div_(counts)


def _sum_of_five(images: Tensor, dim: int) -> Tensor:
    """Sum each pixel and the two on each side along a dimension, by sums of two and of four."""
    length = images.shape[dim]
    padded = F.pad(images, (0, 0, _RADIUS, _RADIUS) if dim == 2 else (_RADIUS, _RADIUS))
    total = padded
    for width in (1, 2):
        shorter = total.shape[dim] - width
        total = total.narrow(dim, 0, shorter) + total.narrow(dim, width, shorter)
    return total.narrow(dim, 0, length) + padded.narrow(dim, 2 * _RADIUS, length)


def enlarged(coefficients: Tensor, factor: int, rows: int) -> Iterator[tuple[slice, tuple[Tensor, ...]]]:
    """Enlarge images bilinearly, a strip of rows at a time.

    Args:
        coefficients: ``(B, C, H, W)``.
        factor: how many times.
        rows: about how many rows of the result a strip has.

    Yields:
        The rows of the strip in the result, and one ``(B, 1, rows, factor W)`` per channel.
    """
    height, width = coefficients.shape[2:]
    step = max(rows // factor, 1)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first, last = max(top - 1, 0), min(bottom + 1, height)
        size = ((last - first) * factor, width * factor)
        part = F.interpolate(coefficients[:, :, first:last], size, mode="bilinear", align_corners=False)
        part = part[:, :, (top - first) * factor : (bottom - first) * factor]
        yield slice(top * factor, bottom * factor), part.split(1, 1)
