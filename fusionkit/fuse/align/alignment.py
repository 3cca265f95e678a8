"""Alignment of one pair of images, or of all pairs of one rig, with a confidence that refuses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import UsageError
from fusionkit.fuse.align.coarse_search import ROTATIONS, SCALES, coarse_search
from fusionkit.fuse.align.edges import Plane
from fusionkit.fuse.align.refinement import Kind, refine
from fusionkit.fuse.align.transforms import Matrix, corner_distance, resample, shift_of

__all__ = ["CONFIDENT", "KINDS", "Alignment", "align", "grey"]

KINDS: tuple[Kind, ...] = ("translation", "rigid", "affine", "homography")

CONFIDENT = 0.5
"""Confidence from which on an alignment is used."""

_SMALLEST = 48


@dataclass(frozen=True, eq=False)
class Alignment:
    """A transform that brings one image onto another.

    Attributes:
        matrix: 3x3, maps points (x, y) of the reference to points of the moved image; pixel centres are whole numbers.
        confidence: 0 to 1; below :data:`CONFIDENT` the transform should not be used.
        shift: shift (x, y) of the centre in pixels, after bringing the image to the size of the reference.
        distance: mean distance that the corners move by, in pixels of the reference.
    """

    matrix: Matrix
    confidence: float
    shift: tuple[float, float]
    distance: float


def grey(pixels: NDArray[np.float32]) -> Plane:
    """Mean of the channels of ``(H, W, C)`` values in [0, 1]."""
    plane: Plane = pixels.mean(2, dtype=np.float32)
    return plane


def align(moved: Sequence[Plane], fixed: Sequence[Plane], kind: Kind = "affine") -> Alignment:
    """Find one transform that brings images onto their references.

    Edges are compared, by gradients that do not change where bright and dark are exchanged, so that infrared and
    visible, or two exposures, can be aligned. First rotations, scales and shifts are searched at low resolution; then
    one model is fitted to the correlation surfaces of all windows together.

    Args:
        moved: one grey image ``(H, W)`` in [0, 1] per pair, all of one size.
        fixed: the reference of each, all of one size. Sizes of moved images and references may differ.
        kind: ``"translation"``, ``"rigid"`` (with rotation), ``"affine"`` or ``"homography"``.

    Raises:
        fusionkit.errors.UsageError: no pairs, images of several sizes, or smaller than 48 pixels.
    """
    if not moved or len(moved) != len(fixed):
        raise UsageError(f"align: one reference per image is needed, got {len(moved)} images and {len(fixed)}")
    for images in (moved, fixed):
        sizes = {image.shape for image in images}
        if len(sizes) > 1:
            listed = ", ".join(sorted(f"{shape[1]}x{shape[0]}" for shape in sizes))
            raise UsageError(f"align: images of one rig have one size, got {listed}")
        if min(images[0].shape) < _SMALLEST:
            raise UsageError(f"align: images of {_SMALLEST} pixels at least are needed, got {images[0].shape}")
    shape = (fixed[0].shape[0], fixed[0].shape[1])
    start = _same_size(moved[0].shape, shape)
    planes = [resample(m.astype(np.float32), start, shape)[0].clip(0, 1) for m in moved]
    references = [f.astype(np.float32) for f in fixed]
    free = kind in ("affine", "homography")
    found = coarse_search(
        planes,
        references,
        rotations=(0.0,) if kind == "translation" else ROTATIONS,
        scales=SCALES if free else (1.0,),
    )
    best_score = found[0][1]
    tried = [
        refine(planes, references, matrix, kind)
        for matrix, score in found
        if score >= best_score - 0.15 * abs(best_score)
    ]
    best = max(tried, key=lambda refined: refined.agreement * refined.score)
    ratio = found[1][1] / best_score if len(found) > 1 and best_score > 0 else 0.0
    sure = np.clip((best.agreement - 0.1) / 0.5, 0, 1) * np.clip((1 - ratio) / 0.1, 0, 1)
    return Alignment(
        matrix=start @ best.matrix,
        confidence=float(sure) if best_score > 0 else 0.0,
        shift=shift_of(best.matrix, shape),
        distance=corner_distance(best.matrix, np.eye(3), shape),
    )


def _same_size(moved: Sequence[int], fixed: tuple[int, int]) -> Matrix:
    """Bring an image to the size of its reference, without distorting it, centre on centre."""
    scale = float(np.sqrt(moved[0] * moved[1] / (fixed[0] * fixed[1])))
    x = (moved[1] - 1) / 2 - scale * (fixed[1] - 1) / 2
    y = (moved[0] - 1) / 2 - scale * (fixed[0] - 1) / 2
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])
