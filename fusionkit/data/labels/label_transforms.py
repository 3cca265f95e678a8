"""Resize, flip and crop labels together with their image, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.label_types import Boxes

__all__ = ["crop_boxes", "flip_boxes", "resize_mask", "scale_boxes"]


def scale_boxes(boxes: Boxes, size: tuple[int, int], to: tuple[int, int]) -> Boxes:
    """Scale the boxes of an image that is resized.

    Args:
        boxes: boxes of the image before.
        size: height and width before.
        to: height and width after.
    """
    (height, width), (rows, columns) = size, to
    factor = boxes.corners.new_tensor([columns / width, rows / height, columns / width, rows / height])
    most = boxes.corners.new_tensor([columns, rows, columns, rows])
    return Boxes(torch.minimum(boxes.corners * factor, most), boxes.classes, boxes.scores)


def flip_boxes(boxes: Boxes, size: tuple[int, int], *, rows: bool, columns: bool) -> Boxes:
    """Flip the boxes of an image whose rows or columns are reversed.

    Args:
        boxes: boxes of the image before.
        size: height and width of the image.
        rows: flip vertically.
        columns: flip horizontally.
    """
    height, width = size
    x0, y0, x1, y1 = boxes.corners.unbind(1)
    if rows:
        y0, y1 = height - y1, height - y0
    if columns:
        x0, x1 = width - x1, width - x0
    return Boxes(torch.stack((x0, y0, x1, y1), 1), boxes.classes, boxes.scores)


def crop_boxes(boxes: Boxes, *, top: int, left: int, size: tuple[int, int], least_visible: float = 0.25) -> Boxes:
    """Crop the boxes of an image to a part of it.

    Args:
        boxes: boxes of the whole image.
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


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize class ids ``(h, w)`` to ``(H, W)``: each pixel takes the class of the nearest centre.

    Args:
        mask: class ids of an image.
        size: height and width to resize to.
    """
    rows, columns = (
        (2 * torch.arange(to, device=mask.device) + 1).mul(length).div(2 * to, rounding_mode="floor")
        for length, to in zip(mask.shape, size, strict=True)
    )
    return mask[rows[:, None], columns]


def _areas(corners: Tensor) -> Tensor:
    return (corners[:, 2] - corners[:, 0]).clamp(min=0) * (corners[:, 3] - corners[:, 1]).clamp(min=0)
