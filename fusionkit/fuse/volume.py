"""Fuses volumes slice by slice on the grid of one of them, with one range and one stretch for the volume."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fusionkit.errors import DataError, FusionNote, UsageError, did_you_mean
from fusionkit.fuse.adapter import check_size, plan_calls
from fusionkit.fuse.model import Model
from fusionkit.fuse.reading import Reading
from fusionkit.fuse.series_stretch import luminance_limits, stretch_between
from fusionkit.io.images import Image, as_pixels, write_image
from fusionkit.io.ranges import FULL, Range, Sampled
from fusionkit.io.volumes import Plane, Volume, read_volume, slices, write_volume

__all__ = ["VolumePlan", "fuse_volumes", "on_grid"]

_SAME = 1e-3
"""Millimetres by which the corners of equal grids may differ."""


@dataclass(frozen=True)
class VolumePlan:
    """Volumes to fuse into one.

    Attributes:
        sources: NIfTI files or folders of a DICOM series, in the task's order.
        target: ``.nii`` or ``.nii.gz``; a name without a suffix is a folder of PNG slices.
        reading: how values are read; a range is found once for a volume.
        reference: place of the source whose grid the result has; others are resampled onto it by their affines.
        plane: slices are cut and fused along it.
        colormap: name of one of Matplotlib's colour maps, to show the first source in; or None.
        bits: 8, 16, or 32 for floats; where None, 16, and 8 of a result in colour.
        force: replace an existing result.
    """

    sources: tuple[Path, ...]
    target: Path
    reading: Reading = field(default_factory=Reading)
    reference: int = 1
    plane: Plane = "axial"
    colormap: str | None = None
    bits: int | None = None
    force: bool = False

    @property
    def is_nifti(self) -> bool:
        """True if the result is one file, False if it is a folder of PNG slices."""
        return self.target.name.lower().endswith((".nii", ".nii.gz"))


def fuse_volumes(model: Model, plan: VolumePlan, *, report: Callable[[str, int, int], None] | None = None) -> int:
    """Fuse volumes that are registered: their affines say which voxels belong together.

    Every source is brought to 0..1 by one range for the volume; the stretch of the model is that of the whole result.
    Nothing of the sources' headers is written but the affine of the reference.

    Args:
        model: what to fuse with.
        plan: what to fuse.
        report: called after every slice.

    Returns:
        Number of slices.

    Raises:
        fusionkit.errors.UsageError: a target that is there or of another kind, a number of sources that the model does
            not take, an unknown colour map, bits that a result in colour does not have, or a library is missing.
        fusionkit.errors.DataError: a source cannot be read, grids differ and a file states no affine, volumes do not
            overlap, or the result cannot be written.

    Warns:
        FusionNote: a range was scaled, a source was resampled, or is taken for registered without a statement.
    """
    _check(model, plan)
    volumes = [read_volume(path) for path in plan.sources]
    reference = volumes[plan.reference]
    placed = [on_grid(volume, reference) for volume in volumes]
    cut = [slices(values, reference.affine, plan.plane) for values in placed]
    ranges = [
        _volume_range(volume, plan.reading.range_of(place), values)
        for place, (volume, values) in enumerate(zip(volumes, placed, strict=True))
    ]
    colour = plan.colormap is not None or any(_has_colour(volume.values) for volume in volumes)
    bits = plan.bits or (8 if colour else 16)
    if colour and bits != 8 and plan.is_nifti:
        raise UsageError(f"--bits {bits}: a NIfTI file in colour holds 8 bits")
    count, height, width = cut[0].shape[:3]
    check_size(model.fuser, (height, width), name=model.name, image=f"a {plan.plane} slice of {reference.name}")
    result = np.empty((*reference.shape, 3) if colour else reference.shape, np.float32)
    made = slices(result, reference.affine, plan.plane)
    still = Model(model.fuser, name=model.name, device=model.device, stretch="none", gamut=model.gamut)
    low, high = np.inf, -np.inf
    filled = 0
    for k in range(count):
        images = []
        for place, volume in enumerate(volumes):
            image = _slice(volume, cut[place][k], ranges[place], plan.reading.fill_invalid, number=k)
            filled += image.filled
            images.append(_coloured(image, plan.colormap) if place == 0 and plan.colormap else image)
        fused = still.fuse(*images, bits=32).tensor
        limits = luminance_limits(fused)
        low, high = min(low, limits[0]), max(high, limits[1])
        made[k] = fused[0].expand(made.shape[3], -1, -1).permute(1, 2, 0) if colour else fused[0, 0]
        if report:
            report("fusing", k + 1, count)
    if filled:
        _note(f"{filled} invalid values are filled")
    if model.stretch == "full":
        for k in range(count):
            fused = torch.from_numpy(np.ascontiguousarray(made[k])).reshape(1, height, width, -1).permute(0, 3, 1, 2)
            stretched = stretch_between(fused, low, high, model.gamut)[0].permute(1, 2, 0)
            made[k] = stretched if colour else stretched[..., 0]
    if plan.is_nifti:
        write_volume(plan.target, result, reference.affine, bits=bits)
    else:
        digits = len(str(count - 1))
        for k in range(count):
            values = torch.from_numpy(np.ascontiguousarray(made[k])).reshape(1, height, width, -1).permute(0, 3, 1, 2)
            write_image(plan.target / f"{plan.plane}_{k:0{digits}d}.png", Image.from_tensor(values, bits=bits))
    return count


def _check(model: Model, plan: VolumePlan) -> None:
    if len(plan.sources) < 2:
        raise UsageError(f"two or more volumes are needed to fuse, got {len(plan.sources)}")
    if not plan.reference < len(plan.sources):
        raise UsageError(f"reference: source {plan.reference + 1} of {len(plan.sources)} is asked for")
    plan_calls(model.fuser.capabilities, len(plan.sources), name=model.name)
    if plan.colormap is not None:
        import matplotlib

        if plan.colormap not in matplotlib.colormaps:
            raise UsageError(f"--colormap {plan.colormap}: {did_you_mean(plan.colormap, matplotlib.colormaps)}")
    if not plan.is_nifti and plan.target.suffix:
        raise UsageError(f"{plan.target}: volumes are fused into .nii, .nii.gz, or a folder of PNG slices")
    if not plan.is_nifti and plan.bits == 32:
        raise UsageError("--bits 32: PNG slices hold 8 or 16 bits")
    if plan.target.resolve() in {source.resolve() for source in plan.sources}:
        raise UsageError(f"{plan.target}: the result would replace a source; name another place")
    there = plan.target.exists() if plan.is_nifti else plan.target.is_file() or any(plan.target.glob("*"))
    if there and not plan.force:
        raise UsageError(f"{plan.target}: is there already; name another place, or replace it with --force")


def on_grid(volume: Volume, reference: Volume) -> NDArray[np.generic]:
    """Resample a volume onto the grid of another by both affines, linearly; outside of it the least value is taken.

    Args:
        volume: the volume; returned as it is where its grid is that of the reference.
        reference: has the grid.

    Raises:
        fusionkit.errors.DataError: grids differ and a file states no affine, or the volumes do not overlap.

    Warns:
        FusionNote: it was resampled, or an affine is missing.
    """
    if volume is reference:
        return volume.values
    same_shape = volume.shape == reference.shape
    if not (volume.placed and reference.placed):
        missing = " and ".join(one.name for one in (volume, reference) if not one.placed)
        if not same_shape:
            raise DataError(
                f"{volume.name}: is {_form(volume)} and {reference.name} {_form(reference)}, and no affine is stated "
                f"in {missing}: resample it onto the other with a registration program"
            )
        _note(f"no affine is stated in {missing}: voxels with equal indices are taken to belong together")
        return volume.values
    matrix = np.linalg.inv(volume.affine) @ reference.affine
    corners = np.stack([*np.meshgrid(*[(0, side - 1) for side in reference.shape]), np.ones((2, 2, 2))]).reshape(4, -1)
    if same_shape and abs((volume.affine - reference.affine) @ corners).max() <= _SAME:
        return volume.values
    inside = (matrix @ corners)[:3]
    if any(inside[k].max() < 0 or inside[k].min() > volume.shape[k] - 1 for k in range(3)):
        raise DataError(f"{volume.name}: does not overlap with {reference.name}: they are not of one place in space")
    from scipy import ndimage

    def resampled(values: NDArray[np.generic]) -> NDArray[np.generic]:
        floats = values.astype(np.float32)
        least = float(np.nanmin(floats))
        moved = ndimage.affine_transform(
            floats, matrix[:3, :3], matrix[:3, 3], output_shape=reference.shape, order=1, mode="constant", cval=least
        )
        return np.rint(moved).astype(values.dtype) if values.dtype.kind in "iu" else moved

    _note(f"{volume.name}: {_form(volume)} is resampled onto the grid of {reference.name}, {_form(reference)}")
    if volume.values.ndim == 4:
        return np.stack([resampled(volume.values[..., channel]) for channel in range(3)], -1)
    return resampled(volume.values)


def _form(volume: Volume) -> str:
    return "x".join(str(side) for side in volume.shape)


def _volume_range(volume: Volume, rule: Range, values: NDArray[np.generic]) -> Range:
    if rule.kind in ("full", "fixed"):
        return rule
    try:
        limits = rule.limits(Sampled().add(values))
    except DataError as error:
        raise DataError(f"{volume.name}: {error}") from None
    if limits is None:
        return FULL
    _note(f"{volume.name}: {limits[0]:g} to {limits[1]:g} are scaled to 0..1")
    return Range("fixed", *limits, text=rule.text)


def _slice(volume: Volume, values: NDArray[np.generic], rule: Range, fill: bool, *, number: int) -> Image:
    name = f"{volume.name}, slice {number}"
    pixels = np.ascontiguousarray(values if values.ndim == 3 else values[:, :, None])
    scaled, limits, filled = as_pixels(pixels, values=rule, fill=fill, name=name)
    return Image(scaled, name=name, limits=limits, filled=filled)


def _coloured(image: Image, colormap: str) -> Image:
    import matplotlib

    if image.pixels.shape[2] == 3:
        raise UsageError(f"--colormap: {image.name} has colours already")
    values = image.tensor()[0, 0].numpy()
    return Image(matplotlib.colormaps[colormap](values)[..., :3].astype(np.float32), name=image.name)


def _has_colour(values: NDArray[np.generic]) -> bool:
    return values.ndim == 4 and bool((values != values[..., :1]).any())


def _note(text: str) -> None:
    warnings.warn(text, FusionNote, stacklevel=3)
