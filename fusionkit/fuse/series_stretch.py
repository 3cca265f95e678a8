"""Range stretches of series of images: one that follows a clip slowly, or one for a volume."""

from __future__ import annotations

import math

from torch import Tensor

from fusionkit.fuse.tensors import Gamut, finish
from fusionkit.io.color import chroma_of, luminance

__all__ = ["ClipStretch", "luminance_limits", "stretch_between"]

SETTLING = 1.0
"""Seconds in which the stretch of a clip follows a change of brightness by 63 %."""


def luminance_limits(fused: Tensor) -> tuple[float, float]:
    """Least and greatest luminance of a fused image ``(1, C, H, W)``."""
    y = luminance(fused)
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
    y = ((luminance(fused) - low) / (high - low)).clamp(0, 1)
    chroma = (lambda rows: chroma_of(fused[:, :, rows])) if fused.shape[1] == 3 else None
    return finish(y, chroma, stretch="none", gamut=gamut)


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
