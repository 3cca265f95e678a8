"""Scores of predictions by torchmetrics: confusion of masks, mAP50, mAP75 and mAP50-95 of boxes."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fusionkit.contracts.label_types import IGNORE, Boxes
from fusionkit.errors import UsageError
from fusionkit.runtime.torchvision import load_torchvision

__all__ = ["confusion", "detection_scores", "require_torchmetrics"]


def require_torchmetrics() -> None:
    """Say in one line what to install where torchmetrics is missing.

    Raises:
        fusionkit.errors.UsageError: it is.
    """
    load_torchvision()
    try:
        import pycocotools  # noqa: F401
        import torchmetrics  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"bench-downstream needs {error.name}: install it with pip install 'image-fusionkit[downstream]'"
        ) from None


def confusion(predicted: Tensor, known: Tensor, classes: int) -> Tensor:
    """Counts of pixels, known class by predicted class; pixels of :data:`fusionkit.contracts.IGNORE` are left out.

    Args:
        predicted: class ids ``(H, W)``.
        known: likewise.
        classes: number of classes, one or more.

    Returns:
        ``(classes, classes)`` int64.
    """
    load_torchvision()
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    if classes == 1:
        return (known != IGNORE).sum().reshape(1, 1)
    counts: Tensor = multiclass_confusion_matrix(predicted.long(), known.long(), classes, ignore_index=IGNORE)
    return counts


def detection_scores(
    predicted: Sequence[Boxes], known: Sequence[Boxes], classes: Sequence[str]
) -> tuple[dict[str, float | None], dict[str, dict[str, float | None]]]:
    """COCO's average precision: 101 recall levels, at most 100 boxes per image; -95 is the mean over IoU 0.50 to 0.95.

    A class without a known box in the split is in no mean.

    Args:
        predicted: with scores.
        known: what is there.
        classes: names by id.

    Returns:
        mAP50-95, mAP50 and mAP75, from 0 to 1; and AP50-95 and AP50 of each class, None without a known box.
    """
    load_torchvision()
    from torchmetrics.detection import MeanAveragePrecision

    # torchmetrics' own thresholds are of float32: a recall of exactly 0.6 would not reach its level of 0.6.
    metric = MeanAveragePrecision(
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
        class_metrics=True,
        extended_summary=True,
    )
    metric.warn_on_many_detections = False
    metric.update(
        [{"boxes": p.corners.float().cpu(), "labels": p.classes.cpu(), "scores": _scores_of(p)} for p in predicted],
        [{"boxes": k.corners.float().cpu(), "labels": k.classes.cpu()} for k in known],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: dict[str, Any] = metric.compute()
    ids = [int(k) for k in found["classes"].reshape(-1).tolist()]
    whole = found["map_per_class"].reshape(-1).tolist()
    # precision: IoU thresholds x recall levels x classes x areas x most boxes; -1 where there is nothing to find.
    half = found["precision"][0, :, :, 0, -1].mean(0).reshape(-1).tolist()
    present = {int(c) for k in known for c in k.classes.tolist()}
    per_class: dict[str, dict[str, float | None]] = {name: {"AP50-95": None, "AP50": None} for name in classes}
    for place, number in enumerate(ids):
        if number in present:
            per_class[classes[number]] = {"AP50-95": whole[place], "AP50": half[place]}
    names = (("mAP50-95", "map"), ("mAP50", "map_50"), ("mAP75", "map_75"))
    return {name: _known(float(found[key])) if present else None for name, key in names}, per_class


def _scores_of(boxes: Boxes) -> Tensor:
    return torch.ones(len(boxes.classes)) if boxes.scores is None else boxes.scores.float().cpu()


def _known(value: float) -> float | None:
    return None if value < 0 else value
