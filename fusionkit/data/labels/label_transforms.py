"""What a resize, a flip or a crop of an image does to its label, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.label_types import Boxes

__all__ = ["crop_boxes", "flip_boxes", "nearest_positions", "scale_boxes"]


def scale_boxes(boxes: Boxes, size: tuple[int, int], to: tuple[int, int]) -> Boxes:
    """The boxes of an image that is resized.

    Args:
        boxes: of the image as it was.
        size: height and width as they were.
        to: height and width as they are.
    """
    (height, width), (rows, columns) = size, to
    factor = boxes.corners.new_tensor([columns / width, rows / height, columns / width, rows / height])
    most = boxes.corners.new_tensor([columns, rows, columns, rows])
    return Boxes(torch.minimum(boxes.corners * factor, most), boxes.classes, boxes.scores)


def flip_boxes(boxes: Boxes, size: tuple[int, int], *, rows: bool, columns: bool) -> Boxes:
    """The boxes of an image whose rows or columns are reversed.

    Args:
        boxes: of the image as it was.
        size: its height and width.
        rows: whether it is turned upside down.
        columns: whether left and right are exchanged.
    """
    height, width = size
    x0, y0, x1, y1 = boxes.corners.unbind(1)
    if rows:
        y0, y1 = height - y1, height - y0
    if columns:
        x0, x1 = width - x1, width - x0
    return Boxes(torch.stack((x0, y0, x1, y1), 1), boxes.classes, boxes.scores)


def crop_boxes(boxes: Boxes, *, top: int, left: int, size: tuple[int, int], least_visible: float = 0.25) -> Boxes:
    """The boxes of a part of an image, clipped to it.

    Args:
        boxes: of the whole image.
        top: first row of the part.
        left: first column of the part.
        size: height and width of the part.
        least_visible: a box of which less than this share of its area is left is dropped.
    """
    offset = boxes.corners.new_tensor([left, top, left, top])
    most = boxes.corners.new_tensor([size[1], size[0], size[1], size[0]])
    moved = boxes.corners - offset
    clipped = torch.minimum(moved.clamp(min=0), most)
    kept = (_areas(clipped) > 0) & (_areas(clipped) >= least_visible * _areas(moved))
    return Boxes(clipped[kept], boxes.classes[kept], boxes.scores[kept] if boxes.scores is not None else None)


def nearest_positions(length: int, to: int) -> Tensor:
    """For each of ``to`` pixels along a side, the pixel of ``length`` under its middle, ``(to,)`` int64."""
    middles = (2 * torch.arange(to) + 1) * length
    return middles.div(2 * to, rounding_mode="floor")


def _areas(corners: Tensor) -> Tensor:
    return (corners[:, 2] - corners[:, 0]).clamp(min=0) * (corners[:, 3] - corners[:, 1]).clamp(min=0)
