"""Resize, flip and crop labels together with their image, as pure functions."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionkit.contracts.label_types import Boxes

__all__ = ["crop_boxes", "flip_boxes", "resize_mask", "scale_boxes", "warp_boxes"]


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


def warp_boxes(boxes: Boxes, matrix: NDArray[np.float64], to: tuple[int, int]) -> Boxes:
    """Move boxes by a transform: each becomes the upright box around its four corners, clipped to the image.

    Args:
        boxes: boxes of the image before.
        matrix: ``(3, 3)``, maps points (x, y) of the image before to points of the image after, where the centre of the
            first pixel is (0, 0).
        to: height and width after.

    Returns:
        The boxes; those of which less than a quarter lies in the image are left out.
    """
    x0, y0, x1, y1 = boxes.corners.double().unbind(1)
    # Boxes count from the edge of the first pixel, half a pixel before its centre.
    points = torch.stack([torch.stack([x0, x1, x1, x0]), torch.stack([y0, y0, y1, y1])]) - 0.5
    moved = torch.einsum("ij,jkn->ikn", torch.from_numpy(matrix), torch.cat([points, torch.ones_like(points[:1])]))
    x, y = moved[0] / moved[2] + 0.5, moved[1] / moved[2] + 0.5
    whole = torch.stack([x.amin(0), y.amin(0), x.amax(0), y.amax(0)], 1)
    height, width = to
    most = whole.new_tensor([width, height, width, height])
    clipped = torch.minimum(whole.clamp(min=0), most)
    area, left = ((box[:, 2:] - box[:, :2]).clamp(min=0).prod(1) for box in (whole, clipped))
    kept = left >= area / 4
    scores = boxes.scores[kept] if boxes.scores is not None else None
    return Boxes(clipped[kept].to(boxes.corners.dtype), boxes.classes[kept], scores)
