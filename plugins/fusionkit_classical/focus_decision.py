"""Decides which of N sources is in focus at each pixel, one source at a time: a measure, a vote, and its refinement."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Decision", "GuidedMask", "fill_regions", "focus_measure", "vote"]

Plane = NDArray[np.float32]
Labels = NDArray[np.uint16]

_FAINT = 1e-4
"""Weight of a pixel without any evidence in the vote, so that it follows its neighbours."""
_TRUNCATE = 4
"""Reach of a Gaussian in standard deviations."""


def focus_measure(image: Plane, *, window: int, sigma: float, levels: int, falloff: float) -> Plane:
    """Measure how much fine detail lies around each pixel; where it is flat, farther detail decides.

        e = (I - mean(I))^2 * g,    M = sum_l falloff^l up^l(down^l(e))

    The kernel that spreads e has a heavy tail. At a flat pixel beside a strong edge the measure is that of the edge,
    so the source in which the edge is sharp wins there and not the one that spreads it over the pixel.

    Args:
        image: luminance ``(H, W)`` in [0, 1].
        window: width of the mean that detail is measured against, odd.
        sigma: standard deviation of g, in pixels.
        levels: number of halvings.
        falloff: weight of a level relative to the finer one.

    Returns:
        ``(H, W)``, 0 or more.
    """
    detail = image - cv2.blur(image, (window, window), borderType=cv2.BORDER_REPLICATE)
    pyramid = [cv2.GaussianBlur(detail * detail, (0, 0), sigma)]
    while len(pyramid) <= levels and min(pyramid[-1].shape) > 1:
        pyramid.append(cv2.pyrDown(pyramid[-1]))
    total = pyramid.pop()
    while pyramid:
        finer = pyramid.pop()
        # ((p_n f + p_n-1) f + ...): the weights falloff^l without a second copy of every level.
        total = cv2.scaleAdd(cv2.pyrUp(total, dstsize=finer.shape[::-1]), falloff, finer)
    return np.asarray(total, np.float32)


class Decision:
    """The best source at each pixel so far; memory does not grow with the number of sources.

    Attributes:
        labels: ``(H, W)``, number of the source with the greatest measure; the first one where several tie.
        guide: ``(H, W)``, luminance of that source.
    """

    def __init__(self) -> None:
        self.count = 0
        self.labels: Labels
        self.guide: Plane
        self._best: Plane
        self._second: Plane

    def add(self, image: Plane, measure: Plane) -> None:
        """Compare one more source, given by its luminance and its measure."""
        if not self.count:
            self.labels = np.zeros(image.shape, np.uint16)
            self.guide, self._best, self._second = image.copy(), measure.copy(), np.zeros_like(measure)
        else:
            wins = measure > self._best
            np.maximum(self._second, np.minimum(measure, self._best), out=self._second)
            np.maximum(self._best, measure, out=self._best)
            self.labels[wins] = self.count
            np.copyto(self.guide, image, where=wins)
        self.count += 1

    def confidence(self) -> Plane:
        """Compute ``(best - second) / (best + second)``, 0 to 1; 0 where nothing tells the two best sources apart."""
        total = self._best + self._second
        return np.divide(self._best - self._second, total, out=np.zeros_like(total), where=total > 0)


def vote(labels: Labels, confidence: Plane, *, count: int, sigma: float) -> Labels:
    """Give each pixel to the source with the most confidence in a Gaussian window around it.

    Args:
        labels: ``(H, W)``.
        confidence: ``(H, W)``, 0 or more.
        count: number of sources.
        sigma: of the window, in pixels; 0 leaves the labels as they are.

    Returns:
        ``(H, W)``.
    """
    if sigma == 0:
        return labels
    reach = int(np.ceil(_TRUNCATE * sigma))
    best, chosen = np.full(labels.shape, -1, np.float32), labels.copy()
    for k in range(count):
        place = _around(labels == k, reach)
        if place is None:
            continue
        votes = np.where(labels[place] == k, confidence[place] + np.float32(_FAINT), np.float32(0))
        votes = cv2.GaussianBlur(votes, (2 * reach + 1, 2 * reach + 1), sigma)
        wins = votes > best[place]
        best[place][wins] = votes[wins]
        chosen[place][wins] = k
    return chosen


def fill_regions(labels: Labels, confidence: Plane, *, count: int, area: float, sure: float) -> Labels:
    """Give small regions whose mean confidence is low to the nearest other region.

    Args:
        labels: ``(H, W)``.
        confidence: ``(H, W)`` in [0, 1].
        count: number of sources.
        area: 8-connected regions of fewer pixels are small.
        sure: a small region stays if its mean confidence is this high.

    Returns:
        ``(H, W)``.
    """
    filled = np.zeros(labels.shape, bool)
    for k in range(count):
        place = _around(labels == k, 0)
        if place is None:
            continue
        number, regions, stats, _ = cv2.connectedComponentsWithStats(
            (labels[place] == k).astype(np.uint8), connectivity=8
        )
        sizes = stats[:, cv2.CC_STAT_AREA]
        means = np.bincount(regions.ravel(), confidence[place].ravel(), number) / np.maximum(sizes, 1)
        small = (sizes < area) & (means < sure)
        small[0] = False
        filled[place] |= small[regions]
    if not filled.any() or filled.all():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        filled.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = np.zeros(int(nearest.max()) + 1, np.uint16)
    known[nearest[~filled]] = labels[~filled]
    return known[nearest]


class GuidedMask:
    """Weights of single sources: the guided filter of ``labels == k``, equal to 0 and 1 away from boundaries.

    Source: He, Sun, Tang, "Guided Image Filtering", ECCV 2010.
    """

    def __init__(self, labels: Labels, guide: Plane, *, radius: int, epsilon: float) -> None:
        self.labels, self.guide, self.radius, self.epsilon = labels, guide, radius, epsilon
        self._mean = self._box(guide)
        self._variance = np.maximum(self._box(guide * guide) - self._mean * self._mean, np.float32(0))

    def weight(self, k: int) -> tuple[tuple[slice, slice], Plane] | None:
        """Compute the weight of source k where it is not 0: the place and the values there; None if nowhere."""
        place = _around(self.labels == k, 2 * self.radius + 1)
        if place is None:
            return None
        mask = (self.labels[place] == k).astype(np.float32)
        if not self.radius:
            return place, mask
        guide, mean = self.guide[place], self._box(mask)
        slope: Plane = self._box(guide * mask) - self._mean[place] * mean
        slope /= self._variance[place] + np.float32(self.epsilon)
        offset: Plane = mean - slope * self._mean[place]
        # A pixel whose whole window is of one source has it alone: rounding must not mix others in.
        weight = self._box(slope) * guide + self._box(offset)
        weight[cv2.erode(mask, self._square()) == 1] = 1
        weight[cv2.dilate(mask, self._square()) == 0] = 0
        return place, weight.clip(0, 1)

    def _square(self) -> NDArray[np.uint8]:
        return np.ones((4 * self.radius + 1, 4 * self.radius + 1), np.uint8)

    def _box(self, plane: Plane) -> Plane:
        width = 2 * self.radius + 1
        return np.asarray(cv2.blur(plane, (width, width), borderType=cv2.BORDER_REFLECT), np.float32)


def _around(mask: NDArray[np.bool_], reach: int) -> tuple[slice, slice] | None:
    """Find the rectangle that holds a mask, wider by ``reach`` pixels on each side; None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return (
        slice(max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1),
        slice(max(int(columns[0]) - reach, 0), int(columns[-1]) + reach + 1),
    )
