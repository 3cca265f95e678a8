"""P, the loss proposal module, and the control that proposes 1/2 everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit.contracts import LossProposer, Options, Proposal, Terms
from fusionkit.train.bilevel import UniformWeights
from fusionkit_refusion.fuser import Encoder, check_heads
from fusionkit_restormer.losses import GradientForm, image_gradient, weighted_fusion_loss, weighted_fusion_minimiser
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
            ``"image+gradient+share"``, which adds its :func:`shares` of the gradients' energy.
        logit_cap: soft bound ``cap * tanh(logit / cap)`` on the logits before the softmax; 0 leaves them free.
        alpha: weight of the gradient term of L_f (alpha_1 of Table 6).
        gradient: Sobel responses compared ``"signed"`` or by ``"magnitude"``.
    """

    dim: int = 16
    heads: int = 8
    blocks: int = 2
    expansion: int = 2
    inputs: Literal["image+gradient", "image+gradient+share", "image"] = "image+gradient"
    logit_cap: float = 0.0
    alpha: float = 1.0
    gradient: GradientForm = "signed"


_CHANNELS = {"image": 1, "image+gradient": 3, "image+gradient+share": 5}

_FAINT = 1e-5
"""Energy below which a gradient is taken for none: that of a Sobel response to less than one of 255 grey levels."""


def shares(slopes: Sequence[Tensor]) -> list[Tensor]:
    """Each source's share of the gradients' energy at a pixel, and in the 5x5 pixels around it.

    Responses of a dark or smooth place can be a hundredth of those at an edge, and are lost on a small network.

    Args:
        slopes: the Sobel responses of each source, ``(B, 2, H, W)``.

    Returns:
        For each source ``(B, 2, H, W)``: its part of the energy of all, less 1/2, at the pixel and about it.
    """
    energies = [slope.square().sum(1, keepdim=True) for slope in slopes]
    energies = [torch.cat((e, F.avg_pool2d(e, 5, 1, 2, count_include_pad=False)), 1) for e in energies]
    whole = torch.stack(energies).sum(0) + _FAINT
    return [energy / whole - 0.5 for energy in energies]


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
        super().__init__(config, inputs=_CHANNELS[config.inputs], maps=2)

    def forward(self, *sources: Tensor) -> Proposal:
        """``w`` and ``v``, each ``(B, 2, H, W)``, for two sources ``(B, 1, H, W)``."""
        seen: Sequence[Tensor] = sources
        if self.config.inputs != "image":
            slopes = [image_gradient(x, "signed") for x in sources]
            seen = [torch.cat(parts, 1) for parts in zip(sources, slopes, strict=True)]
            if self.config.inputs == "image+gradient+share":
                seen = [torch.cat(parts, 1) for parts in zip(seen, shares(slopes), strict=True)]
        w, v = self.maps(*seen)
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
