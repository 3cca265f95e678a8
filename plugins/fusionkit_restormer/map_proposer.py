"""The network of a loss proposer: maps of weights for two sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import LossProposer
from fusionkit_restormer.encoder import Depth, Encoder, Factor, Width, check_heads
from fusionkit_restormer.restormer import RestormerBlock

__all__ = ["MapProposer", "MapProposerOptions"]


@dataclass(frozen=True)
class MapProposerOptions:
    """Size of the network of a loss proposer.

    Attributes:
        dim: width of a source's feature; twice that after merging.
        heads: attention heads; must divide ``dim``.
        blocks: Restormer blocks per stage.
        expansion: factor of the feed-forward.
        logit_cap: soft bound ``cap * tanh(logit / cap)`` on the logits before the softmax; 0 leaves them free.
    """

    dim: Width = 16
    heads: Width = 8
    blocks: Depth = 2
    expansion: Factor = 2
    logit_cap: Annotated[float, Field(ge=0, le=1e6)] = 0.0


class MapProposer(LossProposer):
    """The network of a loss proposer: one encoder per source, a common trunk, and two channels per map, one per source.

    Args:
        config: the size of the network, and what a subclass adds.
        inputs: channels that an encoder sees.
        maps: how many maps it proposes.

    Raises:
        fusionkit.errors.UsageError: the heads do not divide the width.
    """

    def __init__(self, config: MapProposerOptions, *, inputs: int, maps: int) -> None:
        super().__init__(config)
        c = self.config
        check_heads(c.dim, c.heads, "proposer")
        self.encoders = nn.ModuleList(Encoder(inputs, c.dim, c.heads, c.blocks, c.expansion) for _ in range(2))
        self.trunk = nn.Sequential(*(RestormerBlock(2 * c.dim, c.heads, c.expansion) for _ in range(c.blocks)))
        self.head = nn.Sequential(
            nn.Conv2d(2 * c.dim, c.dim, 3, padding=1, bias=False),
            nn.PReLU(),
            nn.Conv2d(c.dim, 2 * maps, 3, padding=1, bias=False),
        )

    def maps(self, *seen: Tensor) -> tuple[Tensor, ...]:
        """The maps, each ``(B, 2, H, W)`` and summing to 1, from the inputs of two sources, ``(B, inputs, H, W)``."""
        laid_out = (x.contiguous(memory_format=torch.channels_last) for x in seen)
        features = [encode(x) for encode, x in zip(self.encoders, laid_out, strict=True)]
        logits = self.head(self.trunk(torch.cat(features, 1)))
        if self.config.logit_cap > 0:
            logits = self.config.logit_cap * torch.tanh(logits / self.config.logit_cap)
        return tuple(pair.softmax(1) for pair in logits.split(2, 1))
