"""Georeference of a GeoTIFF, the place of its pixels on the Earth: its tags, kept as they are, and transforms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import DataError

__all__ = ["GEO_TAGS", "GeoTags", "grid_to_grid", "read_geo_tags"]

_SCALE, _TIE_POINTS, _MATRIX, _KEYS, _NUMBERS, _TEXTS = 33550, 33922, 34264, 34735, 34736, 34737
GEO_TAGS = {_SCALE: 12, _TIE_POINTS: 12, _MATRIX: 12, _KEYS: 3, _NUMBERS: 12, _TEXTS: 2}
"""Tags of GeoTIFF 1.1, and the TIFF types that they are written with (12 double, 3 short, 2 text)."""

_MODEL_KEY, _RASTER_KEY, _GEOGRAPHIC_KEY, _PROJECTED_KEY = 1024, 1025, 2048, 3072
_PIXEL_IS_POINT, _USER_DEFINED = 2, 32767
_GRID = 9


@dataclass(frozen=True)
class GeoTags:
    """The georeference of an image.

    Attributes:
        tags: the tags of :data:`GEO_TAGS` that the file has.
        matrix: 3x3, maps pixel centres (column, row), counted from 0, to coordinates of the reference system.
        epsg: code of the reference system where the file states one; None otherwise.
    """

    tags: Mapping[int, Any]
    matrix: NDArray[np.float64] = field(compare=False)
    epsg: int | None = None

    def same_system(self, other: GeoTags) -> bool:
        """Return whether both have coordinates of one reference system."""
        if self.epsg is not None and other.epsg is not None:
            return self.epsg == other.epsg
        system = (_KEYS, _NUMBERS, _TEXTS)
        return all(self.tags.get(tag) == other.tags.get(tag) for tag in system)


def read_geo_tags(tags: Mapping[int, Any]) -> GeoTags | None:
    """Read the georeference from the tags of a TIFF file; None if it has none that maps a plane to a plane.

    Source: OGC 19-008r4, GeoTIFF 1.1, sections 7.1 and B.6.
    """
    kept = {tag: tags[tag] for tag in GEO_TAGS if tag in tags}
    try:
        if _MATRIX in kept:
            full = np.array(kept[_MATRIX], float).reshape(4, 4)
            matrix = full[np.ix_((0, 1, 3), (0, 1, 3))]
        elif _SCALE in kept and _TIE_POINTS in kept and len(kept[_TIE_POINTS]) == 6:
            across, down = (float(value) for value in kept[_SCALE][:2])
            column, row, _, x, y, _ = (float(value) for value in kept[_TIE_POINTS])
            matrix = np.array([[across, 0, x - across * column], [0, -down, y + down * row], [0, 0, 1]])
        else:
            return None
        entries = np.array(kept.get(_KEYS, ()), np.int64).reshape(-1, 4)[1:]
    except (ValueError, TypeError):
        return None
    keys = {int(key): int(value) for key, place, _, value in entries if place == 0}
    if abs(np.linalg.det(matrix)) < 1e-300 or not np.isfinite(matrix).all():
        return None
    if keys.get(_RASTER_KEY) != _PIXEL_IS_POINT:
        # Coordinates are those of pixel corners.
        matrix = matrix @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    code = keys.get(_PROJECTED_KEY if keys.get(_MODEL_KEY) == 1 else _GEOGRAPHIC_KEY)
    return GeoTags(kept, matrix, code if code and code != _USER_DEFINED else None)


def grid_to_grid(fixed: GeoTags, moved: GeoTags, shape: tuple[int, int], *, name: str) -> NDArray[np.float64]:
    """Matrix that maps pixel centres of one grid to those of another, by where both lie.

    In two reference systems it is the plane transform that fits a grid of 9x9 points best, which rasterio converts.

    Args:
        fixed: georeference of the reference.
        moved: that of the image that is to be resampled.
        shape: height and width of the reference.
        name: begins messages.

    Raises:
        fusionkit.errors.DataError: the systems differ and rasterio is missing or does not know them, or no plane
            transform fits to half a pixel.
    """
    if fixed.same_system(moved):
        return np.asarray(np.linalg.inv(moved.matrix) @ fixed.matrix, np.float64)
    if fixed.epsg is None or moved.epsg is None:
        raise DataError(f"{name}: its reference system differs from that of the reference, and has no EPSG code")
    try:
        from rasterio.errors import RasterioError
        from rasterio.warp import transform
    except ImportError:
        raise DataError(
            f"{name}: is in EPSG:{moved.epsg} and the reference in EPSG:{fixed.epsg}; rasterio brings them together: "
            "pip install 'image-fusionkit[geo]'"
        ) from None
    rows, columns = np.meshgrid(np.linspace(0, shape[0] - 1, _GRID), np.linspace(0, shape[1] - 1, _GRID))
    points = np.stack([columns.ravel(), rows.ravel(), np.ones(rows.size)])
    x, y, _ = fixed.matrix @ points
    try:
        there = np.array(transform(f"EPSG:{fixed.epsg}", f"EPSG:{moved.epsg}", x.tolist(), y.tolist()))
    except (RasterioError, ValueError) as error:
        raise DataError(f"{name}: EPSG:{moved.epsg} and EPSG:{fixed.epsg} cannot be converted: {error}") from None
    target = np.linalg.inv(moved.matrix) @ np.vstack([there, np.ones(rows.size)])
    return _fitted(points[:2].T, target[:2].T, name)


def _fitted(points: NDArray[np.float64], target: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    import cv2

    from fusionkit.io.text import shortened

    matrix, _ = cv2.findHomography(points, target, 0)
    if matrix is not None:
        mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
        off = np.abs(mapped[:, :2] / mapped[:, 2:] - target).max()
        if off <= 0.5:
            return np.asarray(matrix, np.float64)
    raise DataError(
        f"{shortened(name)}: its reference system bends the scene: no plane transform fits to half a pixel; warp it to "
        "the reference's system first (gdalwarp)"
    )
