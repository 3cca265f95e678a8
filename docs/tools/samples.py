"""Draw the picture of the home page and the README: ``python docs/tools/samples.py``.

One block per task, from the built-in sample: both sources, and the image that the shipped ReFusion model fuses.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import fusionkit
from fusionkit.data.sample import sample_pairs
from fusionkit.plugins import catalogue

sys.path.insert(0, str(Path(__file__).parent))
from pictures import DOCS, write_jpeg

METHOD = "refusion"
SHOWN = (("ivif", 1), ("mfif", 1), ("mif", 2), ("meif", 2))
"""Task and position of its test pair, row by row, two blocks per row."""

_SIDE = 148
_GAP = 12
_WHITE = (255, 255, 255)


def strip(task_name: str, position: int = 0, folder: Path | None = None) -> np.ndarray:
    """Draw both sources of a test pair and the fused image side by side: BGR, three square tiles."""
    task = catalogue.tasks.get(task_name)
    pair = sample_pairs(task, folder).split("test")[position]
    fused = fusionkit.load(METHOD, task_name, device="cpu").fuse(*pair.files).array(bits=8)
    images = [cv2.imread(str(file), cv2.IMREAD_COLOR) for file in pair.files]
    images.append(cv2.cvtColor(fused, cv2.COLOR_GRAY2BGR if fused.ndim == 2 else cv2.COLOR_RGB2BGR))
    labels = (*_roles(task_name, pair.name, task.sources), "fused")
    return np.concatenate([_tile(image, label) for image, label in zip(images, labels, strict=True)], 1)


def _roles(task_name: str, name: str, sources: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the sources; a medical sample pair is called after its modality, such as ``spect-t1-3``."""
    return (name.partition("-")[0].upper(), "MRI") if task_name == "mif" else sources


def _tile(image: np.ndarray, label: str) -> np.ndarray:
    """The middle square of an image, below its label."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = cv2.resize(image[top : top + side, left : left + side], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    tile = cv2.copyMakeBorder(square, 20, 2, 1, 1, cv2.BORDER_CONSTANT, value=_WHITE)
    return cv2.putText(tile, label, (3, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)


def sheet(folder: Path | None = None) -> np.ndarray:
    """Draw all blocks of `SHOWN`, two per row."""
    blocks = [strip(task, position, folder and folder / task) for task, position in SHOWN]
    spaced = [cv2.copyMakeBorder(block, 0, 4, 0, _GAP, cv2.BORDER_CONSTANT, value=_WHITE) for block in blocks]
    return np.concatenate([np.concatenate(spaced[k : k + 2], 1) for k in range(0, len(spaced), 2)])


if __name__ == "__main__":
    write_jpeg(DOCS / "images" / "sample.jpg", sheet())
