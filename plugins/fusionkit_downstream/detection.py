"""FCOS as an outer loss: where the objects are in the fused image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionkit.contracts import Batch, Downstream, Terms
from fusionkit.errors import DataError, UsageError
from fusionkit.label_types import Boxes, LabelKind
from fusionkit.runtime.torchvision import load_torchvision
from fusionkit_downstream.images import centred, padded
from fusionkit_downstream.pyramid import Pyramid, group_norm
from fusionkit_downstream.suppression import best_boxes

__all__ = ["Fcos", "FcosOptions"]

_DISTANCE = 2.0
"""First guess of a side's distance, in strides: the regression ends in a ReLU, which must not start at its kink."""


@dataclass(frozen=True)
class FcosOptions:
    """Size of the network and what counts as found.

    Attributes:
        width: channels of the stem; the stages have 2, 4, 8 and 8 times as many.
        blocks: residual blocks a stage.
        channels: channels of the pyramid and the heads.
        convs: convolutions of each head.
        least_score: boxes of a lower score are not given.
        overlap: of two boxes of a class that overlap by more than this (IoU), the one of the lower score goes.
        most: boxes an image at most.
    """

    width: int = 16
    blocks: int = 2
    channels: int = 64
    convs: int = 2
    least_score: float = 0.05
    overlap: float = 0.6
    most: int = 100


class Fcos(Downstream):
    """torchvision's FCOS on a small pyramid, from scratch, with one input channel: 1.5 million parameters.

    It is anchor-free: every position of three levels (strides 8, 16, 32) says what it is on, how far the sides of the
    object are, and how near its centre it is. All normalisations are group normalisations: with two images a batch,
    statistics over the batch mean little, and running ones would be state that a judged F' leaves behind.

    Args:
        config: size and thresholds.
        classes: names of the classes, by id.

    Raises:
        UsageError: torchvision is not installed, or an option is out of range.

    Reference:
        Tian et al., FCOS: A Simple and Strong Anchor-Free Object Detector, TPAMI 44 (2022).
    """

    Config = FcosOptions
    config: FcosOptions
    kind: LabelKind = "detection"

    def __init__(self, config: FcosOptions | None = None, *, classes: Sequence[str]) -> None:
        super().__init__(config, classes=classes)
        c = self.config
        _check(c)
        fcos = load_torchvision().models.detection.fcos
        # Its own two halves fix the normalisation and with it the width: both are replaced.
        head = fcos.FCOSHead(c.channels, 1, len(self.classes), 0)
        head.classification_head = fcos.FCOSClassificationHead(
            c.channels, 1, len(self.classes), c.convs, norm_layer=group_norm
        )
        head.regression_head = fcos.FCOSRegressionHead(c.channels, 1, c.convs, norm_layer=group_norm)
        nn.init.constant_(head.regression_head.bbox_reg.bias, _DISTANCE)
        sizes = tuple((stride,) for stride in Pyramid.strides)
        # Its transform is not used: images come at the size that they are to be seen at.
        self.network = fcos.FCOS(
            Pyramid(c.width, c.blocks, c.channels),
            len(self.classes),
            anchor_generator=fcos.AnchorGenerator(sizes, ((1.0,),) * len(sizes)),
            head=head,
        )

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        """FCOS's loss: focal loss of the classes, GIoU loss of the boxes, cross entropy of the centredness.

        The last two are means over the positions on objects.
        """
        known = batch.targets
        if not isinstance(known, Sequence) or not all(isinstance(boxes, Boxes) for boxes in known):
            raise DataError(f"detection learns from one Boxes a sample, not from {type(known).__name__}")
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
                found.append(best_boxes(corners, score, least_score=c.least_score, overlap=c.overlap, most=c.most))
        return tuple(found)

    def _run(self, fused: Tensor) -> tuple[list[int], Tensor, dict[str, Tensor]]:
        """Positions a level, their cells ``(N, 4)``, and what the heads say of each."""
        seen = padded(centred(fused), multiple=Pyramid.strides[-1])
        features = list(self.network.backbone(seen).values())
        cells = load_torchvision().models.detection.image_list.ImageList(seen, [(seen.shape[2], seen.shape[3])])
        (anchors,) = self.network.anchor_generator(cells, features)
        return [level.shape[2] * level.shape[3] for level in features], anchors, self.network.head(features)


def _check(options: FcosOptions) -> None:
    for name in ("width", "blocks", "channels", "convs", "most"):
        if getattr(options, name) < 1:
            raise UsageError(f"{name}={getattr(options, name)} must be at least 1")
    for name in ("least_score", "overlap"):
        if not 0 <= getattr(options, name) <= 1:
            raise UsageError(f"{name}={getattr(options, name)} must lie in [0, 1]")
