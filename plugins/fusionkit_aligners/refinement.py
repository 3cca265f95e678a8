"""Refinement of a transform: one model is fitted to the correlation surfaces of all windows together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fusionkit.contracts import Matrix, Plane, TransformKind
from fusionkit.fuse.transforms import resample, scaling
from fusionkit_aligners.edges import blur, describe, resized

__all__ = ["Refined", "refine"]

# Working size (root of the area, in pixels), largest displacement, and rounds.
_LEVELS = ((110, 5, 2), (220, 5, 2), (440, 4, 3))
_WINDOW = 0.05  # of the working size
_RIDGE, _RIDGE_PERSPECTIVE = 1e-3, 1e-2


@dataclass(frozen=True)
class Refined:
    """A refined transform.

    Attributes:
        matrix: maps points of the reference to points of the moved image.
        agreement: share of windows whose own best displacement supports the transform; about 0.1 by chance.
        score: correlation of the edges.
    """

    matrix: Matrix
    agreement: float
    score: float


def refine(moved: Sequence[Plane], fixed: Sequence[Plane], start: Matrix, kind: TransformKind) -> Refined:
    """Refine a transform from coarse to fine.

    Args:
        moved: grey images in [0, 1], one per pair.
        fixed: their references, all images of one size.
        start: the transform to begin with.
        kind: kind of transform.
    """
    height, width = fixed[0].shape
    matrix = start
    agreement = score = 0.0
    for level, (size, radius, rounds) in enumerate(_LEVELS):
        factor = min(1.0, size / np.sqrt(height * width))
        small = [resized(m, factor) for m in moved]
        described = [describe(resized(f, factor)) for f in fixed]
        shape = described[0].shape[1:]
        down = scaling(shape, (height, width))
        current = down @ matrix @ np.linalg.inv(down)
        step = max(4, round(_WINDOW * np.sqrt(shape[0] * shape[1])))
        for turn in range(rounds):
            surfaces, centres, known, score = _surfaces(small, described, current, radius, step)
            gates = (0.8 * radius, 0.5 * radius, 1.5, 1.0) if turn == 0 else (1.5, 1.0)
            # The perspective is left for later rounds: it fits anything while the rest is wrong.
            model: TransformKind = "affine" if kind == "homography" and level == turn == 0 else kind
            current = current @ _fit(surfaces, centres, known, radius, shape, gates, model)
            if kind == "rigid":
                current = _rigid(current, shape)
        supported = _agreement(surfaces, known, radius)
        # A simple transform is right as a whole where it is some pixels off here and there, which coarser levels allow.
        agreement = max(agreement, supported) if kind in ("translation", "rigid") else supported
        matrix = np.linalg.inv(down) @ current @ down
        matrix = matrix / matrix[2, 2]
    return Refined(matrix, agreement, score)


def _surfaces(
    moved: Sequence[Plane], described: Sequence[Plane], matrix: Matrix, radius: int, step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], Plane, float]:
    """Correlation of every window for every displacement, ``((2 r + 1)^2, windows)``, summed over pairs."""
    shape = described[0].shape[1:]
    total: NDArray[np.float64] | float = 0.0
    score = 0.0
    for image, fixed in zip(moved, described, strict=True):
        warped, inside = resample(image, matrix, shape)
        mask = np.asarray(cv2.erode(inside.astype(np.float32), np.ones((5, 5)), borderValue=1), np.float32)
        edges = describe(warped) * mask
        padded = np.pad(edges, ((0, 0), (radius, radius), (radius, radius)))
        displaced = range(2 * radius + 1)
        planes = [
            blur(_cells((padded[:, y : y + shape[0], x : x + shape[1]] * fixed).sum(0), step), 1.3).ravel()
            for y in displaced
            for x in displaced
        ]
        total = total + np.stack(planes).astype(np.float64)
        norm = np.sqrt((edges * edges).sum() * (fixed * fixed * mask).sum() + 1e-9)
        score += float((edges * fixed).sum() / norm) / len(moved)
    rows, columns = shape[0] // step, shape[1] // step
    x, y = np.meshgrid((np.arange(columns) + 0.5) * step - 0.5, (np.arange(rows) + 0.5) * step - 0.5)
    known = blur(_cells(mask, step), 1.3).ravel()
    return np.asarray(total, float), np.column_stack([x.ravel(), y.ravel()]), known, score


def _cells(plane: Plane, step: int) -> Plane:
    rows, columns = plane.shape[0] // step, plane.shape[1] // step
    return cv2.resize(plane[: rows * step, : columns * step], (columns, rows), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def _displacements(radius: int) -> NDArray[np.float64]:
    line = np.arange(-radius, radius + 1, dtype=float)
    return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)


def _agreement(surfaces: NDArray[np.float64], known: Plane, radius: int) -> float:
    sure = known > 0.5
    if not sure.any():
        return 0.0
    best = _displacements(radius)[surfaces[:, sure].argmax(0)]
    return float((np.linalg.norm(best, axis=1) < 1.6).mean())


def _fit(
    surfaces: NDArray[np.float64],
    centres: NDArray[np.float64],
    known: Plane,
    radius: int,
    shape: tuple[int, ...],
    gates: Sequence[float],
    kind: TransformKind,
) -> Matrix:
    """Fit one transform to the surfaces of all windows by expectation and maximisation.

    Each window votes with its surface near the current model, within a gate that narrows; no window has to be right by
    itself. A ridge keeps the linear part near the start.
    """
    size, middle = max(shape) / 2, np.array([shape[1] / 2, shape[0] / 2])
    u, v = ((centres - middle) / size).T
    one, zero = np.ones(len(u)), np.zeros(len(u))
    columns: dict[str, tuple[NDArray[np.float64], NDArray[np.float64], float]] = {
        "xx": (u, zero, _RIDGE),
        "xy": (v, zero, _RIDGE),
        "x": (one, zero, 1e-9),
        "yx": (zero, u, _RIDGE),
        "yy": (zero, v, _RIDGE),
        "y": (zero, one, 1e-9),
        "px": (-u * u, -u * v, _RIDGE_PERSPECTIVE),
        "py": (-u * v, -v * v, _RIDGE_PERSPECTIVE),
        "turn": (-v, u, _RIDGE),
    }
    names = {
        "translation": ("x", "y"),
        "rigid": ("turn", "x", "y"),
        "affine": ("xx", "xy", "x", "yx", "yy", "y"),
        "homography": ("xx", "xy", "x", "yx", "yy", "y", "px", "py"),
    }[kind]
    jacobian = np.column_stack([np.concatenate(columns[name][:2]) for name in names])
    ridge = np.diag([columns[name][2] for name in names])
    displacements = _displacements(radius)
    found = np.zeros(len(names))
    for gate in gates:
        for _ in range(4):
            predicted = (jacobian @ found).reshape(2, -1).T * size
            distance = ((displacements[:, None] - predicted[None]) ** 2).sum(-1)
            near = np.exp(-distance / (2 * gate * gate))
            mean = (surfaces * near).sum(0) / (near.sum(0) + 1e-9)
            votes = np.maximum(surfaces - mean, 0) ** 2 * near
            weight = votes.sum(0) + 1e-12
            voted = (votes[..., None] * displacements[:, None]).sum(0) / weight[:, None]
            share = np.tile(weight * known, 2)
            share = share / share.sum()
            normal = (jacobian * share[:, None]).T
            found = np.linalg.solve(normal @ jacobian + ridge, normal @ (voted.T.ravel() / size))
    p = dict.fromkeys(columns, 0.0) | dict(zip(names, found, strict=True))
    unit = np.array(
        [
            [1 + p["xx"], p["xy"] - p["turn"], p["x"]],
            [p["yx"] + p["turn"], 1 + p["yy"], p["y"]],
            [p["px"], p["py"], 1],
        ]
    )
    into = np.array([[1 / size, 0, -middle[0] / size], [0, 1 / size, -middle[1] / size], [0, 0, 1]])
    result: Matrix = np.linalg.inv(into) @ unit @ into
    return result


def _rigid(matrix: Matrix, shape: tuple[int, ...]) -> Matrix:
    """Nearest rotation and shift, about the centre of the image."""
    centre = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
    left, _, right = np.linalg.svd(matrix[:2, :2])
    turn = left @ right
    result = np.eye(3)
    result[:2, :2] = turn
    result[:2, 2] = matrix[:2, :2] @ centre + matrix[:2, 2] - turn @ centre
    return result
