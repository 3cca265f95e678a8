"""Read volumes from NIfTI files and DICOM series, and write NIfTI; each voxel's place is kept as an affine."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fusionkit.errors import DataError, UsageError
from fusionkit.io.atomic import written_aside

__all__ = ["Plane", "Volume", "is_volume", "read_volume", "slices", "write_volume"]

Plane = Literal["axial", "coronal", "sagittal"]
"""Planes that a volume is cut along."""

_NIFTI = (".nii", ".nii.gz")
_ACROSS = {"sagittal": 0, "coronal": 1, "axial": 2}
# Slices of one series lie at equal distances, but for the rounding of their positions.
_UNEVEN = 0.02


@dataclass(frozen=True, eq=False)
class Volume:
    """Values on a grid in space.

    Attributes:
        name: file or folder, for messages.
        values: ``(X, Y, Z)``, integers or float32; or ``(X, Y, Z, 3)`` uint8 RGB.
        affine: ``(4, 4)``, from voxel indices to millimetres, to the right, to the front, upwards.
        placed: whether the file states the affine; without it, it is only the size of the voxels.
    """

    name: str
    values: NDArray[Any]
    affine: NDArray[np.float64]
    placed: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        x, y, z = self.values.shape[:3]
        return x, y, z


def _library(name: str) -> ModuleType:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError:
        raise UsageError(f"volumes are read by {name}: pip install 'image-fusionkit[medical]'") from None


def is_volume(path: Path) -> bool:
    """Return whether a path is named like a NIfTI file, or is a folder that holds ``.dcm`` files."""
    return path.name.lower().endswith(_NIFTI) or (path.is_dir() and any(path.glob("*.dcm")))


def read_volume(path: Path) -> Volume:
    """Read a NIfTI file, or the DICOM series in a folder.

    Only values and affine are read: nothing about a patient leaves the file.

    Raises:
        fusionkit.errors.UsageError: the library for it is not installed.
        fusionkit.errors.DataError: it cannot be read, or is not one volume.
    """
    return _read_series(path) if path.is_dir() else _read_nifti(path)


def _read_nifti(path: Path) -> Volume:
    nibabel = _library("nibabel")
    if not path.is_file():
        raise DataError(f"{path}: no such file; check the name")
    try:
        image = nibabel.load(path)
        values = np.asanyarray(image.dataobj)
    except (nibabel.filebasedimages.ImageFileError, OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as NIfTI ({_line(error)}): get a whole copy of it") from None
    if values.dtype.names == ("R", "G", "B"):
        values = np.stack([values[channel] for channel in "RGB"], -1)
    elif values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    colour = values.ndim == 4 and values.dtype == np.uint8 and values.shape[3] == 3
    if (values.ndim != 3 and not colour) or values.dtype.kind not in "iuf":
        form = "x".join(str(side) for side in values.shape)
        raise DataError(f"{path}: is {form} {values.dtype}, not one volume of numbers: take one volume out of it")
    header = image.header
    placed = bool(int(header.get("sform_code", 0)) or int(header.get("qform_code", 0)))
    return _volume(path, values, np.asarray(image.affine, np.float64), placed)


def _volume(path: Path, values: NDArray[Any], affine: NDArray[np.float64], placed: bool) -> Volume:
    if 0 in values.shape:
        raise DataError(f"{path}: holds no voxels")
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise DataError(f"{path}: its affine cannot be inverted: the header is damaged")
    if values.dtype.kind == "f" or values.dtype.itemsize > 4:
        values = values.astype(np.float32)
    return Volume(str(path), values, affine, placed)


def _read_series(folder: Path) -> Volume:
    pydicom = _library("pydicom")
    slices: list[tuple[float, NDArray[np.float64], NDArray[Any]]] = []
    series: set[str] = set()
    geometry: set[tuple[float, ...]] = set()
    for file in sorted(folder.glob("*.dcm")):
        try:
            one = pydicom.dcmread(file)
            if one.PhotometricInterpretation != "MONOCHROME2":
                raise DataError(f"{file}: is {one.PhotometricInterpretation}; only MONOCHROME2 is read")
            series.add(str(one.SeriesInstanceUID))
            turned = tuple(round(float(value), 4) for value in one.ImageOrientationPatient)
            spacing = tuple(float(value) for value in one.PixelSpacing)
            geometry.add((*turned, *spacing, int(one.Rows), int(one.Columns)))
            position = np.array([float(value) for value in one.ImagePositionPatient])
            slope, intercept = float(one.get("RescaleSlope", 1)), float(one.get("RescaleIntercept", 0))
            stored = one.pixel_array
            thickness = float(one.get("SliceThickness", 1) or 1)
        except (pydicom.errors.InvalidDicomError, AttributeError, KeyError, OSError, ValueError, RuntimeError) as error:
            raise DataError(f"{file}: cannot be read as a slice of a series ({_line(error)})") from None
        plain = slope == 1 and intercept == int(intercept)
        values = stored.astype(np.int32) + int(intercept) if plain else (stored * slope + intercept).astype(np.float32)
        normal = np.cross(turned[:3], turned[3:])
        slices.append((float(position @ normal), position, values))
    if len(series) > 1 or len(geometry) > 1:
        what = f"{len(series)} series" if len(series) > 1 else f"slices of {len(geometry)} grids"
        raise DataError(f"{folder}: holds {what}: give each series a folder of its own")
    slices.sort(key=lambda one: one[0])
    along, across = np.array(turned[:3]), np.array(turned[3:])
    gaps = np.diff([depth for depth, _, _ in slices])
    if len(gaps) and gaps.max() - gaps.min() > max(_UNEVEN * gaps.mean(), 1e-3):
        raise DataError(
            f"{folder}: its slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart: one is missing, or is there twice"
        )
    step = (slices[-1][1] - slices[0][1]) / len(gaps) if len(gaps) else np.cross(along, across) * thickness
    affine = np.eye(4)
    # DICOM counts to the left and to the back; the pixel spacing is of rows first.
    affine[:3] = np.diag([-1.0, -1.0, 1.0]) @ np.stack(
        [along * spacing[1], across * spacing[0], step, slices[0][1]], axis=1
    )
    values = np.stack([values for _, _, values in slices]).transpose(2, 1, 0)
    return _volume(folder, values, affine, True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def slices(values: NDArray[Any], affine: NDArray[np.float64], plane: Plane) -> NDArray[Any]:
    """View a volume as slices ``(K, H, W, ...)`` to look at; writing into the view writes into the volume.

    Axial slices have the front up and the patient's right on the right; coronal ones the head up and the right on the
    right; sagittal ones the head up and the front on the right. Slices are counted from the feet, the back, the left.

    Args:
        values: ``(X, Y, Z, ...)``.
        affine: see :class:`Volume`.
        plane: the plane.
    """
    nibabel = _library("nibabel")
    turns = nibabel.io_orientation(affine)
    order = [int(np.flatnonzero(turns[:, 0] == axis)[0]) for axis in range(3)]
    canonical = np.transpose(values, (*order, *range(3, values.ndim)))
    canonical = np.flip(canonical, tuple(axis for axis in range(3) if turns[order[axis], 1] < 0))
    return np.flip(np.moveaxis(canonical, _ACROSS[plane], 0).swapaxes(1, 2), 1)


def write_volume(path: Path, values: NDArray[np.float32], affine: NDArray[np.float64], *, bits: int) -> None:
    """Write a NIfTI file.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        values: ``(X, Y, Z)`` in [0, 1], stored as integers with the slope that gives the values back, or as floats; or
            ``(X, Y, Z, 3)``, stored as 8-bit RGB.
        affine: see :class:`Volume`.
        bits: 8, 16, or 32 for floats.

    Raises:
        fusionkit.errors.DataError: the file cannot be written.
    """
    nibabel = _library("nibabel")
    stored: NDArray[Any]
    if values.ndim == 4:
        rgb = np.rint(values * 255).astype(np.uint8)
        stored = np.ascontiguousarray(rgb).view(np.dtype([(c, "u1") for c in "RGB"]))[..., 0]
        image = nibabel.Nifti1Image(stored, affine)
    else:
        greatest = 2**bits - 1
        stored = values if bits == 32 else np.rint(values * greatest).astype(f"u{bits // 8}")
        image = nibabel.Nifti1Image(stored, affine)
        if bits < 32:
            image.header.set_slope_inter(1 / greatest, 0)
    image.header.set_xyzt_units("mm")
    data = image.to_bytes()
    with written_aside(path) as aside:
        aside.write_bytes(gzip.compress(data, 6, mtime=0) if path.name.lower().endswith(".gz") else data)
