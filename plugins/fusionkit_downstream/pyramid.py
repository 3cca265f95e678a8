"""A small residual network with a feature pyramid, for images that objects fill a few dozen pixels of."""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from fusionkit.runtime.torchvision import load_torchvision

__all__ = ["Pyramid", "group_norm"]


def group_norm(channels: int) -> nn.GroupNorm:
    """A group normalisation of eight channels or so a group: nothing in it depends on the rest of the batch."""
    return nn.GroupNorm(max(math.gcd(channels, 32) // 4, 1), channels)


class Pyramid(nn.Module):
    """A stem, four residual stages at strides 4, 8, 16 and 32, and a pyramid over the last three.

    Args:
        width: channels of the stem; the stages have 2, 4, 8 and 8 times as many.
        blocks: residual blocks a stage.
        channels: channels of every level of the pyramid.
    """

    strides = (8, 16, 32)

    def __init__(self, width: int, blocks: int, channels: int) -> None:
        super().__init__()
        torchvision = load_torchvision()
        block = torchvision.models.resnet.BasicBlock
        self.out_channels = channels
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), group_norm(width), nn.ReLU())
        widths = (width, 2 * width, 4 * width, 8 * width, 8 * width)
        self.stages = nn.ModuleList(
            _stage(block, before, after, blocks) for before, after in itertools.pairwise(widths)
        )
        self.pyramid = torchvision.ops.FeaturePyramidNetwork(list(widths[2:]), channels)

    def forward(self, image: Tensor) -> OrderedDict[str, Tensor]:
        """The levels ``(B, channels, H / stride, W / stride)`` of ``image`` ``(B, 1, H, W)``, sides multiples of 32."""
        x = self.stem(image)
        found: OrderedDict[str, Tensor] = OrderedDict()
        for k, stage in enumerate(self.stages):
            x = stage(x)
            if k > 0:
                found[str(k)] = x
        levels: OrderedDict[str, Tensor] = self.pyramid(found)
        return levels


def _stage(block: Any, before: int, after: int, blocks: int) -> nn.Sequential:
    narrow = nn.Sequential(nn.Conv2d(before, after, 1, stride=2, bias=False), group_norm(after))
    first = block(before, after, 2, narrow, norm_layer=group_norm)
    return nn.Sequential(first, *(block(after, after, norm_layer=group_norm) for _ in range(blocks - 1)))
