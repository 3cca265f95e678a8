"""G, the loss generation module, and the control that proposes 1/2 everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from fusionkit.contracts import LossProposer, Proposal, Terms
from fusionkit.train.bilevel import UniformWeights
from fusionkit_restormer.map_proposer import MapProposer, MapProposerOptions
from fusionkit_tdfusion.losses import Weighting, task_fusion_loss

__all__ = ["EvenProposer", "TDFusionProposer", "TDFusionProposerOptions"]


@dataclass(frozen=True)
class TDFusionProposerOptions(MapProposerOptions):
    """Size of G and the form of the fusion loss.

    Attributes:
        alpha: weight of the gradient term of L_f; 0 is ablation II of Table 3.
        weighting: w ``"outside"`` the square (the paper) or ``"inside"`` it (the authors' code).
    """

    alpha: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    weighting: Weighting = "outside"


class _TaskLoss(LossProposer):
    Config = TDFusionProposerOptions
    config: TDFusionProposerOptions

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        """L_f, eq. (1)."""
        c = self.config
        return task_fusion_loss(fused, sources, proposal["w"], alpha=c.alpha, weighting=c.weighting)


class TDFusionProposer(_TaskLoss, MapProposer):
    """G: proposes w, how much each source's intensity counts; the pair sums to 1 at every pixel.

    Reference:
        Bai et al., TDFusion, CVPR 2025, section 3.2 and eq. (1)-(3).
    """

    def __init__(self, config: TDFusionProposerOptions | None = None) -> None:
        super().__init__(config if config is not None else TDFusionProposerOptions(), inputs=1, maps=1)

    def forward(self, *sources: Tensor) -> Proposal:
        """``w`` ``(B, 2, H, W)`` for two sources ``(B, 1, H, W)``."""
        return {"w": self.maps(*sources)[0]}


class EvenProposer(_TaskLoss, UniformWeights):
    """w = 1/S everywhere: ablation I of Table 3, the control of the learned loss."""

    maps = ("w",)
