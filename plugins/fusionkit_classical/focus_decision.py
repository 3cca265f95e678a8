"""Decides which of N sources is in focus at each pixel, one source at a time: a draft, costs and a vote."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Decision", "Draft", "GuidedMask", "fill_regions", "misfit", "vote"]

Plane = NDArray[np.float32]
Labels = NDArray[np.uint16]

_FAINT = 1e-4
"""Weight of a pixel without any evidence in the vote, so that it follows its neighbours."""
_TRUNCATE = 4
"""Reach of a Gaussian in standard deviations."""
_COARSE = 8
"""Pixels to a side of the squares whose mean costs are kept for every source."""


class Draft:
    """The fusion of sources in the Laplacian pyramid: each coefficient from the source of the greatest energy there.

    A point of light out of focus is a faint disc, in focus a bright one of less width. On the levels as coarse as the
    disc the source in focus has more energy all over it, so that the draft has no disc though nothing fine is there.
    The coarsest level is left out: sources may differ in exposure. Memory does not grow with the number of sources.

    Source: Burt, Kolczynski, "Enhanced Image Capture through Fusion", ICCV 1993.
    """

    def __init__(self, *, levels: int, sigma: float) -> None:
        """Begin with no source.

        Args:
            levels: number of halvings.
            sigma: standard deviation of the Gaussian that gathers energy on each level, in its pixels.
        """
        self._levels, self._sigma = levels, sigma
        self._chosen: list[Plane] = []
        self._energy: list[Plane] = []
        self._coarsest: tuple[int, ...] = ()

    def add(self, image: Plane) -> None:
        """Merge one more source in, given by its luminance ``(H, W)``."""
        for number in range(self._levels):
            if min(image.shape) < 2:
                break
            coarser = np.asarray(cv2.pyrDown(image), np.float32)
            detail = np.asarray(image - cv2.pyrUp(coarser, dstsize=image.shape[1::-1]), np.float32)
            energy = np.asarray(cv2.GaussianBlur(detail * detail, (0, 0), self._sigma), np.float32)
            if number == len(self._chosen):
                self._chosen.append(detail)
                self._energy.append(energy)
            else:
                np.copyto(self._chosen[number], detail, where=energy > self._energy[number])
                np.maximum(self._energy[number], energy, out=self._energy[number])
            image = coarser
        self._coarsest = image.shape

    def image(self) -> Plane:
        """Put the draft together, ``(H, W)``, around 0; no source can be added after that."""
        self._energy.clear()
        image = np.zeros(self._coarsest, np.float32)
        while self._chosen:
            detail = self._chosen.pop()
            image = np.asarray(cv2.pyrUp(image, dstsize=detail.shape[1::-1]), np.float32)
            image += detail
        return image


def misfit(image: Plane, draft: Plane, *, levels: int, spread: float, tail: int, falloff: float) -> Plane:
    """Measure how far a source is from the draft around each pixel; where all are near it, farther pixels decide.

        e = (I - up^n(down^n(I)) - D)^2 * g,    C = sum_l falloff^l up^l(down^l(e))

    Args:
        image: luminance ``(H, W)`` of the source.
        draft: ``(H, W)``.
        levels: n, number of halvings of the draft.
        spread: standard deviation of g, in pixels.
        tail: number of halvings by which the error is spread further.
        falloff: weight of a halving relative to the finer one.

    Returns:
        ``(H, W)``, 0 or more.
    """
    error = image - _coarse(image, levels)
    error -= draft
    np.multiply(error, error, out=error)
    pyramid = [cv2.GaussianBlur(error, (0, 0), spread)]
    while len(pyramid) <= tail and min(pyramid[-1].shape) > 1:
        pyramid.append(cv2.pyrDown(pyramid[-1]))
    total = pyramid.pop()
    while pyramid:
        finer = pyramid.pop()
        # ((p_n f + p_n-1) f + ...): the weights falloff^l without a second copy of every level.
        total = cv2.scaleAdd(cv2.pyrUp(total, dstsize=finer.shape[::-1]), falloff, finer)
    return np.asarray(total, np.float32)


class Decision:
    """The best source at each pixel so far; at full size memory does not grow with the number of sources.

    Attributes:
        labels: ``(H, W)``, number of the source of least cost; the first one where several tie.
        coarse: of each source ``(ceil(H / 8), ceil(W / 8))``, its mean cost in squares of 8x8 pixels.
    """

    def __init__(self) -> None:
        self.labels: Labels
        self.coarse: list[Plane] = []
        self._best: Plane
        self._second: Plane

    def add(self, cost: Plane) -> None:
        """Compare one more source."""
        if not self.coarse:
            self.labels = np.zeros(cost.shape, np.uint16)
            self._best, self._second = cost.copy(), np.full_like(cost, np.inf)
        else:
            wins = cost < self._best
            np.minimum(self._second, np.maximum(cost, self._best), out=self._second)
            np.minimum(self._best, cost, out=self._best)
            self.labels[wins] = len(self.coarse)
        height, width = cost.shape
        whole = cv2.copyMakeBorder(cost, 0, -height % _COARSE, 0, -width % _COARSE, cv2.BORDER_REPLICATE)
        size = (whole.shape[1] // _COARSE, whole.shape[0] // _COARSE)
        self.coarse.append(np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.float32))

    def confidence(self) -> Plane:
        """Compute ``(second - best) / (second + best)``, 0 to 1; 0 where nothing tells the two best sources apart."""
        total = self._best + self._second
        return np.divide(self._second - self._best, total, out=np.zeros_like(total), where=total > 0)


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


def fill_regions(labels: Labels, coarse: list[Plane], *, area: float, tolerance: float) -> Labels:
    """Give small regions to the nearest large one, where that costs next to nothing.

    Args:
        labels: ``(H, W)``.
        coarse: costs of each source, as in :attr:`Decision.coarse`.
        area: 8-connected regions of fewer pixels are small.
        tolerance: a small region stays if the root of its cost would rise by this much on average, in parts of white.

    Returns:
        ``(H, W)``.
    """
    # Number of the small region that a pixel is in, 0 for none.
    small = np.zeros(labels.shape, np.int32)
    found = 0
    for k in range(len(coarse)):
        place = _around(labels == k, 0)
        if place is None:
            continue
        number, regions, stats, _ = cv2.connectedComponentsWithStats(
            (labels[place] == k).astype(np.uint8), connectivity=8
        )
        names = np.where(stats[:, cv2.CC_STAT_AREA] < area, np.arange(number) + found, 0).astype(np.int32)
        names[0] = 0
        small[place] += names[regions]
        found += number
    inside = small > 0
    if not inside.any() or inside.all():
        return labels
    _, nearest = cv2.distanceTransformWithLabels(
        inside.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = np.zeros(int(nearest.max()) + 1, np.uint16)
    known[nearest[~inside]] = labels[~inside]
    rows, columns = np.nonzero(inside)
    own, other, names = labels[inside], known[nearest[inside]], small[inside]
    roots = np.sqrt(np.stack(coarse))
    rise = roots[other, rows // _COARSE, columns // _COARSE] - roots[own, rows // _COARSE, columns // _COARSE]
    counts = np.bincount(names, minlength=found + 1)
    given = np.bincount(names, rise, found + 1) < tolerance * counts
    filled = labels.copy()
    filled[inside] = np.where(given[names], other, own)
    return filled


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


def _coarse(image: Plane, levels: int) -> Plane:
    """Return what an image has on the coarsest level of its pyramid, at its size."""
    sizes: list[tuple[int, ...]] = []
    while len(sizes) < levels and min(image.shape) > 1:
        sizes.append(image.shape[::-1])
        image = np.asarray(cv2.pyrDown(image), np.float32)
    for size in reversed(sizes):
        image = np.asarray(cv2.pyrUp(image, dstsize=size), np.float32)
    return image


def _around(mask: NDArray[np.bool_], reach: int) -> tuple[slice, slice] | None:
    """Find the rectangle that holds a mask, wider by ``reach`` pixels on each side; None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not rows.size:
        return None
    return (
        slice(max(int(rows[0]) - reach, 0), int(rows[-1]) + reach + 1),
        slice(max(int(columns[0]) - reach, 0), int(columns[-1]) + reach + 1),
    )
