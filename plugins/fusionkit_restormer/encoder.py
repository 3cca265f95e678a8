"""Encoder: a 3x3 convolution from the image and Restormer blocks behind it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from torch import nn

from fusionkit.errors import UsageError
from fusionkit_restormer.restormer import RestormerBlock

__all__ = ["Depth", "Encoder", "Factor", "Width", "check_heads"]

Width = Annotated[int, Field(ge=1, le=1024)]
"""Channels of a feature, or attention heads."""
Depth = Annotated[int, Field(ge=1, le=64)]
"""Number of Restormer blocks."""
Factor = Annotated[int, Field(ge=1, le=16)]
"""Expansion of a feed-forward."""


def check_heads(dim: int, heads: int, option: str) -> None:
    """Refuse a width that the heads do not divide.

    Raises:
        UsageError: always in that case, naming the option.
    """
    if heads < 1 or dim < 1 or dim % heads:
        raise UsageError(f"{option}.heads={heads} does not divide {option}.dim={dim}: choose heads that divide dim")


class Encoder(nn.Sequential):
    """A 3x3 convolution from the image and the Restormer blocks behind it.

    Args:
        inputs: channels of the image.
        dim: channels of the feature.
        heads: attention heads; must divide ``dim``.
        blocks: Restormer blocks.
        expansion: factor of the feed-forward.
    """

    def __init__(self, inputs: int, dim: int, heads: int, blocks: int, expansion: int) -> None:
        stages = [RestormerBlock(dim, heads, expansion) for _ in range(blocks)]
        super().__init__(nn.Conv2d(inputs, dim, 3, padding=1, bias=False), *stages)
