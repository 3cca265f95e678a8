"""Read image files as the luminance that metrics are defined on, and score them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fusionkit.errors import DataError
from fusionkit.io.images import Image, read_image
from fusionkit.metrics.inputs import MetricInputs
from fusionkit.metrics.scoring import Scores, score

Crop = Literal["center", "topleft"]
"""Part of a larger image that is kept."""

__all__ = ["Crop", "luminance", "read_inputs", "read_luminance", "score_files"]


def luminance(image: Image, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Convert an image to grey levels, as evaluation code of the field does.

    A grey image is taken as it is. A colour one becomes ``Y = 0.299 R + 0.587 G + 0.114 B``, at 8 bits rounded to a
    whole level as OpenCV does it. 16-bit and float images are scaled to 0..255 and keep their fractions.

    Args:
        image: the image.
        dtype: float32 or float64.

    Returns:
        ``(1, 1, H, W)`` in 0..255.
    """
    pixels = image.pixels
    if image.is_grey:
        grey = torch.from_numpy(pixels[..., :1].astype("float64"))
    elif image.bits == 8:
        import cv2

        grey = torch.from_numpy(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)[..., :1].astype("float64"))
    else:
        grey = torch.from_numpy(pixels.astype("float64")) @ torch.tensor([[0.299], [0.587], [0.114]]).double()
    scale = {8: 1.0, 16: 255 / 65535, 32: 255.0}[image.bits]
    return (grey * scale).clamp(0, 255).permute(2, 0, 1)[None].to(dtype)


def read_luminance(path: str | Path, *, dtype: torch.dtype = torch.float64) -> Tensor:
    """Read the grey levels of an image file: ``(1, 1, H, W)`` in 0..255, see :func:`luminance`.

    Raises:
        DataError: it cannot be read.
    """
    return luminance(read_image(path), dtype=dtype)


def read_inputs(
    fused: str | Path,
    *sources: str | Path,
    truth: str | Path | None = None,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
    crop: Crop | None = None,
) -> MetricInputs:
    """Read the grey levels of one fused image, its sources and the truth.

    Args:
        fused: file of the fused image.
        sources: files of the sources.
        truth: file of the known result.
        dtype: float32 or float64.
        device: the device of the result.
        crop: cut larger sources and truth to the fused image's size, which a method cropped: around their centre
            (the odd pixel is cut at the bottom or right), or at the bottom and right.

    Raises:
        DataError: a file cannot be read, or is not of the fused image's size.
    """
    paths = (fused, *sources, *([truth] if truth else ()))
    images = {Path(path): read_luminance(path, dtype=dtype).to(device) for path in paths}
    own = images[Path(fused)]
    for path, image in images.items():
        if crop is not None and path != Path(fused):
            images[path] = image = _cropped(image, own.shape[2], own.shape[3], crop)
        if image.shape != own.shape:
            size, wanted = (f"{x.shape[3]}x{x.shape[2]}" for x in (image, own))
            raise DataError(f"{path}: {size} pixels, but {fused} has {wanted}: give aligned images of one size")
    return MetricInputs(own, *(images[Path(s)] for s in sources), truth=images[Path(truth)] if truth else None)


def _cropped(image: Tensor, height: int, width: int, crop: Crop) -> Tensor:
    spare = (image.shape[2] - height, image.shape[3] - width)
    if min(spare) < 0:
        return image
    top, left = (spare[0] // 2, spare[1] // 2) if crop == "center" else (0, 0)
    return image[:, :, top : top + height, left : left + width]


def score_files(
    fused: str | Path,
    *sources: str | Path,
    truth: str | Path | None = None,
    metrics: Iterable[str] | None = None,
    profile: str = "standard",
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Scores:
    """Score one fused image file against its source files.

    Args:
        fused: file of the fused image.
        sources: files of the sources.
        truth: file of the known result.
        metrics: as in :func:`fusionkit.metrics.score`.
        profile: the convention.
        dtype: float32 or float64.
        device: the device to compute on.

    Returns:
        The values, each ``(1,)``.

    Raises:
        DataError: a file cannot be read, sizes differ, or the images are too small for a metric asked for.
        UsageError: an unknown metric or profile.
    """
    inputs = read_inputs(fused, *sources, truth=truth, dtype=dtype, device=device)
    try:
        return score(inputs.fused, *inputs.sources, truth=inputs.truth, metrics=metrics, profile=profile)
    except DataError as error:
        raise DataError(f"{fused}: {error}") from error
