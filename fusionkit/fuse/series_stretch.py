"""Range stretches of series of images: one that follows a clip slowly, or one for a volume."""

from __future__ import annotations

import math

from torch import Tensor

from fusionkit.fuse.tensors import Gamut, finish
from fusionkit.io.color import rgb_to_ycrcb

__all__ = ["ClipStretch", "luminance_limits", "stretch_between"]

SETTLING = 1.0
"""Seconds in which the stretch of a clip follows a change of brightness by 63 %."""


def luminance_limits(fused: Tensor) -> tuple[float, float]:
    """Least and greatest luminance of a fused image ``(1, C, H, W)``."""
    y = rgb_to_ycrcb(fused)[:, :1] if fused.shape[1] == 3 else fused
    return float(y.min()), float(y.max())


def stretch_between(fused: Tensor, low: float, high: float, gamut: Gamut) -> Tensor:
    """Stretch luminance so that ``low`` becomes 0 and ``high`` 1, and clip it there; the colour is kept.

    Args:
        fused: ``(1, C, H, W)`` in [0, 1].
        low: luminance that becomes 0.
        high: luminance that becomes 1; with ``high <= low`` nothing is changed.
        gamut: rule for colours that leave RGB.
    """
    if high <= low:
        return fused
    if fused.shape[1] == 3:
        ycrcb = rgb_to_ycrcb(fused)
        y, chroma = ycrcb[:, :1], ycrcb[:, 1:]
    else:
        y, chroma = fused, None
    return finish(((y - low) / (high - low)).clamp(0, 1), chroma, stretch="none", gamut=gamut)


class ClipStretch:
    """Stretches luminance to a range that follows that of the frames slowly, so that the clip does not flicker.

    Of every frame the least and the greatest luminance are taken; the limits of the stretch go towards them with the
    time constant :data:`SETTLING`. What leaves the limits meanwhile is clipped.

    Args:
        gamut: rule for colours that leave RGB.
    """

    def __init__(self, gamut: Gamut = "keep-luminance") -> None:
        self.gamut: Gamut = gamut
        self.limits: tuple[float, float] | None = None
        self._time = 0.0

    def __call__(self, fused: Tensor, time: float) -> Tensor:
        """Stretch a fused image ``(1, C, H, W)`` in [0, 1] of a time in seconds; returns the same shape."""
        low, high = luminance_limits(fused)
        if self.limits is not None:
            share = 1 - math.exp(-max(time - self._time, 0.0) / SETTLING)
            low, high = (old + share * (new - old) for old, new in zip(self.limits, (low, high), strict=True))
        self.limits, self._time = (low, high), time
        return stretch_between(fused, low, high, self.gamut)
