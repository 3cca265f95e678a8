"""Reads and measures pictures of the samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusionkit.io.images import read_image
from fusionkit.tasks import IVIF, MEIF, MFIF, MIF

TASKS = {task.name: task for task in (IVIF, MIF, MFIF, MEIF)}


Array = NDArray[np.float64]


def pixels_of(file: Path | None) -> Array:
    assert file is not None
    return read_image(file).pixels.astype(np.float64)


def grey_of(file: Path | None) -> Array:
    return pixels_of(file).mean(axis=2)


def sharpness(image: Array, within: NDArray[np.bool_] | None = None) -> float:
    """Mean squared gradient by central differences."""
    down, right = np.gradient(image)
    energy = down**2 + right**2
    return float(energy.mean() if within is None else energy[within].mean())
