"""Plane transforms: 3x3 matrices that map points (x, y) of the reference to points of the image that is moved."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fusionkit.contracts import Matrix

__all__ = ["apply_to_points", "corner_distance", "resample", "scaling", "shift_of", "starting_scale"]


def apply_to_points(matrix: Matrix, points: NDArray[Any]) -> NDArray[np.float64]:
    """Map points ``(N, 2)``."""
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    result: NDArray[np.float64] = mapped[:, :2] / mapped[:, 2:]
    return result


def corner_distance(first: Matrix, second: Matrix, shape: tuple[int, int]) -> float:
    """Mean distance of the four corners of an image ``(H, W)`` under two transforms, in pixels."""
    height, width = shape
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    moved = apply_to_points(first, corners) - apply_to_points(second, corners)
    return float(np.linalg.norm(moved, axis=1).mean())


def shift_of(matrix: Matrix, shape: tuple[int, int]) -> tuple[float, float]:
    """Shift (x, y) of the centre of an image ``(H, W)``, in pixels."""
    centre = np.array([[(shape[1] - 1) / 2, (shape[0] - 1) / 2]])
    x, y = (apply_to_points(matrix, centre) - centre)[0]
    return float(x), float(y)


def scaling(to_shape: tuple[int, int], from_shape: tuple[int, int]) -> Matrix:
    """Map pixel centres of an image ``from_shape`` to those of the same image resized to ``to_shape``."""
    y, x = to_shape[0] / from_shape[0], to_shape[1] / from_shape[1]
    return np.array([[x, 0, x / 2 - 0.5], [0, y, y / 2 - 0.5], [0, 0, 1]])


def starting_scale(moved: tuple[int, int], fixed: tuple[int, int], scale: float | None = None) -> Matrix:
    """Bring an image to the scale of its reference, without distorting it, centre on centre.

    Args:
        moved: ``(H, W)`` of the image.
        fixed: ``(H, W)`` of the reference.
        scale: pixels of the image per pixel of the reference; by their areas where None.
    """
    if scale is None:
        scale = math.sqrt(moved[0] * moved[1] / (fixed[0] * fixed[1]))
    x = (moved[1] - 1) / 2 - scale * (fixed[1] - 1) / 2
    y = (moved[0] - 1) / 2 - scale * (fixed[0] - 1) / 2
    return np.array([[scale, 0, x], [0, scale, y], [0, 0, 1.0]])


def resample(
    pixels: NDArray[np.float32], matrix: Matrix, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Resample an image onto the grid of a reference, once, bicubically.

    Where the grid is coarser than the image, the image is smoothed first, so that no pattern arises.

    Args:
        pixels: ``(H, W)`` or ``(H, W, C)``.
        matrix: maps points of the reference to points of the image.
        shape: ``(H, W)`` of the reference.

    Returns:
        The pixels on the grid, continued beyond the image by its border; and where on the grid the image is known.
    """
    coarser = math.sqrt(abs(np.linalg.det(matrix[:2, :2])))
    if coarser > 1.05:
        smooth = cv2.GaussianBlur(pixels, (0, 0), 0.5 * math.sqrt(coarser**2 - 1))
        pixels = np.asarray(smooth, np.float32).reshape(pixels.shape)
    size = (shape[1], shape[0])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(pixels, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = np.ones(pixels.shape[:2], np.float32)
    known = cv2.warpPerspective(inside, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) > 0.999
    return np.asarray(moved, np.float32).reshape(*shape, *pixels.shape[2:]), np.asarray(known)
