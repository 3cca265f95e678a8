"""Finds where one exposure does not show what another one shows, by how its intensities follow the other's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Exposure", "IntensityMapping", "find_disagreement", "map_intensities"]

Exposure = NDArray[np.float32]
"""Pixels of one exposure, ``(C, H, W)`` in [0, 1]."""

_LEVELS = 256
_BAND = 2
"""Levels around one that count as that level: rounding and compression."""
_BLACK = 6
_WHITE = 243
"""Levels from which on a camera may have clipped, with noise: what lies beyond is not known."""
_LEAST_SPREAD = 1.5 / 255
_SURE = 3.0
"""Spread in levels up to which the median of a level is taken as known."""
_SIGMA = 1.5
"""Deviation in pixels of the Gaussian that averages the noise of a residual."""
_WEAK = 0.4
"""A region goes on from its certain part to where its evidence is this part of what makes it certain."""


@dataclass(frozen=True)
class IntensityMapping:
    """Mapping of the intensities of one exposure to those of another one, per channel.

    Attributes:
        curve: ``(C, 256)`` in [0, 1], not falling: the intensity that goes with each level of the other exposure.
        spread: ``(C, 256)``, standard deviation of the intensities that go with a level, estimated by quartiles.
    """

    curve: NDArray[np.float32]
    spread: NDArray[np.float32]

    def apply(self, exposure: Exposure) -> Exposure:
        """Show an exposure as it would look with the mapped intensities, between the levels linearly."""
        places = exposure * (_LEVELS - 1)
        low = np.clip(places.astype(np.int16), 0, _LEVELS - 2)
        mapped = np.empty_like(exposure)
        for k, curve in enumerate(self.curve):
            below = curve[low[k]]
            mapped[k] = below + (curve[low[k] + 1] - below) * (places[k] - low[k])
        return mapped


def _levels(exposure: Exposure) -> NDArray[np.uint8]:
    return np.rint(np.clip(exposure, 0, 1) * (_LEVELS - 1)).astype(np.uint8)


def _quartiles(joint: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The median level of each row of a joint histogram, and the deviation that the other two quartiles tell."""
    below = joint.cumsum(1)
    rows = np.arange(_LEVELS)
    found = []
    for part in (0.25, 0.5, 0.75):
        wanted = part * below[:, -1]
        place = (below < wanted[:, None]).sum(1).clip(0, _LEVELS - 1)
        inside = joint[rows, place]
        rest = wanted - (below[rows, place] - inside)
        found.append(place - 0.5 + np.divide(rest, inside, out=np.full(_LEVELS, 0.5), where=inside > 0))
    return found[1], 0.7413 * (found[2] - found[0])


def map_intensities(known: Exposure, other: Exposure) -> IntensityMapping:
    """Estimate how the intensities of ``other`` follow those of ``known``, from their joint histogram.

    The intensity of a level is the median of what ``other`` has where ``known`` has that level, so that what moves does
    not count unless it covers half of a level; then the nearest sequence of intensities that does not fall (isotonic
    regression, weighted by number and spread). Levels that ``known`` does not have are interpolated.

    Args:
        known: the exposure whose levels are given, in [0, 1].
        other: the exposure whose intensities are asked for, same shape.

    Source: after Grossberg, Nayar, "Determining the Camera Response from Images: What Is Knowable?", IEEE Trans. PAMI
    25(11), 2003 (brightness transfer functions), with medians in place of the match of cumulative histograms.
    """
    from scipy.optimize import isotonic_regression

    curves, spreads = [], []
    every = np.arange(_LEVELS)
    for given, seen in zip(_levels(known), _levels(other), strict=True):
        codes = given.astype(np.int32).ravel() * _LEVELS + seen.ravel()
        joint = np.bincount(codes, minlength=_LEVELS * _LEVELS).reshape(_LEVELS, _LEVELS)
        count = joint.sum(1)
        has = count > 0
        median, own = _quartiles(joint)
        # What moves is over anything: its levels have a wide spread, and must not bend the others.
        curve = isotonic_regression(median[has], weights=count[has] / (own[has] ** 2 + _SURE**2)).x
        # Quartiles of few pixels say little: neighbouring levels are counted with each one.
        _, spread = _quartiles(np.asarray(cv2.blur(joint.astype(np.float64), (1, 9), borderType=cv2.BORDER_CONSTANT)))
        curves.append(np.clip(np.interp(every, every[has], curve) / (_LEVELS - 1), 0, 1))
        spreads.append(np.interp(every, every[has], spread[has]) / (_LEVELS - 1))
    return IntensityMapping(np.array(curves, np.float32), np.array(spreads, np.float32))


