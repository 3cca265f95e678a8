"""Source photographs of the samples, from scikit-image's wheel; all free of copyright restrictions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fusionkit.errors import DataError
from fusionkit.io.images import read_image

__all__ = ["Floats", "Scene", "disparity", "encode", "floats", "linear", "photograph", "to_bytes"]

Floats = NDArray[np.float32]
"""An image ``(H, W)`` or ``(H, W, 3)``, float32, in [0, 1] unless said otherwise."""


@dataclass(frozen=True)
class Scene:
    """One pair of a sample in memory.

    Attributes:
        name: name of the pair.
        split: ``"train"`` or ``"test"``.
        sources: ``uint8`` images of one size, in the task's order, ``(H, W)`` or ``(H, W, 3)`` in RGB.
        truth: the true fused image, or None where the task has none.
    """

    name: str
    split: str
    sources: tuple[NDArray[np.uint8], ...]
    truth: NDArray[np.uint8] | None = None


@lru_cache(maxsize=32)
def photograph(name: str) -> Floats:
    """Read a photograph of scikit-image's wheel, ``(H, W, 3)``, gamma-encoded, in [0, 1]; grey has equal channels.

    Args:
        name: file name without suffix (``"motorcycle_left"``).

    Raises:
        fusionkit.errors.DataError: scikit-image is not installed as a wheel, with its data.
    """
    files = [_folder() / f"{name}{suffix}" for suffix in (".png", ".jpg")]
    for file in files:
        if file.is_file():
            pixels = read_image(file).pixels
            pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3))
            return np.ascontiguousarray(pixels, np.float32) / np.float32(255)
    raise DataError(f"{files[0]}: scikit-image's sample photograph is missing; install scikit-image from its wheel")


@lru_cache(maxsize=1)
def disparity() -> Floats:
    """Disparity of ``motorcycle_left`` in pixels, ``(H, W)``; larger is nearer. Where it is unknown, the smaller
    of the known values to the left and right, since what only one camera sees is background.
    """
    file = _folder() / "motorcycle_disp.npz"
    if not file.is_file():
        raise DataError(f"{file}: scikit-image's sample disparity is missing; install scikit-image from its wheel")
    with np.load(file) as archive:
        known = archive["arr_0"].astype(np.float32)
    known[~np.isfinite(known)] = 0
    before, after = _carry(known), _carry(known[:, ::-1])[:, ::-1]
    both = np.minimum(np.where(before > 0, before, np.inf), np.where(after > 0, after, np.inf))
    return np.where(known > 0, known, both).astype(np.float32)


def _carry(known: Floats) -> Floats:
    """Each row with gaps (0) filled by the last known value before them."""
    columns = np.where(known > 0, np.arange(known.shape[1]), 0)
    last = np.maximum.accumulate(columns, axis=1)
    return np.take_along_axis(known, last, axis=1)


def floats(values: ArrayLike) -> Floats:
    """Convert to single precision."""
    return np.asarray(values, np.float32)


def linear(encoded: Floats) -> Floats:
    """Convert sRGB values to linear light (IEC 61966-2-1)."""
    low = encoded / 12.92
    high = ((np.maximum(encoded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(encoded <= 0.04045, low, high).astype(np.float32)


def encode(light: Floats) -> Floats:
    """Convert linear light to sRGB values, clipped to [0, 1]; the inverse of :func:`linear`."""
    clipped = np.clip(light, 0, 1)
    high = 1.055 * np.maximum(clipped, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(clipped <= 0.0031308, 12.92 * clipped, high).astype(np.float32)


def to_bytes(image: Floats) -> NDArray[np.uint8]:
    """Round [0, 1] to 0..255."""
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _folder() -> Path:
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise DataError("the built-in sample needs scikit-image: pip install scikit-image")
    return Path(spec.origin).parent / "data"
