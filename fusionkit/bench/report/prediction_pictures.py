"""Pictures of predictions: one small JPEG per method and test image, and one of the labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from fusionkit.bench.downstream.downstream_records import DOWNSTREAM, DownstreamRecord, PredictedBox, Prediction
from fusionkit.bench.report.evidence import is_evidence, lies_inside
from fusionkit.bench.report.previews import PictureStore
from fusionkit.contracts.label_types import IGNORE
from fusionkit.data.labels.label_files import read_boxes, read_mask
from fusionkit.data.labels.label_transforms import resize_mask, scale_boxes
from fusionkit.io.color import luminance
from fusionkit.io.images import read_image
from fusionkit.runtime.threads import in_threads

__all__ = ["COLOURS", "LEAST_SHOWN", "PredictionPictures", "matched"]

LEAST_SHOWN = 0.3
"""Least score of the boxes that are drawn; scores count all."""

COLOURS = ("#000000", "#1f8f5f", "#e4572e", "#2e86de", "#f4b400", "#8b5fbf", "#00a3a3", "#d6338a", "#7a9e0e", "#8d5a3b")
"""Colours of the classes in masks, by id, repeated from the second on; the first is clear."""

_FOUND, _WRONG, _MISSED, _KNOWN = (47, 191, 113), (228, 87, 46), (244, 180, 0), (64, 156, 255)
_VERSION = "1"
_QUALITY = 82
_SHORT, _LONG = 256, 512
_ALPHA = 0.45
_OVERLAP = 0.5

Pixels = NDArray[np.uint8]


class PredictionPictures(PictureStore):
    """The pictures of a board's downstream tables.

    Args:
        out: the bench's folder.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(out, f"{DOWNSTREAM}/pictures")

    def predictions(self, record: DownstreamRecord) -> list[str]:
        """Draw the prediction on each fused test image: paths relative to ``out``, "" where none can be drawn.

        Boxes are green where they lie on a known object (IoU of one half or more), orange where not; known objects
        that were missed are dashed. Masks are tinted by class.
        """
        return self._all(record, record.identity, lambda image: self._prediction(record, image))

    def truths(self, record: DownstreamRecord) -> list[str]:
        """Draw the labels of each test image on the mean of its sources: paths as for :meth:`predictions`."""
        return self._all(record, "truth", lambda image: self._truth(record, image))

    def _all(self, record: DownstreamRecord, key: str, draw: Callable[[Prediction], Pixels]) -> list[str]:
        def one(image: Prediction) -> str:
            if not is_evidence(self.out, image.fused, image.fused_sha256):
                return ""
            if not is_evidence(self.out, image.label, image.label_sha256) or not lies_inside(image.mask):
                return ""
            content = (
                _VERSION,
                key,
                str(record.seed),
                image.name,
                image.fused_sha256,
                image.label_sha256,
                self._size(record),
            )
            digest = hashlib.sha256("\n".join(content).encode()).hexdigest()
            return self.keep(digest, lambda: _encoded(draw(image)))

        return in_threads(one, record.images, workers=2)

    @staticmethod
    def _size(record: DownstreamRecord) -> str:
        return "x".join(map(str, record.protocol["size"]))

    def _prediction(self, record: DownstreamRecord, image: Prediction) -> Pixels:
        pixels, scale = _canvas([self.out / image.fused], record)
        if image.boxes is None:
            mask = read_mask(self.out / image.mask)
            return _tinted(pixels, mask.numpy().astype(np.uint8))
        known, classes = self._known_boxes(record, image)
        found, missed = matched(image.boxes, known, classes)
        for corners in missed:
            _dashed(pixels, corners, scale, _MISSED)
        for box, hit in reversed(found):
            _box(pixels, box.corners, scale, _FOUND if hit else _WRONG, _caption(box, record.classes))
        return pixels

    def _truth(self, record: DownstreamRecord, image: Prediction) -> Pixels:
        pixels, scale = _canvas([self.out / source for source in image.sources], record)
        if image.boxes is None:
            size = tuple(record.protocol["size"])
            return _tinted(pixels, resize_mask(read_mask(self.out / image.label), (size[0], size[1])).numpy())
        known, classes = self._known_boxes(record, image)
        for corners, label in zip(known, classes, strict=True):
            _box(pixels, corners, scale, _KNOWN, record.classes[label] if len(record.classes) > 1 else "")
        return pixels

    def _known_boxes(self, record: DownstreamRecord, image: Prediction) -> tuple[list[tuple[float, ...]], list[int]]:
        height, width = read_image(self.out / image.fused).pixels.shape[:2]
        size = tuple(record.protocol["size"])
        boxes = read_boxes(self.out / image.label, (height, width), record.classes)
        boxes = scale_boxes(boxes, (height, width), (size[0], size[1]))
        return [tuple(corners) for corners in boxes.corners.tolist()], boxes.classes.tolist()


