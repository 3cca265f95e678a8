"""P, the loss proposal module, and the control that proposes 1/2 everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from fusionkit.contracts import LossProposer, Proposal, Terms
from fusionkit.train.bilevel import UniformWeights
from fusionkit_restormer.inputs import CHANNELS, Inputs, network_inputs
from fusionkit_restormer.losses import GradientForm, weighted_fusion_loss, weighted_fusion_minimiser
from fusionkit_restormer.map_proposer import MapProposer, MapProposerOptions


@dataclass(frozen=True)
class ProposerOptions(MapProposerOptions):
    """Size of P and the form of the fusion loss.

    Attributes:
        inputs: what P sees of a source: ``"image"`` (TDFusion), ``"image+gradient"`` (ReFusion), or
            ``"image+gradient+share"``, which adds its :func:`~fusionkit_restormer.inputs.shares` of the gradients'
            energy.
        alpha: weight of the gradient term of L_f (alpha_1 of Table 6).
        gradient: Sobel responses compared ``"signed"`` or by ``"magnitude"``.
    """

    inputs: Inputs = "image+gradient"
    alpha: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    gradient: GradientForm = "signed"


class _WeightedLoss(LossProposer):
    Config = ProposerOptions
    config: ProposerOptions

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        """L_f, eq. (1)."""
        return weighted_fusion_loss(
            fused, sources, proposal["w"], proposal["v"], alpha=self.config.alpha, form=self.config.gradient
        )


class ReFusionProposer(_WeightedLoss, MapProposer):
    """P: proposes w (intensity) and v (gradient) for both sources, each pair summing to 1 at every pixel.

    Reference:
        Bai et al., ReFusion, IJCV 2025, section 3.2 and eq. (1)-(3).
    """

    def __init__(self, config: ProposerOptions | None = None) -> None:
        config = config if config is not None else ProposerOptions()
        super().__init__(config, inputs=CHANNELS[config.inputs], maps=2)

    def forward(self, *sources: Tensor) -> Proposal:
        """``w`` and ``v``, each ``(B, 2, H, W)``, for two sources ``(B, 1, H, W)``."""
        w, v = self.maps(*network_inputs(self.config.inputs, sources))
        return {"w": w, "v": v}

    def minimiser(self, proposal: Proposal, sources: Sequence[Tensor]) -> Tensor | None:
        """Of eq. (1) over all images, then limited to [0, 1]; None for magnitudes, in which L_f is not quadratic."""
        if self.config.gradient != "signed":
            return None
        image = weighted_fusion_minimiser(sources, proposal["w"], proposal["v"], alpha=self.config.alpha)
        return image.clamp(0, 1)


class EqualProposer(_WeightedLoss, UniformWeights):
    """w = v = 1/S everywhere: ablation I of Table 5, the control of every learned loss."""

    maps = ("w", "v")
