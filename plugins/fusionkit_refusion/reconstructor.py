"""R, the source reconstruction module: one branch per source, each from the fused image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Batch, Reconstructor, Terms
from fusionkit_restormer.encoder import Depth, Encoder, Factor, Width, check_heads
from fusionkit_restormer.losses import Brightness, Combine, GradientForm, brightness_weights, reconstruction_loss


@dataclass(frozen=True)
class ReconstructorOptions:
    """Size of R and the form of the reconstruction loss.

    Attributes:
        dim: width of a branch.
        heads: attention heads; must divide ``dim``.
        blocks: Restormer blocks per branch.
        expansion: factor of the feed-forward.
        alpha: weight of the gradient term of L_r (alpha_2 of Table 6).
        combine: ``"max"`` over the sources at each pixel, or ``"sum"`` (ablation IV of Table 5).
        gradient: Sobel responses compared ``"signed"`` or by ``"magnitude"``.
        brightness: whether an error of intensity counts the more the brighter its source is there: ``"off"``, the
            paper's; ``"absolute"``, by the source's brightness; ``"relative"``, by its brightness over its mean in the
            crop. See :func:`fusionkit_restormer.losses.brightness_weights`.
        brightness_floor: what black counts there.
        brightness_power: power of the brightness there; 2 makes what is bright count more decidedly than 1.
    """

    dim: Width = 16
    heads: Width = 8
    blocks: Depth = 4
    expansion: Factor = 2
    alpha: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    combine: Combine = "max"
    gradient: GradientForm = "signed"
    brightness: Brightness = "off"
    brightness_floor: Annotated[float, Field(gt=0, le=1e6)] = 0.05
    brightness_power: Annotated[float, Field(gt=0, le=64)] = 1.0


class Branch(nn.Module):
    """Restormer blocks that put out what is to be added to the fused image."""

    def __init__(self, dim: int, heads: int, blocks: int, expansion: int) -> None:
        super().__init__()
        self.body = Encoder(1, dim, heads, blocks, expansion)
        self.head = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, bias=False),
            nn.LeakyReLU(0.01),
            nn.Conv2d(dim, 1, 3, padding=1, bias=False),
        )

    def forward(self, fused: Tensor) -> Tensor:
        """``(B, 1, H, W)`` to the same."""
        out: Tensor = fused + self.head(self.body(fused.contiguous(memory_format=torch.channels_last)))
        return out


class ReFusionReconstructor(Reconstructor):
    """R: rebuilds both sources from the fused image. Its detail is not published; the residual form is ours.

    Reference:
        Bai et al., ReFusion, IJCV 2025, section 3.1 and eq. (4)-(6).
    """

    Config = ReconstructorOptions
    config: ReconstructorOptions

    def __init__(self, config: ReconstructorOptions | None = None) -> None:
        super().__init__(config)
        c = self.config
        check_heads(c.dim, c.heads, "reconstructor")
        self.branches = nn.ModuleList(Branch(c.dim, c.heads, c.blocks, c.expansion) for _ in range(2))

    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        """Both sources, each ``(B, 1, H, W)``, from ``fused``."""
        return tuple(branch(fused) for branch in self.branches)

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        """L_r, eq. (4), its intensity weighted as the options say."""
        c = self.config
        weights = None
        if c.brightness != "off":
            weights = [
                brightness_weights(source, c.brightness, c.brightness_floor, c.brightness_power)
                for source in batch.sources
            ]
        return reconstruction_loss(
            self(fused), batch.sources, alpha=c.alpha, combine=c.combine, form=c.gradient, weights=weights
        )