def matched(
    predicted: Sequence[PredictedBox], known: Sequence[Sequence[float]], classes: Sequence[int]
) -> tuple[list[tuple[PredictedBox, bool]], list[Sequence[float]]]:
    """Return which predicted boxes lie on a known one, best first, each on one at most; and the known ones left.

    Args:
        predicted: best first.
        known: corners of the known boxes.
        classes: their classes.

    Returns:
        The boxes of :data:`LEAST_SHOWN` or more with whether they lie on a known one, and the corners of those missed.
    """
    left = list(range(len(known)))
    found: list[tuple[PredictedBox, bool]] = []
    for box in predicted:
        if box.score < LEAST_SHOWN:
            continue
        rivals = [(_iou(box.corners, known[k]), k) for k in left if classes[k] == box.label]
        overlap, k = max(rivals, default=(0.0, -1))
        if overlap >= _OVERLAP:
            left.remove(k)
        found.append((box, overlap >= _OVERLAP))
    return found, [known[k] for k in left]


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    across = min(a[2], b[2]) - max(a[0], b[0])
    down = min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return 0.0
    shared = across * down
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _canvas(files: Sequence[Path], record: DownstreamRecord) -> tuple[Pixels, float]:
    """The mean luminance of files as RGB of a size to look at, and how much larger that is than the network's."""
    height, width = record.protocol["size"]
    mean = torch.stack([luminance(read_image(file).tensor()) for file in files]).mean(0)
    grey = (mean[0, 0] * 255).round().byte().numpy()
    scale = min(max(_SHORT / min(height, width), 1.0), _LONG / max(height, width))
    size = (round(width * scale), round(height * scale))
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if grey.shape[1] > size[0] else cv2.INTER_CUBIC)
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8), scale


def _tinted(pixels: Pixels, mask: Pixels) -> Pixels:
    mask = cv2.resize(mask, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_NEAREST).astype(np.uint8)
    shown = pixels.astype(np.float32)
    for label in np.unique(mask):
        if label == 0:
            continue
        place = (int(label) - 1) % (len(COLOURS) - 1) + 1
        colour = (128, 128, 128) if label == IGNORE else _rgb(COLOURS[place])
        shown[mask == label] = (1 - _ALPHA) * shown[mask == label] + _ALPHA * np.array(colour, np.float32)
    return shown.round().astype(np.uint8)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _caption(box: PredictedBox, classes: Sequence[str]) -> str:
    score = f"{100 * box.score:.0f}"
    return f"{classes[box.label]} {score}" if len(classes) > 1 and box.label < len(classes) else score


def _box(pixels: Pixels, corners: Sequence[float], scale: float, colour: tuple[int, int, int], caption: str) -> None:
    x0, y0, x1, y1 = (round(value * scale) for value in corners)
    cv2.rectangle(pixels, (x0, y0), (x1, y1), colour, 1, cv2.LINE_8)
    if caption:
        cv2.putText(pixels, caption, (x0, max(y0 - 2, 8)), cv2.FONT_HERSHEY_SIMPLEX, 0.32, colour, 1, cv2.LINE_AA)


def _dashed(pixels: Pixels, corners: Sequence[float], scale: float, colour: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = (round(value * scale) for value in corners)
    for start in range(x0, x1, 8):
        for y in (y0, y1):
            cv2.line(pixels, (start, y), (min(start + 4, x1), y), colour, 1)
    for start in range(y0, y1, 8):
        for x in (x0, x1):
            cv2.line(pixels, (x, start), (x, min(start + 4, y1)), colour, 1)


def _encoded(pixels: Pixels) -> bytes:
    # Lines of one pixel keep their colour only where chroma is not subsampled.
    how = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    how += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), how)[1].tobytes()
