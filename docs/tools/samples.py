"""The picture of the home page: ``python docs/tools/samples.py`` draws the built-in sample of each task, fused."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import fusionkit
from fusionkit.data.sample import SAMPLE_TASKS, sample_pairs
from fusionkit.plugins import catalogue

sys.path.insert(0, str(Path(__file__).parent))
from pictures import DOCS, write_jpeg

METHOD = "laplacian"
_SIDE = 190


def column(task_name: str, folder: Path | None = None) -> np.ndarray:
    """Both sources of a task's first test pair, and what the method makes of them, one below the other."""
    task = catalogue.tasks.get(task_name)
    pair = sample_pairs(task, folder).split("test")[0]
    fused = fusionkit.load(METHOD, device="cpu").fuse(*pair.files).array(bits=8)
    images = [cv2.imread(str(file), cv2.IMREAD_COLOR) for file in pair.files]
    images.append(cv2.cvtColor(fused, cv2.COLOR_GRAY2BGR if fused.ndim == 2 else cv2.COLOR_RGB2BGR))
    labels = (f"{task.name}: {task.sources[0]}", task.sources[1], f"fused by {METHOD}")
    return np.concatenate([_tile(image, label) for image, label in zip(images, labels, strict=True)])


def _tile(image: np.ndarray, label: str) -> np.ndarray:
    """The middle square of an image, under its label."""
    side = min(image.shape[:2])
    top, left = ((length - side) // 2 for length in image.shape[:2])
    square = cv2.resize(image[top : top + side, left : left + side], (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    tile = cv2.copyMakeBorder(square, 20, 6, 3, 3, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return cv2.putText(tile, label, (4, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)


if __name__ == "__main__":
    write_jpeg(DOCS / "images" / "sample.jpg", np.concatenate([column(task) for task in SAMPLE_TASKS], 1))
