"""Exhaustive search over rotation, scale and shift at low resolution, by normalised correlation."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from fusionkit.contracts import Matrix, Plane
from fusionkit.fuse.transforms import corner_distance, resample, scaling
from fusionkit_aligners.edges import describe, resized

__all__ = ["coarse_search"]

_SIZE = 110  # root of the area, in pixels
_FURTHEST = 0.35  # of the size
_LEAST_OVERLAP = 0.35
_APART = 0.08  # of the size
ROTATIONS = tuple(float(angle) for angle in np.arange(-6, 6.1, 1.5))
SCALES = tuple(float(scale) for scale in np.exp(np.arange(-4, 5) * 0.03))


def coarse_search(
    moved: Sequence[Plane],
    fixed: Sequence[Plane],
    *,
    rotations: Sequence[float] = ROTATIONS,
    scales: Sequence[float] = SCALES,
    keep: int = 3,
) -> list[tuple[Matrix, float]]:
    """Find the best similarities that bring images onto their references.

    Args:
        moved: grey images in [0, 1], one per pair; the correlations of all pairs are added.
        fixed: their references, all images of one size.
        rotations: in degrees.
        scales: factors.
        keep: number of candidates, which lie at least 8 % of the size apart.

    Returns:
        Matrices with their scores, best first.
    """
    height, width = fixed[0].shape
    factor = min(1.0, _SIZE / np.sqrt(height * width))
    moved, fixed = [resized(m, factor) for m in moved], [resized(f, factor) for f in fixed]
    h, w = fixed[0].shape
    padded = tuple(cv2.getOptimalDFTSize(int(n * (1 + _FURTHEST) + 1)) for n in (h, w))
    furthest_y, furthest_x = int(h * _FURTHEST), int(w * _FURTHEST)
    shifts = np.ix_(np.arange(-furthest_y, furthest_y + 1), np.arange(-furthest_x, furthest_x + 1))

    def forward(x: Plane) -> np.ndarray:
        return np.fft.rfft2(x.astype(np.float32), padded, axes=(-2, -1))

    def surface(product: np.ndarray) -> np.ndarray:
        return np.fft.irfft2(product, padded)[shifts]

    described = [describe(f) for f in fixed]
    spectra = [np.conj(forward(d)) for d in described]
    energies = [np.conj(forward((d * d).sum(0))) for d in described]
    everywhere = np.conj(forward(np.ones((h, w), np.float32)))
    surfaces, turns = [], []
    for rotation in rotations:
        for scale in scales:
            turn = np.vstack([cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), -rotation, scale), [0, 0, 1]])
            total = 0.0
            for image, spectrum, energy in zip(moved, spectra, energies, strict=True):
                turned, known = resample(image, turn, (h, w))
                mask = _eroded(known)
                edges = describe(turned) * mask
                overlap = forward(mask)
                own = surface(everywhere * forward((edges * edges).sum(0)))
                other = surface(energy * overlap)
                total = total + surface((spectrum * forward(edges)).sum(0)) / np.sqrt(
                    np.maximum(own, 1e-3) * np.maximum(other, 1e-3)
                )
            share = surface(everywhere * overlap) / (h * w)
            surfaces.append(np.where(share > _LEAST_OVERLAP, total * np.sqrt(np.maximum(share, 0)), -1))
            turns.append(turn)
    scores = np.stack(surfaces) / len(moved)
    return _apart(scores, turns, (furthest_y, furthest_x), scaling((h, w), (height, width)), (height, width), keep)


def _eroded(known: np.ndarray) -> Plane:
    # Edges of descriptors reach two pixels.
    return cv2.erode(known.astype(np.float32), np.ones((5, 5)), borderValue=1)  # type: ignore[return-value]


def _apart(
    scores: np.ndarray,
    turns: Sequence[Matrix],
    furthest: tuple[int, int],
    down: Matrix,
    shape: tuple[int, int],
    keep: int,
) -> list[tuple[Matrix, float]]:
    """Best matrices at full size that differ."""
    found: list[tuple[Matrix, float]] = []
    least = _APART * np.sqrt(shape[0] * shape[1])
    for flat in np.argsort(-scores, axis=None)[:30000]:
        turn, y, x = np.unravel_index(flat, scores.shape)
        shift = np.array([[1, 0, x - furthest[1]], [0, 1, y - furthest[0]], [0, 0, 1.0]])
        matrix = np.linalg.inv(down) @ turns[turn] @ shift @ down
        if all(corner_distance(matrix, other, shape) > least for other, _ in found):
            found.append((matrix, float(scores[turn, y, x])))
        if len(found) == keep:
            break
    return found
