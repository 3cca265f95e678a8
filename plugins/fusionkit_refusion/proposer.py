"""P, the loss proposal module, and the control that proposes 1/2 everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusionkit.contracts import LossProposer, Options, Proposal, Terms
from fusionkit.train.bilevel import UniformWeights
from fusionkit_refusion.fuser import Encoder, check_heads
from fusionkit_refusion.inputs import CHANNELS, Inputs, network_inputs
from fusionkit_restormer.losses import GradientForm, weighted_fusion_loss, weighted_fusion_minimiser
from fusionkit_restormer.restormer import RestormerBlock


@dataclass(frozen=True)
class ProposerOptions:
    """Size of P and the form of the fusion loss.

    Attributes:
        dim: width of a source's feature; twice that after merging.
        heads: attention heads; must divide ``dim``.
        blocks: Restormer blocks per stage.
        expansion: factor of the feed-forward.
        inputs: what P sees of a source: ``"image"`` (TDFusion), ``"image+gradient"`` (ReFusion), or
            ``"image+gradient+share"``, which adds its :func:`~fusionkit_refusion.inputs.shares` of the gradients'
            energy.
        logit_cap: soft bound ``cap * tanh(logit / cap)`` on the logits before the softmax; 0 leaves them free.
        alpha: weight of the gradient term of L_f (alpha_1 of Table 6).
        gradient: Sobel responses compared ``"signed"`` or by ``"magnitude"``.
    """

    dim: int = 16
    heads: int = 8
    blocks: int = 2
    expansion: int = 2
    inputs: Inputs = "image+gradient"
    logit_cap: float = 0.0
    alpha: float = 1.0
    gradient: GradientForm = "signed"


class MapProposer(LossProposer):
    """The network of a loss proposer: one encoder per source, a common trunk, and two channels a map, one a source.

    Args:
        config: with ``dim``, ``heads``, ``blocks``, ``expansion`` and ``logit_cap`` of :class:`ProposerOptions`.
        inputs: channels that an encoder sees.
        maps: how many maps it proposes.

    Raises:
        fusionkit.errors.UsageError: the heads do not divide the width.
    """

    def __init__(self, config: Options, *, inputs: int, maps: int) -> None:
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
        """The maps, each ``(B, 2, H, W)`` and summing to 1, from what is seen of two sources, ``(B, inputs, H, W)``."""
        laid_out = (x.contiguous(memory_format=torch.channels_last) for x in seen)
        features = [encode(x) for encode, x in zip(self.encoders, laid_out, strict=True)]
        logits = self.head(self.trunk(torch.cat(features, 1)))
        if self.config.logit_cap > 0:
            logits = self.config.logit_cap * torch.tanh(logits / self.config.logit_cap)
        return tuple(pair.softmax(1) for pair in logits.split(2, 1))


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
