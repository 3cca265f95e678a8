"""Ranges of stored values: which value becomes 0 and which 1, and what stands for values that are invalid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import DataError, UsageError, did_you_mean

__all__ = ["AUTO", "FULL", "WINDOWS", "Range", "Sampled", "fill_invalid", "parse_range", "stretched"]

WINDOWS: dict[str, tuple[float, float]] = {
    "abdomen": (50, 400),
    "bone": (600, 2800),
    "brain": (40, 80),
    "liver": (30, 150),
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "stroke": (40, 40),
    "subdural": (75, 215),
}
"""Windows of CT images: centre and width in Hounsfield units (Radiopaedia, Windowing (CT))."""

_WAYS = ("auto", "full", "minmax", "percentile:LO,HI", "LO,HI", *(f"window:{name}" for name in WINDOWS))
# Auto ranges: the share of the values left out at each end, in per cent; the share that may be dead pixels; the part
# of an integer type's range under which the values count as few.
_OUTSIDE = 0.01
_DOUBTFUL = 0.1
_SMALL = 1 / 8
# A float image may leave [0, 1] by rounding, no more.
_ROUNDING = 1e-5
# Values that are kept of each image to find percentiles over many.
_KEPT = 2**17

Values = NDArray[Any]


@dataclass(frozen=True)
class Range:
    """A rule for the stored values that become 0 and 1.

    Attributes:
        kind: ``"full"``, all values of the type, or [0, 1] for floats. ``"minmax"``. ``"percentile"``. ``"fixed"``, two
            values. ``"auto"``: full, but from the 0.01st to the 99.99th percentile for integers of 16 bits whose middle
            99.8 % lie less than an eighth of their range apart, for floats outside [0, 1], and for signed and 32-bit
            integers; it reaches no farther than half that width beyond the middle 99.8 %, for the sake of dead pixels.
        low: lower percentile or value.
        high: upper percentile or value.
        text: the rule as it was given.
    """

    kind: Literal["auto", "full", "minmax", "percentile", "fixed"]
    low: float = 0.0
    high: float = 0.0
    text: str = ""

    def limits(self, sampled: Sampled) -> tuple[float, float] | None:
        """Return the stored values that become 0 and 1; None to leave the values as they are.

        Raises:
            fusionkit.errors.DataError: no such values, since all are equal; without a name in front.
        """
        if self.kind == "full" or (self.kind == "auto" and not sampled.is_narrow):
            return None
        if self.kind == "fixed":
            return self.low, self.high
        if self.kind == "minmax":
            low, high = sampled.low, sampled.high
        else:
            ends = (_OUTSIDE, 100 - _OUTSIDE) if self.kind == "auto" else (self.low, self.high)
            low, high = sampled.percentiles(*ends)
            if self.kind == "auto":
                inner = sampled.percentiles(_DOUBTFUL, 100 - _DOUBTFUL)
                low = max(low, inner[0] - (inner[1] - inner[0]) / 2)
                high = min(high, inner[1] + (inner[1] - inner[0]) / 2)
        if not low < high:
            raise DataError(f"values from {low:g} to {high:g} are no range to scale to 0..1; give one as LO,HI")
        return low, high


class Sampled:
    """The values of one or more images of a source: their type, extremes and a regular sample for percentiles."""

    def __init__(self) -> None:
        self.dtype: np.dtype[Any] | None = None
        self.low, self.high = math.inf, -math.inf
        self._kept: list[Values] = []

    def add(self, values: Values) -> Sampled:
        """Add the finite values of an image; returns itself."""
        self.dtype = values.dtype if self.dtype is None else np.promote_types(self.dtype, values.dtype)
        flat = values.ravel()
        if values.dtype.kind == "f":
            flat = flat[np.isfinite(flat)]
        if flat.size:
            self.low, self.high = min(self.low, float(flat.min())), max(self.high, float(flat.max()))
            self._kept.append(flat[:: -(-flat.size // _KEPT)])
        return self

    def merge(self, other: Sampled) -> None:
        """Add the values of another sample."""
        if other.dtype is None:
            return
        self.dtype = other.dtype if self.dtype is None else np.promote_types(self.dtype, other.dtype)
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._kept += other._kept

    def percentiles(self, low: float, high: float) -> tuple[float, float]:
        """Return two percentiles of the sample; 0 and 0 of none."""
        if not self._kept:
            return 0.0, 0.0
        found = np.percentile(np.concatenate(self._kept), (low, high))
        return float(found[0]), float(found[1])

    @property
    def is_narrow(self) -> bool:
        """True if the values, taken in full, would be almost one grey or could not be taken at all."""
        if self.dtype is None or self.dtype.itemsize == 1 or not self._kept:
            return False
        if self.dtype.kind == "f":
            return self.low < -_ROUNDING or self.high > 1 + _ROUNDING
        if self.dtype.kind == "i" or self.dtype.itemsize > 2:
            return True
        low, high = self.percentiles(_DOUBTFUL, 100 - _DOUBTFUL)
        # An image of one value has no range.
        return low < high and high - low < _SMALL * np.iinfo(self.dtype).max


AUTO = Range("auto", text="auto")
FULL = Range("full", text="full")


def parse_range(text: str, *, option: str = "range") -> Range:
    """Read a range as users give it: ``auto``, ``minmax``, ``percentile:1,99``, ``273,310``, ``window:brain``...

    Args:
        text: the range.
        option: names it in messages.

    Raises:
        fusionkit.errors.UsageError: an unknown rule or window, or a lower end that is not below the upper one.
    """
    if text in ("auto", "full", "minmax"):
        return Range(text, text=text)  # type: ignore[arg-type]
    rule, _, rest = text.rpartition(":")
    if rule == "window":
        if rest not in WINDOWS:
            raise UsageError(f"{option} {text}: {did_you_mean(rest, WINDOWS)}")
        centre, width = WINDOWS[rest]
        return Range("fixed", centre - width / 2, centre + width / 2, text)
    try:
        low, high = (float(part) for part in rest.split(","))
    except ValueError:
        low = high = math.nan
    if rule not in ("", "percentile") or not (math.isfinite(low) and math.isfinite(high)):
        raise UsageError(f"{option} {text}: {did_you_mean(text, _WAYS)}")
    if rule and not 0 <= low < high <= 100:
        raise UsageError(f"{option} {text}: two percentiles from 0 to 100 are needed, the lower one first")
    if not low < high:
        raise UsageError(f"{option} {text}: the lower value has to come first, and be below the upper one")
    return Range("percentile" if rule else "fixed", low, high, text)


def stretched(values: Values, low: float, high: float) -> Values:
    """Scale values linearly so that ``low`` becomes 0 and ``high`` 1, and clip them there.

    Returns:
        Floats in [0, 1] for floats; for integers uint8 of uint8 and uint16 of others, 0 to the type's greatest value.
    """
    unit = ((values.astype(np.float64) - low) / (high - low)).clip(0, 1)
    if values.dtype.kind == "f":
        return unit.astype(np.float32)
    kind = np.uint8 if values.dtype == np.uint8 else np.uint16
    return np.rint(unit * np.iinfo(kind).max).astype(kind)


def fill_invalid(values: Values) -> tuple[Values, int]:
    """Replace invalid values by the median of their nearest valid neighbours.

    Invalid are values that are not finite, and stuck pixels of integer images of more than 8 bits: single pixels at the
    smallest or greatest value of their type that lie farther from the median around them than the middle 99.8 % of all
    values lie apart.

    Args:
        values: ``(H, W, C)``.

    Returns:
        The values, and how many were replaced.

    Raises:
        fusionkit.errors.DataError: no value is valid; without a name in front.
    """
    bad = ~np.isfinite(values) if values.dtype.kind == "f" else _stuck(values)
    count = int(bad.sum())
    if not count:
        return values, 0
    if bad.all(axis=(0, 1)).any():
        raise DataError("no value of a channel is finite, so that none can be filled; get the file again")
    filled = values.copy()
    for channel in range(values.shape[2]):
        _fill_channel(filled[..., channel], bad[..., channel])
    return filled, count


def _fill_channel(plane: Values, bad: Values) -> None:
    valid = np.where(bad, np.nan, plane.astype(np.float64))
    radius = 1
    while bad.any():
        padded = np.pad(valid, radius, constant_values=np.nan)
        ys, xs = np.nonzero(bad)
        windows = np.stack(
            [
                padded[ys + dy, xs + dx]
                for dy in range(0, 2 * radius + 1, -(-radius // 4))
                for dx in range(0, 2 * radius + 1, -(-radius // 4))
            ]
        )
        known = np.isfinite(windows).any(0)
        medians = np.nanmedian(windows[:, known], axis=0)
        ys, xs = ys[known], xs[known]
        plane[ys, xs] = medians if plane.dtype.kind == "f" else np.rint(medians)
        bad = bad.copy()
        bad[ys, xs] = False
        radius *= 2


def _stuck(values: Values) -> Values:
    none = np.zeros(values.shape, bool)
    if values.dtype.itemsize == 1:
        return none
    low, high = np.percentile(values, (_DOUBTFUL, 100 - _DOUBTFUL))
    ends = np.iinfo(values.dtype)
    found = (values == ends.min) | (values == ends.max)
    for channel in range(values.shape[2]) if found.any() else ():
        around = cv2.medianBlur(values[..., channel].astype(np.float32), 5)
        found[..., channel] &= np.abs(values[..., channel] - around.astype(np.float64)) > high - low
    return found
