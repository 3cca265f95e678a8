"""Reduce many overlapping boxes to one per object (non-maximum suppression)."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.contracts import Boxes

__all__ = ["best_boxes"]

_CANDIDATES = 400
"""Boxes per image that suppression begins with, best first: it compares all pairs of them."""


def best_boxes(
    corners: Tensor, scores: Tensor, *, score_threshold: float, iou_threshold: float, max_boxes: int
) -> Boxes:
    """The best boxes of one image, by non-maximum suppression within each class.

    Args:
        corners: ``(N, 4)``, x0 y0 x1 y1 in pixels.
        scores: ``(N, K)`` in [0, 1], of each box for each class.
        score_threshold: boxes of a lower score are dropped, as are boxes without an area.
        iou_threshold: IoU above which the lower of two boxes is dropped.
        max_boxes: how many to return at most.

    Returns:
        At most ``max_boxes`` boxes with scores, highest first.
    """
    from kornia.geometry.bbox import nms  # torchvision's compiled one may be absent

    area = (corners[:, 2:] - corners[:, :2]).clamp_min(0).prod(1)
    kept = torch.where(area[:, None] > 0, scores, scores.new_full((), -1.0)).flatten()
    best, index = kept.topk(min(_CANDIDATES, len(kept)))
    index = index[best >= score_threshold]
    best = best[best >= score_threshold]
    classes = index % scores.shape[1]
    boxes = corners[index // scores.shape[1]]
    # Moved apart by class, boxes of different classes do not overlap.
    reach = corners.abs().max() + 1 if len(corners) else corners.new_ones(())
    chosen = nms(boxes + (classes * 2 * reach)[:, None], best, iou_threshold)[:max_boxes]
    return Boxes(boxes[chosen], classes[chosen], best[chosen])
