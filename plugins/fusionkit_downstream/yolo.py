"""Detect objects in the fused image by YOLOv8, from the library ultralytics (AGPL-3.0)."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated, Any, ClassVar, Literal

import cv2
import torch
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Batch, Boxes, Downstream, LabelKind, Terms
from fusionkit.errors import DataError, UsageError
from fusionkit.runtime.torchvision import load_torchvision
from fusionkit_downstream.backbone import group_norm, network_input
from fusionkit_downstream.suppression import best_boxes

__all__ = ["YoloDetector", "YoloOptions"]


@dataclass(frozen=True)
class YoloOptions:
    """The network, the weights of its loss, and which boxes it returns.

    Attributes:
        scale: depth and width: n has 3 million parameters, s 11, m 26, l 44, x 68.
        box_weight: weight of the boxes' CIoU loss.
        class_weight: weight of the classes' cross entropy.
        side_weight: weight of the distribution focal loss of the boxes' sides.
        score_threshold: boxes of a lower score are not returned.
        iou_threshold: of two boxes of a class whose IoU is higher, the one of the lower score is dropped.
        max_boxes: number of boxes per image at most.
    """

    scale: Literal["n", "s", "m", "l", "x"] = "n"
    box_weight: Annotated[float, Field(ge=0, le=1e6)] = 7.5
    class_weight: Annotated[float, Field(ge=0, le=1e6)] = 0.5
    side_weight: Annotated[float, Field(ge=0, le=1e6)] = 1.5
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.05
    iou_threshold: Annotated[float, Field(ge=0, le=1)] = 0.6
    max_boxes: Annotated[int, Field(ge=1, le=100_000)] = 100


class YoloDetector(Downstream):
    """YOLOv8 from scratch, with one input channel and group normalisation in place of batch normalisation.

    Batch normalisation means little at two images per batch, and moves statistics that are not parameters. Nothing is
    downloaded. The network and its loss are those of ultralytics, which is under the AGPL: so is, in effect, a program
    that imports this class.

    Args:
        config: network, weights of the loss and thresholds.
        classes: names of the classes, by id.

    Raises:
        UsageError: ultralytics is not installed, or an option is out of range.

    Reference:
        Jocher, Chaurasia, Qiu, Ultralytics YOLOv8, version 8 (2023); the network of TDFusion's detection experiments.
    """

    Config = YoloOptions
    config: YoloOptions
    kind: ClassVar[LabelKind] = "detection"
    assigns_targets = True

    def __init__(self, config: YoloOptions | None = None, *, classes: Sequence[str]) -> None:
        super().__init__(config, classes=classes)
        c = self.config
        yolo = _load_ultralytics()
        self.network = yolo.model(f"yolov8{c.scale}.yaml", ch=1, nc=len(self.classes), verbose=False)
        self.network.args = SimpleNamespace(box=c.box_weight, cls=c.class_weight, dfl=c.side_weight)
        _replace_batch_norm(self.network)
        self.eval()

    def train(self, mode: bool = True) -> YoloDetector:
        """Stay in evaluation mode: the network has nothing that differs between the two but what it returns."""
        return super().train(False)

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        """YOLOv8's loss: CIoU of the boxes, cross entropy of the classes, focal loss of the sides' distributions.

        Raises:
            DataError: the targets of ``batch`` are not boxes.
        """
        known = batch.targets
        if not isinstance(known, Sequence) or not all(isinstance(boxes, Boxes) for boxes in known):
            raise DataError(f"yolov8 learns from one Boxes per sample, not from {type(known).__name__}")
        image = network_input(fused)
        height, width = image.shape[2:]
        corners = torch.cat([boxes.corners for boxes in known]).to(fused)
        centres = torch.cat(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), 1)
        index = torch.cat([torch.full((len(boxes.classes),), k) for k, boxes in enumerate(known)])
        targets = {
            "batch_idx": index.to(fused),
            "cls": torch.cat([boxes.classes for boxes in known]).to(fused),
            "bboxes": centres / fused.new_tensor((width, height, width, height)),
        }
        # Made afresh: it takes the device and the strides from the network that it is given.
        parts, _ = _load_ultralytics().loss(self.network)(self.network(image), targets)
        boxes, classes, sides = (parts / len(fused)).unbind()
        return {"total": boxes + classes + sides, "boxes": boxes, "classes": classes, "sides": sides}

    def predict(self, fused: Tensor) -> tuple[Boxes, ...]:
        """The objects in each image, best first."""
        c = self.config
        height, width = fused.shape[2:]
        with torch.no_grad():
            outputs = self.network(network_input(fused))[0].transpose(1, 2)
            limit = outputs.new_tensor((width, height, width, height))
            found = []
            for output in outputs:
                centre, sides, scores = output.split((2, 2, len(self.classes)), 1)
                corners = torch.cat((centre - sides / 2, centre + sides / 2), 1)
                found.append(
                    best_boxes(
                        torch.minimum(corners.clamp_min(0), limit),
                        scores,
                        score_threshold=c.score_threshold,
                        iou_threshold=c.iou_threshold,
                        max_boxes=c.max_boxes,
                    )
                )
        return tuple(found)


@dataclass(frozen=True)
class _Ultralytics:
    """The two classes of the library that are used: its detection network and its loss."""

    model: Any
    loss: Any


@functools.cache
def _load_ultralytics() -> _Ultralytics:
    """Import ultralytics offline and without its messages.

    Raises:
        UsageError: it is not installed.
    """
    load_torchvision()
    os.environ.setdefault("YOLO_OFFLINE", "true")  # else it asks the network at import whether there is one
    os.environ.setdefault("YOLO_VERBOSE", "false")  # else it reports its settings on stdout, where results go
    threads = cv2.getNumThreads()
    try:
        from ultralytics.nn.tasks import DetectionModel
        from ultralytics.utils.loss import v8DetectionLoss
    except ImportError as error:
        raise UsageError(
            f"yolov8 needs ultralytics ({error}): install it with pip install 'image-fusionkit[yolo]'; it is under "
            "the AGPL-3.0, which a program that imports it has to follow"
        ) from error
    finally:
        cv2.setNumThreads(threads)  # it sets OpenCV to one thread
    return _Ultralytics(DetectionModel, v8DetectionLoss)


def _replace_batch_norm(network: nn.Module) -> None:
    for part in list(network.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(part, name, group_norm(child.num_features))
