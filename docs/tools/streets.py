"""Draw three pairs of the labelled sample: ``python docs/tools/streets.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from fusionkit.contracts.label_types import LabelKind
from fusionkit.data.labels import read_boxes, read_mask
from fusionkit.data.sample import labelled_sample
from fusionkit.plugins import catalogue

sys.path.insert(0, str(Path(__file__).parent))
from pictures import DOCS, write_jpeg

_PAINT = np.array([[0, 0, 0], [60, 60, 255], [255, 120, 60]], np.uint8)
"""Blue, green and red of each class of the masks."""

_WEATHERS = ("day", "night", "fog")
_SCALE = 2


def columns(folder: Path | None = None) -> np.ndarray:
    """Draw one test pair per weather: infrared, visible, mask with boxes, one below the other."""
    kinds: tuple[LabelKind, LabelKind] = ("segmentation", "detection")
    masks, boxes = (labelled_sample(catalogue.tasks.get("ivif"), kind, folder).split("test") for kind in kinds)
    drawn = []
    for weather in _WEATHERS:
        index = next(k for k, pair in enumerate(masks) if pair.name.endswith(weather))
        images = [cv2.imread(str(file), cv2.IMREAD_COLOR) for file in masks[index].files]
        label, corners = masks[index].label, boxes[index].label
        assert label is not None
        assert corners is not None
        painted = _larger(_PAINT[read_mask(label).numpy()] // 2 + images[0] // 2)
        spec = boxes.labels
        assert spec is not None
        for x0, y0, x1, y1 in read_boxes(corners, images[0].shape[:2], spec.classes).corners.round().int().tolist():
            low, high = (x0 * _SCALE, y0 * _SCALE), (x1 * _SCALE - 1, y1 * _SCALE - 1)
            cv2.rectangle(painted, low, high, (255, 255, 255), 1)
        tiles = [*(_larger(image) for image in images), painted]
        drawn.append(np.concatenate([cv2.copyMakeBorder(tile, 2, 2, 2, 2, 0, value=(255,) * 3) for tile in tiles]))
    return np.concatenate(drawn, 1)


def _larger(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=_SCALE, fy=_SCALE, interpolation=cv2.INTER_NEAREST)


if __name__ == "__main__":
    write_jpeg(DOCS / "images" / "streets.jpg", columns())
