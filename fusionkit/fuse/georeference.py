"""Sources that state where they lie on the Earth: brought onto one grid, and the place of what is fused of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import cv2
import numpy as np

from fusionkit.contracts import Alignment
from fusionkit.errors import DataError, FusionNote
from fusionkit.io.geo_tags import GeoTags, grid_to_grid
from fusionkit.io.images import Image

__all__ = ["common_place", "place_alignment"]

_SAME = 0.01
"""Pixels by which two grids may differ and be called one."""


def place_alignment(moved: Image, fixed: Image) -> Alignment | None:
    """Find the transform that brings an image onto the grid of its reference by where both lie; None if they share one.

    Raises:
        fusionkit.errors.DataError: one of them does not state where it lies, they do not overlap, or their reference
            systems cannot be brought together.

    Warns:
        FusionNote: the image covers a part of the reference alone.
    """
    for image in (moved, fixed):
        if image.geo is None:
            raise DataError(f"{image.name}: does not state where it lies: it is no GeoTIFF; use another --align")
    assert moved.geo is not None
    assert fixed.geo is not None
    shape = (fixed.pixels.shape[0], fixed.pixels.shape[1])
    matrix = grid_to_grid(fixed.geo, moved.geo, shape, name=moved.name)
    if moved.pixels.shape[:2] == shape and _distance(matrix, shape) < _SAME:
        return None
    inside = np.ones(moved.pixels.shape[:2], np.float32)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    covered = float(cv2.warpPerspective(inside, matrix, shape[::-1], flags=flags).mean())
    if covered == 0:
        raise DataError(f"{moved.name}: lies beside {fixed.name}: they have no place in common")
    if covered < 0.999:
        warnings.warn(
            f"{moved.name}: covers {covered:.0%} of {fixed.name}; beyond it its border is continued",
            FusionNote,
            stacklevel=3,
        )
    return Alignment(matrix, 1.0)


def common_place(images: Sequence[Image]) -> GeoTags | None:
    """Return the georeference of a fused image: that of its sources, where those that have one agree.

    Warns:
        FusionNote: sources lie at different places by their files.
    """
    stated = [(image, image.geo) for image in images if image.geo is not None]
    if not stated:
        return None
    first, geo = stated[0]
    shape = (first.pixels.shape[0], first.pixels.shape[1])
    for image, other in stated[1:]:
        same = geo.same_system(other)
        if not same or _distance(np.linalg.inv(other.matrix) @ geo.matrix, shape) > _SAME:
            warnings.warn(
                f"{first.name} and {image.name} lie at different places by their files: --align place brings them "
                "together; the result states no place",
                FusionNote,
                stacklevel=3,
            )
            return None
    return geo


def _distance(matrix: np.ndarray, shape: tuple[int, int]) -> float:
    """Greatest distance by which a matrix moves a corner, in pixels."""
    corners = np.array([[0, 0, 1], [shape[1] - 1, 0, 1], [0, shape[0] - 1, 1], [shape[1] - 1, shape[0] - 1, 1]], float)
    mapped = corners @ matrix.T
    return float(np.abs(mapped[:, :2] / mapped[:, 2:] - corners[:, :2]).max())