def find_disagreement(
    known: Exposure, other: Exposure, mapping: IntensityMapping, *, tolerance: float, smallest: float
) -> NDArray[np.float32]:
    """Find where ``other`` does not show what ``known`` shows.

    A pixel agrees if its intensity is among those that go with the levels of ``known`` in its 3x3 neighbourhood; where
    ``known`` is clipped, with all levels beyond. What is left over is averaged and compared with ``tolerance`` spreads
    of the intensities at that level; regions that reach it go on to where the evidence is weaker, and are closed.

    Args:
        known: an exposure in [0, 1], ``(C, H, W)``.
        other: the exposure to examine, same shape.
        mapping: how ``other`` follows ``known``.
        tolerance: spreads that a difference must reach.
        smallest: regions smaller than this part of the image are left out, 0 to 1.

    Returns:
        ``(H, W)`` in [0, 1]: 1 where it disagrees, with a soft border.
    """
    height, width = known.shape[1:]
    evidence = np.zeros((height, width), np.float32)
    around = np.ones((3, 3), np.uint8)
    for given, seen, curve, spread in zip(_levels(known), other, mapping.curve, mapping.spread, strict=True):
        least, most = _bounds(curve)
        low, high = least[cv2.erode(given, around)], most[cv2.dilate(given, around)]
        residual = np.maximum(seen - high, 0) - np.maximum(low - seen, 0)
        allowed = tolerance * np.maximum(spread, _LEAST_SPREAD)[given]
        smooth = np.abs(cv2.GaussianBlur(residual, (0, 0), _SIGMA))
        np.maximum(evidence, smooth / cv2.GaussianBlur(allowed, (0, 0), _SIGMA), out=evidence)
    return _regions(evidence, smallest)


def _bounds(curve: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The least and the greatest intensity that a level allows."""
    places = np.arange(_LEVELS)
    least = curve[np.clip(places - _BAND, 0, _WHITE)].copy()
    most = curve[np.clip(places + _BAND, _BLACK, _LEVELS - 1)].copy()
    least[:_BLACK] = 0
    most[_WHITE + 1 :] = 1
    return least, most


def _regions(evidence: NDArray[np.float32], smallest: float) -> NDArray[np.float32]:
    """Regions with certain evidence, as far as weaker evidence reaches, closed and with a soft border."""
    height, width = evidence.shape
    scale = max(1, round(min(height, width) / 300))
    close = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (4 * scale + 1, 4 * scale + 1))
    weak = cv2.morphologyEx((evidence > _WEAK).astype(np.uint8), cv2.MORPH_CLOSE, close)
    count, labels, _, _ = cv2.connectedComponentsWithStats(weak, connectivity=8)
    certain = np.bincount(labels.ravel(), weights=(evidence > 1).ravel(), minlength=count)
    keep: NDArray[Any] = certain >= max(smallest * height * width, 1)
    keep[0] = False
    found = _filled(keep[labels].astype(np.uint8))
    grown = cv2.dilate(found, close)
    return np.asarray(cv2.GaussianBlur(grown.astype(np.float32), (0, 0), scale), np.float32)


def _filled(found: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill the holes of regions: in the middle of a plain thing nothing may tell it from what is behind it."""
    outlines, _ = cv2.findContours(found, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros_like(found)
    cv2.drawContours(filled, outlines, -1, 1, cv2.FILLED)
    return filled
