"""The contract of aligners, tried out on scenes whose transform is known."""

from __future__ import annotations

from typing import get_args

import cv2
import numpy as np

from fusionkit.contracts import CONFIDENT, Aligner, Alignment, Plane, TransformKind
from fusionkit.errors import FusionkitError
from fusionkit.fuse.aligning import find_alignment
from fusionkit.fuse.transforms import corner_distance, scaling
from fusionkit.testing.rules import Notes, fail, require

__all__ = ["check_aligner"]

_SHAPE = (96, 128)
_MARGIN = 16
_SHIFT = (7, -5)
_NEAR = 1.5
"""Pixels that an alignment which calls itself confident may be off."""


def check_aligner(aligner: type[Aligner]) -> Notes:
    """Check an aligner class against its contract.

    It has to find the shift of a view that only moved, to less than 1.5 pixels, for every kind that it states; to keep
    the scale of ``start`` where the kind has none; to be unsure of two scenes and of flat images; to give equal results
    for equal calls; and to leave its inputs as they are.

    Args:
        aligner: the class; it is built without arguments.

    Raises:
        AssertionError: a rule is broken; the message names it.
    """
    subject = f"aligner {aligner.__name__}"
    kinds = get_args(TransformKind)
    known = bool(aligner.kinds) and set(aligner.kinds) <= set(kinds)
    require(known, subject, f"kinds is {aligner.kinds!r}", f"give a tuple of some of {', '.join(kinds)}")
    require(
        bool(aligner.reference.strip()), subject, "reference is blank", "name the paper, or write that there is none"
    )
    tasks = aligner.default_for
    fits = tasks is None or (isinstance(tasks, tuple) and all(isinstance(task, str) for task in tasks))
    require(fits, subject, f"default_for is {tasks!r}", "give a tuple of tasks, or None for every task")
    scale = max(1, -(-aligner.smallest // min(_SHAPE)))
    shape = (_SHAPE[0] * scale, _SHAPE[1] * scale)
    moved, fixed = _views(shape, seed=0)
    truth = np.eye(3)
    truth[:2, 2] = _SHIFT
    for kind in aligner.kinds:
        _check_found(subject, aligner, kind, moved, fixed, truth)
    kind = aligner.kinds[0]
    small = np.asarray(cv2.resize(moved, (shape[1] // 2, shape[0] // 2), interpolation=cv2.INTER_AREA), np.float32)
    if min(small.shape) >= aligner.smallest:
        expected = scaling((small.shape[0], small.shape[1]), shape) @ truth
        _check_found(subject, aligner, kind, small, fixed, expected)
    first, again = (_call(subject, aligner, kind, moved, fixed) for _ in range(2))
    same = np.array_equal(first.matrix, again.matrix) and first.confidence == again.confidence
    require(same, subject, "two equal calls give other results", "draw nothing at random, or from a fixed seed")
    for what, other in (("two scenes", _views(shape, seed=1)[1]), ("a flat image", np.full(shape, 0.5, np.float32))):
        found = _call(subject, aligner, kind, other, fixed)
        unsure = found.confidence < CONFIDENT
        remedy = f"return a confidence below {CONFIDENT} where nothing tells"
        require(unsure, subject, f"{what} are aligned with confidence {found.confidence:.2f}", remedy)
    return ()


def _check_found(
    subject: str, aligner: type[Aligner], kind: TransformKind, moved: Plane, fixed: Plane, truth: np.ndarray
) -> None:
    found = _call(subject, aligner, kind, moved, fixed)
    shape = (fixed.shape[0], fixed.shape[1])
    what = f"{kind}: a view that moved by {_SHIFT} pixels"
    error = corner_distance(found.matrix, truth, shape)
    remedy = "map points (x, y) of the reference to points of the moved image"
    require(error < _NEAR, subject, f"{what} is found {error:.1f} pixels off", remedy)
    remedy = f"return {CONFIDENT} or more where the images agree"
    require(found.confidence >= CONFIDENT, subject, f"{what} has the confidence {found.confidence:.2f}", remedy)
    if kind in ("translation", "rigid"):
        sizes = np.linalg.svd(found.matrix[:2, :2], compute_uv=False)
        kept = np.allclose(sizes, truth[0, 0], rtol=1e-3) and np.allclose(found.matrix[2, :2], 0)
        require(kept, subject, f"{kind}: the scale becomes {sizes.round(4).tolist()}", "keep the scale of start")


def _call(subject: str, aligner: type[Aligner], kind: TransformKind, moved: Plane, fixed: Plane) -> Alignment:
    before = moved.copy(), fixed.copy()
    try:
        found = find_alignment(aligner, [moved], [fixed], kind)
    except FusionkitError as error:
        fail(subject, f"{kind}: it fails ({error})", "take any grey images from its smallest size on")
    kept = np.array_equal(moved, before[0]) and np.array_equal(fixed, before[1])
    require(kept, subject, "it changes its inputs in place", "work on a copy")
    return found


def _views(shape: tuple[int, int], *, seed: int) -> tuple[Plane, Plane]:
    """Two crops of one scene of shapes and textures, the first of which is shifted."""
    rng = np.random.default_rng(seed)
    whole = (shape[0] + 2 * _MARGIN, shape[1] + 2 * _MARGIN)
    scene = np.zeros(whole, np.float32)
    for sigma, weight in ((2.0, 0.3), (6.0, 0.6), (14.0, 1.0)):
        noise = cv2.GaussianBlur(rng.standard_normal(whole).astype(np.float32), (0, 0), sigma)
        scene += weight * noise / noise.std()
    scene = np.where(scene > 0.4, 0.7, 0.2) + 0.1 * scene / np.abs(scene).max()
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), 1.0), np.float32).clip(0, 1)
    x, y = _SHIFT
    rows, columns = slice(_MARGIN, _MARGIN + shape[0]), slice(_MARGIN, _MARGIN + shape[1])
    moved = scene[rows.start - y : rows.stop - y, columns.start - x : columns.stop - x]
    return np.ascontiguousarray(moved), np.ascontiguousarray(scene[rows, columns])
