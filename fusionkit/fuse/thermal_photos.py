"""Unpack radiometric photographs of thermal cameras into aligned pairs: temperatures, and the visible photograph."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import DataError
from fusionkit.fuse.transforms import apply_to_points, resample
from fusionkit.io.atomic import folder_written_aside, write_text
from fusionkit.io.codecs import encode
from fusionkit.io.images import Image, decode_file, read_image, write_image
from fusionkit.io.text import counted
from fusionkit.io.thermal_cameras import holds_temperatures, visible_to_thermal

__all__ = ["thermal_photos_in", "unpack_thermal"]

_SUFFIXES = (".jpg", ".jpeg")


def thermal_photos_in(place: Path) -> list[Path]:
    """List the radiometric JPEG files of a folder, or the one file that is named.

    Raises:
        fusionkit.errors.DataError: there are none.
    """
    files = sorted(place.iterdir()) if place.is_dir() else [place] if place.is_file() else []
    found = [file for file in files if file.suffix.lower() in _SUFFIXES and holds_temperatures(file.read_bytes())]
    if not found:
        looked = counted(len(files), "file")
        raise DataError(f"{place}: holds no radiometric JPEG of FLIR ({looked} looked at): name the camera's own files")
    return found


def unpack_thermal(files: Sequence[Path], out: Path, *, as_stored: bool = False) -> dict[str, Any]:
    """Write temperatures to ``ir/NAME.tif`` and photographs to ``vi/NAME.png``, and what was done to ``unpacked.json``.

    The photograph is cut to what the thermal sensor sees, and the temperatures are resampled to its pixels, once,
    bicubically, by the offset that the file states. The folder is written atomically.

    Args:
        files: radiometric JPEG files.
        out: a folder that does not exist yet.
        as_stored: leave both pictures as they are stored, each at its own size.

    Returns:
        The record: for each file its name, the range of its temperatures in degrees Celsius, the matrix from the
        photograph to the temperatures or None, and what was cut; ``skipped`` with reasons.

    Raises:
        fusionkit.errors.DataError: ``out`` exists or cannot be written, two files have one name, or none can be
            unpacked.
    """
    if out.exists():
        raise DataError(f"{out}: is there already: choose a new folder")
    stems = [file.stem for file in files]
    twice = next((file for file in files if stems.count(file.stem) > 1), None)
    if twice is not None:
        raise DataError(f"{twice}: another file has the name {twice.stem}: rename one")
    record: dict[str, Any] = {"aligned": not as_stored, "unit": "degrees Celsius", "files": {}, "skipped": {}}
    with folder_written_aside(out) as aside:
        for folder in ("ir", "vi"):
            (aside / folder).mkdir(parents=True)
        for file in files:
            try:
                record["files"][file.stem] = _unpack(file, aside, as_stored)
            except DataError as error:
                record["skipped"][file.name] = _reason(error)
        if not record["files"]:
            name, why = next(iter(record["skipped"].items()))
            raise DataError(f"{name}: {why}")
        write_text(aside / "unpacked.json", json.dumps(record, indent=2) + "\n")
    return record


def _reason(error: DataError) -> str:
    """Message without the file in front."""
    return str(error).partition(": ")[2]


def _unpack(file: Path, folder: Path, as_stored: bool) -> dict[str, Any]:
    celsius = decode_file(file.with_name(f"{file.name}[thermal]")).pixels.astype(np.float32)
    visible = read_image(file.with_name(f"{file.name}[visible]")).pixels
    stated = visible_to_thermal(file.read_bytes())
    cut = None
    if not as_stored:
        if stated is None:
            raise DataError(f"{file}: does not say where the photograph lies: unpack it --as-stored and align it")
        visible, matrix, cut = _common(visible, celsius, stated, file)
        celsius, _ = resample(celsius, matrix, visible.shape[:2])
    write_image(folder / "vi" / f"{file.stem}.png", Image(np.ascontiguousarray(visible)))
    target = folder / "ir" / f"{file.stem}.tif"
    target.write_bytes(b"".join(encode(celsius, ".tif", exif=None, orientation=1, icc=None)))
    finite = celsius[np.isfinite(celsius)]
    return {
        "celsius": [float(finite.min()), float(finite.max())] if finite.size else None,
        "visible_to_thermal": None if stated is None else stated.tolist(),
        "cut": cut,
    }


def _common(
    visible: NDArray[Any], celsius: NDArray[np.float32], stated: NDArray[np.float64], file: Path
) -> tuple[NDArray[Any], NDArray[np.float64], list[int]]:
    """Cut the photograph to what both see; give the matrix from the cut photograph, and the box x0 y0 x1 y1."""
    height, width = celsius.shape[:2]
    corners = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    (left, top), (right, bottom) = apply_to_points(np.asarray(np.linalg.inv(stated), np.float64), corners) + 0.5
    x0, y0 = max(0, int(np.ceil(left - 1e-6))), max(0, int(np.ceil(top - 1e-6)))
    x1 = min(visible.shape[1], int(np.floor(right + 1e-6)))
    y1 = min(visible.shape[0], int(np.floor(bottom + 1e-6)))
    if x1 - x0 < 8 or y1 - y0 < 8:
        raise DataError(f"{file}: photograph and temperatures do not overlap where it says: unpack it --as-stored")
    return visible[y0:y1, x0:x1], stated @ np.array([[1, 0, x0], [0, 1, y0], [0, 0, 1.0]]), [x0, y0, x1, y1]
