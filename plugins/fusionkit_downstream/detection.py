"""Detect objects in the fused image: boxes with classes and scores, by FCOS over a timm backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Batch, Boxes, Downstream, LabelKind, Terms
from fusionkit.errors import DataError
from fusionkit.runtime.torchvision import load_torchvision
from fusionkit_downstream.backbone import INSTEAD_OF_SIZES, Backbone, group_norm, network_input
from fusionkit_downstream.suppression import best_boxes

__all__ = ["BoxPyramid", "Detector", "DetectorOptions"]

_STRIDES = (8, 16, 32)
_DISTANCE = 2.0
"""First guess of a side's distance, in strides: the regression ends in a ReLU, which must not start at its kink."""


@dataclass(frozen=True)
class DetectorOptions:
    """The network, and which boxes it returns.

    Attributes:
        backbone: name of a timm model without batch normalisation, with features at strides 4 to 32.
        channels: channels of the feature pyramid and the heads.
        convs: convolutions in each head.
        score_threshold: boxes of a lower score are not returned.
        iou_threshold: of two boxes of a class whose IoU is higher, the one of the lower score is dropped.
        max_boxes: number of boxes per image at most.
    """

    backbone: str = "pvt_v2_b0"
    channels: Annotated[int, Field(ge=1, le=4096)] = 64
    convs: Annotated[int, Field(ge=1, le=64)] = 2
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.05
    iou_threshold: Annotated[float, Field(ge=0, le=1)] = 0.6
    max_boxes: Annotated[int, Field(ge=1, le=100_000)] = 100

    RENAMED: ClassVar[Mapping[str, str]] = {
        "least_score": "score_threshold",
        "overlap": "iou_threshold",
        "most": "max_boxes",
    }
    REMOVED: ClassVar[Mapping[str, tuple[Any, str]]] = dict.fromkeys(("width", "blocks"), (None, INSTEAD_OF_SIZES))


class Detector(Downstream):
    """torchvision's FCOS from scratch, with one input channel: anchor-free boxes from features at strides 8 to 32.

    Every position of the three levels predicts the class of the object that it lies on, the distances to the four
    sides of its box, and how near the box's centre it is. All normalisations of the heads are group normalisations.

    Args:
        config: network and thresholds.
        classes: names of the classes, by id.

    Raises:
        UsageError: timm or torchvision is not installed, the backbone does not fit, or an option is out of range.

    Reference:
        Tian et al., FCOS: A Simple and Strong Anchor-Free Object Detector, TPAMI 44 (2022).
    """

    Config = DetectorOptions
    config: DetectorOptions
    kind: ClassVar[LabelKind] = "detection"

    def __init__(self, config: DetectorOptions | None = None, *, classes: Sequence[str]) -> None:
        super().__init__(config, classes=classes)
        c = self.config
        fcos = load_torchvision().models.detection.fcos
        # The constructor of the head fixes normalisation and width: both of its halves are replaced.
        head = fcos.FCOSHead(c.channels, 1, len(self.classes), 0)
        head.classification_head = fcos.FCOSClassificationHead(
            c.channels, 1, len(self.classes), c.convs, norm_layer=group_norm
        )
        head.regression_head = fcos.FCOSRegressionHead(c.channels, 1, c.convs, norm_layer=group_norm)
        nn.init.constant_(head.regression_head.bbox_reg.bias, _DISTANCE)
        sizes = tuple((stride,) for stride in _STRIDES)
        # Its transform is not used: images are seen at the size at which they come.
        self.network = fcos.FCOS(
            BoxPyramid(c.backbone, c.channels),
            len(self.classes),
            anchor_generator=fcos.AnchorGenerator(sizes, ((1.0,),) * len(sizes)),
            head=head,
        )

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        """FCOS's loss: focal loss of the classes, GIoU loss of the boxes, cross entropy of the centredness.

        The last two are means over the positions on objects.

        Raises:
            DataError: the targets of ``batch`` are not boxes.
        """
        known = batch.targets
        if not isinstance(known, Sequence) or not all(isinstance(boxes, Boxes) for boxes in known):
            raise DataError(f"detection learns from one Boxes per sample, not from {type(known).__name__}")
        levels, anchors, outputs = self._run(fused)
        targets = [{"boxes": boxes.corners.to(fused), "labels": boxes.classes.to(fused.device)} for boxes in known]
        parts = self.network.compute_loss(targets, outputs, [anchors] * len(fused), levels)
        named = {
            "classes": parts["classification"],
            "boxes": parts["bbox_regression"],
            "centres": parts["bbox_ctrness"],
        }
        return {"total": torch.stack(list(named.values())).sum(), **named}

    def predict(self, fused: Tensor) -> tuple[Boxes, ...]:
        """The objects in each image, best first."""
        c = self.config
        height, width = fused.shape[2:]
        with torch.no_grad():
            _, anchors, outputs = self._run(fused)
            scores = (outputs["cls_logits"].sigmoid() * outputs["bbox_ctrness"].sigmoid()).sqrt()
            found = []
            for score, distances in zip(scores, outputs["bbox_regression"], strict=True):
                corners = self.network.box_coder.decode(distances, anchors)
                limit = corners.new_tensor((width, height, width, height))
                corners = torch.minimum(corners.clamp_min(0), limit)
                found.append(
                    best_boxes(
                        corners,
                        score,
                        score_threshold=c.score_threshold,
                        iou_threshold=c.iou_threshold,
                        max_boxes=c.max_boxes,
                    )
                )
        return tuple(found)

    def _run(self, fused: Tensor) -> tuple[list[int], Tensor, dict[str, Tensor]]:
        """Positions per level, their cells ``(N, 4)``, and the outputs of the heads for each position."""
        image = network_input(fused)
        features = self.network.backbone(image)
        cells = load_torchvision().models.detection.image_list.ImageList(image, [(image.shape[2], image.shape[3])])
        (anchors,) = self.network.anchor_generator(cells, features)
        return [level.shape[2] * level.shape[3] for level in features], anchors, self.network.head(features)


class BoxPyramid(nn.Module):
    """A backbone's features at strides 8, 16 and 32, each mixed with the coarser ones, all with as many channels.

    Args:
        backbone: name of a timm model, see :class:`fusionkit_downstream.backbone.Backbone`.
        channels: channels of every level.
    """

    def __init__(self, backbone: str, channels: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.backbone = Backbone(backbone, _STRIDES)
        self.pyramid = load_torchvision().ops.FeaturePyramidNetwork(list(self.backbone.widths), channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The levels ``(B, channels, H / stride, W / stride)`` of a network input ``(B, 1, H, W)``."""
        features = {str(k): feature for k, feature in enumerate(self.backbone(image))}
        return list(self.pyramid(features).values())
