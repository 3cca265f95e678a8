"""Segment the fused image: a class for every pixel, by SegFormer's head over a timm backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import IGNORE, Batch, Downstream, LabelKind, Terms
from fusionkit.errors import DataError, UsageError
from fusionkit_downstream.backbone import INSTEAD_OF_SIZES, Backbone, group_norm, network_input

__all__ = ["PixelHead", "Segmenter", "SegmenterOptions", "segmentation_loss"]


@dataclass(frozen=True)
class SegmenterOptions:
    """The network and its loss.

    Attributes:
        backbone: name of a timm model without batch normalisation, with features at strides 4 to 32.
        channels: channels of the head.
        class_weights: weight of each class in the cross entropy, by id; empty gives all the same weight.
    """

    backbone: str = "pvt_v2_b0"
    channels: Annotated[int, Field(ge=1, le=4096)] = 128
    class_weights: tuple[Annotated[float, Field(ge=0, le=1e6)], ...] = ()

    REMOVED: ClassVar[Mapping[str, tuple[Any, str]]] = dict.fromkeys(
        ("widths", "depths", "heads", "decoder"), (None, INSTEAD_OF_SIZES)
    )


class Segmenter(Downstream):
    """Semantic segmentation from scratch, with one input channel: features at strides 4 to 32 and a 1x1 head.

    The defaults are close to SegFormer-B0: pvt_v2_b0 has the widths and the spatial-reduction attention of MiT-B0.

    Args:
        config: network and loss.
        classes: names of the classes, by id.

    Raises:
        UsageError: timm is not installed, the backbone does not fit, or the options do not fit the classes.

    Reference:
        Xie et al., SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers, NeurIPS 2021.
        Wang et al., PVT v2: Improved Baselines with Pyramid Vision Transformer, Computational Visual Media 2022.
    """

    Config = SegmenterOptions
    config: SegmenterOptions
    kind: ClassVar[LabelKind] = "segmentation"
    class_weights: Tensor

    def __init__(self, config: SegmenterOptions | None = None, *, classes: Sequence[str]) -> None:
        super().__init__(config, classes=classes)
        c = self.config
        _check(c, self.classes)
        self.backbone = Backbone(c.backbone)
        self.head = PixelHead(self.backbone.widths, c.channels, len(self.classes))
        weights = torch.tensor(c.class_weights or (1.0,) * len(self.classes))
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, fused: Tensor) -> Tensor:
        """Class logits ``(B, classes, H, W)`` of ``fused`` ``(B, 1, H, W)`` in [0, 1]."""
        height, width = fused.shape[2:]
        image = network_input(fused)
        logits = self.head(self.backbone(image))
        return F.interpolate(logits, size=image.shape[2:], mode="bilinear")[:, :, :height, :width]

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        """Cross entropy over the pixels that count, see :func:`segmentation_loss`.

        Raises:
            DataError: the targets of ``batch`` are not masks.
        """
        if not isinstance(batch.targets, Tensor):
            raise DataError(f"segmentation learns from masks of class ids, not from {type(batch.targets).__name__}")
        return {"total": segmentation_loss(self(fused), batch.targets, self.class_weights)}

    def predict(self, fused: Tensor) -> Tensor:
        """Class ids ``(B, H, W)`` int64."""
        with torch.no_grad():
            return self(fused).argmax(1)


class PixelHead(nn.Module):
    """SegFormer's head: a 1x1 convolution per level, their sum at the finest level, and a 1x1 classifier.

    SegFormer concatenates the levels and mixes them by another 1x1 convolution. There is no nonlinearity in between,
    so the sum expresses the same functions with a quarter of the products.

    Args:
        widths: channels of the levels, finest first.
        channels: channels of the sum.
        classes: number of classes.
    """

    def __init__(self, widths: Sequence[int], channels: int, classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(width, channels, 1, bias=False) for width in widths)
        self.classify = nn.Sequential(group_norm(channels), nn.ReLU(), nn.Conv2d(channels, classes, 1))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Class logits ``(B, classes, h, w)`` of features ``(B, width, h / 2**k, w / 2**k)``."""
        size = features[0].shape[2:]
        mapped = (level(feature) for level, feature in zip(self.levels, features, strict=True))
        summed = sum(F.interpolate(level, size=size, mode="bilinear") for level in mapped)
        logits: Tensor = self.classify(summed)
        return logits


def segmentation_loss(logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    r"""Weighted cross entropy over the pixels that count.

    .. math:: L_t = -\sum_{i} c_{y_i} \log p_i(y_i) \Big/ \sum_i c_{y_i}

    Args:
        logits: ``(B, K, H, W)``.
        masks: class ids y, ``(B, H, W)`` int64; pixels of :data:`fusionkit.contracts.IGNORE` do not count.
        weights: c, ``(K,)``.

    Returns:
        A scalar; 0, with a gradient of 0, where no pixel counts.
    """
    summed = F.cross_entropy(logits, masks, weights.to(logits.dtype), ignore_index=IGNORE, reduction="sum")
    counted = torch.where(masks == IGNORE, 0, weights[masks.clamp_max(len(weights) - 1)]).sum()
    return summed / counted.to(summed.dtype).clamp_min(torch.finfo(summed.dtype).tiny)


def _check(options: SegmenterOptions, classes: Sequence[str]) -> None:
    if options.class_weights and len(options.class_weights) != len(classes):
        given = len(options.class_weights)
        raise UsageError(f"class_weights: {given} given for the {len(classes)} classes {', '.join(classes)}")
