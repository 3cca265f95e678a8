"""Shows where each pixel of a result came from: the weights of its sources, and of a focus stack the depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionkit.errors import DataError, PluginError, UsageError
from fusionkit.fuse.adapter import call_maps
from fusionkit.io.atomic import written_aside
from fusionkit.io.color import luminance
from fusionkit.io.images import Image, write_image

if TYPE_CHECKING:
    from fusionkit.fuse.model import Model

__all__ = ["MapWriter", "check_maps", "checked_maps", "compute_maps", "fuser_inputs"]

INDEX = "index"
"""Name of the map that holds the number of each pixel's source, as a part of the last one's."""


def check_maps(model: Model, sources: int, *, spacing: float | None) -> None:
    """Refuse a model that does not weigh its sources pixel by pixel, or not this many at once, or knows no depth.

    Args:
        model: what fuses.
        sources: number of sources.
        spacing: distance between the frames of a focus stack; None if no depth is asked for.

    Raises:
        fusionkit.errors.UsageError: see above.
    """
    fuser, name = model.fuser, model.name
    most = fuser.capabilities.max_sources
    if most is not None and sources > most:
        raise UsageError(f"{name}: fuses {most} sources at once, so there are no maps of {sources}")
    small = torch.zeros(1, 3 if fuser.space == "rgb" else 1, 64, 64, device=model.device)
    with torch.inference_mode():
        names = call_maps(fuser, [small] * sources).keys()
    if not names:
        raise UsageError(
            f"{name}: computes no weight of each source at each pixel, so there are no maps: leave --maps out, "
            "or choose a method that weighs its sources"
        )
    if spacing is not None and INDEX not in names:
        raise UsageError(
            f"--spacing: {name} does not choose one frame per pixel, so there is no depth: choose a method that does, "
            "or leave --spacing out"
        )


def compute_maps(model: Model, images: Sequence[Image]) -> dict[str, Tensor]:
    """Compute the maps of a model for sources of one size: name -> ``(1, 1, H, W)`` float32 in [0, 1] on the CPU.

    Raises:
        fusionkit.errors.PluginError: a map has another size, or values that are not finite.
    """
    with torch.inference_mode():
        return checked_maps(call_maps(model.fuser, fuser_inputs(model, images)), images[0])


def fuser_inputs(model: Model, images: Sequence[Image]) -> list[Tensor]:
    """Convert images to what the model's fuser is called with: luminance or RGB, ``(1, C, H, W)`` on its device."""
    tensors = [image.tensor()[:, :3] for image in images]
    if model.fuser.space == "rgb":
        return [values.expand(-1, 3, -1, -1).to(model.device) for values in tensors]
    return [luminance(values).to(model.device) for values in tensors]


def checked_maps(maps: Mapping[str, Tensor], image: Image) -> dict[str, Tensor]:
    """Bring maps to float32 in [0, 1] on the CPU.

    Raises:
        fusionkit.errors.PluginError: a map has another size than the image, or values that are not finite.
    """
    shape = (1, 1, *image.pixels.shape[:2])
    for name, values in maps.items():
        if tuple(values.shape) != shape:
            raise PluginError(f"the map {name} is {tuple(values.shape)}, not {shape}")
        if not torch.isfinite(values).all():
            raise PluginError(f"the map {name} has values that are not finite")
    return {name: values.float().clamp(0, 1).cpu() for name, values in maps.items()}


@dataclass(frozen=True)
class MapWriter:
    """Writes the maps of results: weights as grey PNG files of 8 bits, white where the weight is 1.

    Depth is the number of the chosen frame, counted from 0, times ``spacing``: TIFF of 32-bit floats, and a PNG in
    colours from blue (first frame) to yellow (last).

    Attributes:
        inside: files go into a folder ``maps`` beside the result, not beside it.
        spacing: distance between the frames of a focus stack, or None for no depth.
        force: replace files that are there.
    """

    inside: bool
    spacing: float | None = None
    force: bool = False

    def write(self, model: Model, images: Sequence[Image], target: Path) -> list[Path]:
        """Write the maps of one result and return their files.

        Args:
            model: what fuses; :func:`check_maps` has accepted it.
            images: the sources, as they are fused.
            target: the result.

        Raises:
            fusionkit.errors.UsageError: a file is there already.
            fusionkit.errors.DataError: a file cannot be written.
            fusionkit.errors.PluginError: see :func:`compute_maps`.
        """
        maps = compute_maps(model, images)
        folder = target.parent / "maps" if self.inside else target.parent
        files = {name: folder / f"{target.stem}.{name}.png" for name in maps}
        depth, picture = folder / f"{target.stem}.depth.tif", folder / f"{target.stem}.depth.png"
        every = [*files.values(), *((depth, picture) if self.spacing is not None else ())]
        there = [file for file in every if file.exists()]
        if there and not self.force:
            raise UsageError(f"{there[0]}: is there already; name another place, or replace it with --force")
        orientation = images[0].orientation
        for name, values in maps.items():
            write_image(files[name], Image.from_tensor(values, bits=8, orientation=orientation))
        if self.spacing is not None:
            part = maps[INDEX][0, 0].numpy()
            _write_floats(depth, np.rint(part * (len(images) - 1)) * np.float32(self.spacing), orientation)
            coloured = cv2.applyColorMap(np.rint(255 * part).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
            write_image(picture, Image(np.ascontiguousarray(coloured[..., ::-1]), orientation=orientation))
        return every


def _write_floats(path: Path, values: NDArray[np.float32], orientation: int) -> None:
    from PIL import Image as Pillow

    with written_aside(path) as aside:
        try:
            Pillow.fromarray(values).save(aside, compression="tiff_deflate", tiffinfo={274: orientation})
        except ValueError as error:
            raise DataError(f"{path}: cannot be written ({error})") from None
