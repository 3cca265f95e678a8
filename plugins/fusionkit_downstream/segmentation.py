"""SegFormer as an outer loss: what every pixel of the fused image belongs to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit.contracts import Batch, Downstream, Terms
from fusionkit.errors import DataError, UsageError
from fusionkit.label_types import IGNORE, LabelKind
from fusionkit.runtime.torchvision import load_torchvision
from fusionkit_downstream.images import centred, padded

__all__ = ["SegFormer", "SegFormerOptions", "segmentation_loss"]

_LEAST = 32
"""The first stage's attention reduces a quarter of the image eightfold."""


@dataclass(frozen=True)
class SegFormerOptions:
    """Size of the network and its loss; the defaults are MiT-B0 with SegFormer's head.

    Attributes:
        widths: channels of the four stages.
        depths: transformer blocks of the four stages.
        heads: attention heads of the four stages; each must divide its width.
        decoder: channels of the head.
        class_weights: weight of each class in the cross entropy, by id; empty weighs all alike.
    """

    widths: tuple[int, int, int, int] = (32, 64, 160, 256)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    decoder: int = 256
    class_weights: tuple[float, ...] = ()


class SegFormer(Downstream):
    """SegFormer from the transformers library, without pretrained weights, with one input channel.

    Dropout and stochastic depth are off and the head's batch normalisation is a group normalisation: an outer loss
    has to be a function of its weights and its batch alone, so that F' and T' are judged by the same one, a resumed
    run takes the same steps, and two images a batch are enough.

    Args:
        config: size and loss.
        classes: names of the classes, by id.

    Raises:
        UsageError: transformers is not installed, or the options do not fit the classes.

    Reference:
        Xie et al., SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers, NeurIPS 2021.
    """

    Config = SegFormerOptions
    config: SegFormerOptions
    kind: LabelKind = "segmentation"
    class_weights: Tensor

    def __init__(self, config: SegFormerOptions | None = None, *, classes: Sequence[str]) -> None:
        super().__init__(config, classes=classes)
        c = self.config
        _check(c, self.classes)
        transformers = _load_transformers()
        settings = transformers.SegformerConfig(
            num_channels=1,
            num_labels=len(self.classes),
            hidden_sizes=list(c.widths),
            depths=list(c.depths),
            num_attention_heads=list(c.heads),
            decoder_hidden_size=c.decoder,
            classifier_dropout_prob=0.0,
            drop_path_rate=0.0,
            attn_implementation="sdpa",
        )
        self.network = transformers.SegformerForSemanticSegmentation(settings)
        self.network.decode_head.batch_norm = nn.GroupNorm(math.gcd(c.decoder, 32), c.decoder)
        weights = torch.tensor(c.class_weights or (1.0,) * len(self.classes))
        self.register_buffer("class_weights", weights, persistent=False)

    def forward(self, fused: Tensor) -> Tensor:
        """Class logits ``(B, classes, H, W)`` of ``fused`` ``(B, 1, H, W)``."""
        height, width = fused.shape[2:]
        seen = padded(centred(fused), least=_LEAST)
        logits = self.network(pixel_values=seen).logits
        whole = F.interpolate(logits, size=seen.shape[2:], mode="bilinear", align_corners=False)
        return whole[:, :, :height, :width]

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        """Cross entropy over the pixels that count, see :func:`segmentation_loss`."""
        if not isinstance(batch.targets, Tensor):
            raise DataError(f"segmentation learns from masks of class ids, not from {type(batch.targets).__name__}")
        return {"total": segmentation_loss(self(fused), batch.targets, self.class_weights)}

    def predict(self, fused: Tensor) -> Tensor:
        """Class ids ``(B, H, W)`` int64."""
        with torch.no_grad():
            return self(fused).argmax(1)


def segmentation_loss(logits: Tensor, masks: Tensor, weights: Tensor) -> Tensor:
    r"""Weighted cross entropy over the pixels that count.

    .. math:: L_t = -\sum_{i} c_{y_i} \log p_i(y_i) \Big/ \sum_i c_{y_i}

    Args:
        logits: ``(B, K, H, W)``.
        masks: class ids y, ``(B, H, W)`` int64; pixels of :data:`fusionkit.label_types.IGNORE` do not count.
        weights: c, ``(K,)``.

    Returns:
        A scalar; 0, with a gradient of 0, where no pixel counts.
    """
    summed = F.cross_entropy(logits, masks, weights.to(logits.dtype), ignore_index=IGNORE, reduction="sum")
    counted = torch.where(masks == IGNORE, 0, weights[masks.clamp_max(len(weights) - 1)]).sum()
    return summed / counted.to(summed.dtype).clamp_min(torch.finfo(summed.dtype).tiny)


def _load_transformers() -> Any:
    load_torchvision()
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            "downstream network 'segmentation' needs transformers: install it with "
            "pip install 'image-fusionkit[downstream]'"
        ) from error
    return transformers


def _check(options: SegFormerOptions, classes: Sequence[str]) -> None:
    if options.class_weights and len(options.class_weights) != len(classes):
        given = len(options.class_weights)
        raise UsageError(f"class_weights has {given} values for the {len(classes)} classes {', '.join(classes)}")
    if any(not 0 <= weight < float("inf") for weight in options.class_weights):
        raise UsageError(f"class_weights={options.class_weights} must be numbers of 0 or more")
    for stage, (width, heads) in enumerate(zip(options.widths, options.heads, strict=True), 1):
        if heads < 1 or width < 1 or width % heads:
            raise UsageError(f"stage {stage}: heads={heads} does not divide the width {width}")
