"""The control of every learned loss: equal weights everywhere."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from fusionkit.contracts import LossProposer, Proposal

__all__ = ["UniformWeights"]


class UniformWeights(LossProposer):
    """Gives each of S sources the weight 1/S at every pixel of every map. Subclasses add the ``loss``.

    Attributes:
        maps: names of the maps.
    """

    maps: ClassVar[tuple[str, ...]]

    def forward(self, *sources: Tensor) -> Proposal:
        """Equal weights ``(B, S, H, W)`` per map for S sources ``(B, C, H, W)``."""
        b, _, h, w = sources[0].shape
        share = sources[0].new_full((b, len(sources), h, w), 1 / len(sources))
        return dict.fromkeys(self.maps, share)
