"""Hybrid Fusion: a small U-Net draws one weight map, and a fixed Laplacian pyramid blends the sources by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Capabilities, Fuser
from fusionkit_rivals.layers import convolution

__all__ = ["HybridFusion", "HybridFusionOptions", "blend"]

LEVELS = 4
"""Halvings of the pyramid and of the U-Net."""


@dataclass(frozen=True)
class HybridFusionOptions:
    """Options of :class:`HybridFusion`.

    Attributes:
        width: channels at full resolution; they double with the first three halvings.
    """

    width: Annotated[int, Field(ge=1, le=256)] = 8


def reduce(image: Tensor) -> Tensor:
    """Smooth ``(B, 1, H, W)`` with [1 4 6 4 1] / 16 over repeated borders, and keep every second row and column."""
    ramp = torch.tensor((1, 4, 6, 4, 1), dtype=image.dtype, device=image.device) / 16
    return F.conv2d(F.pad(image, (2, 2, 2, 2), mode="replicate"), torch.outer(ramp, ramp)[None, None], stride=2)


def expand(image: Tensor) -> Tensor:
    """Double ``(B, 1, H, W)`` by interpolation with the kernel of :func:`reduce` over repeated borders."""
    wide = F.pad(image, (1, 1, 1, 1), mode="replicate")
    for dim in (2, 3):
        before, here, after = (wide.narrow(dim, k, wide.shape[dim] - 2) for k in range(3))
        pairs = torch.stack(((before + 6 * here + after) / 8, (here + after) / 2), dim + 1)
        wide = pairs.flatten(dim, dim + 1)
    return wide


def blend(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Blend two images by one weight map in their Laplacian pyramids: linear in the images.

    Args:
        a: ``(B, 1, H, W)``, H and W multiples of 16.
        b: the same shape.
        weight: of ``a``, in [0, 1], the same shape; resized to each level by bilinear interpolation.

    Returns:
        ``(B, 1, H, W)``; it can leave the range of the sources by a little.
    """
    pyramids = [[a], [b]]
    for pyramid in pyramids:
        for _ in range(LEVELS):
            pyramid.append(reduce(pyramid[-1]))
    fused = torch.empty(0)
    for level in reversed(range(LEVELS + 1)):
        size = pyramids[0][level].shape[-2:]
        own = F.interpolate(weight, size, mode="bilinear", align_corners=False)
        first, second = (p[level] if level == LEVELS else p[level] - expand(p[level + 1]) for p in pyramids)
        detail = own * first + (1 - own) * second
        fused = detail if level == LEVELS else expand(fused) + detail
    return fused


class HybridFusion(Fuser):
    """Weights from a U-Net, pixels from the sources: every level of a Laplacian pyramid is a weighted mean.

    From the paper and its authors' program: one weight map in (0, 1) from a U-Net with four halvings, two 3x3
    convolutions per level, max pooling, bilinear upsampling and a sigmoid; a pyramid of four levels that nothing
    trains; the map resized to each level; whole images in training.

    Our reading: luminance alone is fused, and the toolkit adds colour. Normalisation over the channels of each pixel
    instead of over the batch, which would couple its samples (without any, training ends in one source alone), and
    leaky rectifiers, since plain ones died. 8 channels at full resolution instead of 64: the authors report that one of
    about 80,000 parameters is nearly as good as theirs of 17 million. Burt's kernel over repeated borders instead of a
    Gaussian padded with zeros. No variance of the map, which the authors advise against using.

    Reference:
        Zhang, He, Liu, Hybrid Fusion: One-Minute Efficient Training for Zero-Shot Cross-Domain Image Fusion,
        arXiv 2602.20851, 2026.
    """

    Config: ClassVar[type] = HybridFusionOptions
    config: HybridFusionOptions
    reference = "Zhang, He, Liu, Hybrid Fusion, arXiv 2602.20851, 2026"
    capabilities = Capabilities(halo=256, grid=2**LEVELS)

    def __init__(self, config: HybridFusionOptions | None = None) -> None:
        super().__init__(config)
        widths = [self.config.width * 2 ** min(level, 3) for level in range(LEVELS + 1)]
        self.down = nn.ModuleList(_two(a, b) for a, b in zip([2, *widths], widths, strict=False))
        self.up = nn.ModuleList(_two(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.last = nn.Conv2d(widths[0], 1, 1)
        # It begins with the mean of the sources: from other weights training can end in one source alone.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def weight(self, a: Tensor, b: Tensor) -> Tensor:
        """Compute the weight of ``a``, ``(B, 1, H, W)`` in (0, 1), for H and W that are multiples of 16."""
        kept: list[Tensor] = []
        x = 2 * torch.cat((a, b), 1) - 1
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for block, finer in zip(self.up, kept[-2::-1], strict=True):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = block(torch.cat((finer, x), 1))
        return torch.sigmoid(self.last(x))

    def fuse(self, a: Tensor, b: Tensor) -> Tensor:
        """Fuse two sources ``(B, 1, H, W)``, H and W multiples of 16, without a clip."""
        return blend(a, b, self.weight(a, b))

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse two sources ``(B, 1, H, W)`` in [0, 1]."""
        return _crop(self.fuse(*map(_extend, sources)), sources[0]).clamp(0, 1)

    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        """Give the weight of the first source."""
        return {"w_a": _crop(self.weight(*map(_extend, sources)), sources[0])}


def _extend(image: Tensor) -> Tensor:
    """Repeat the last row and column until height and width are multiples of 16."""
    below, right = (-side % 2**LEVELS for side in image.shape[-2:])
    return F.pad(image, (0, right, 0, below), mode="replicate")


def _crop(image: Tensor, like: Tensor) -> Tensor:
    return image[..., : like.shape[-2], : like.shape[-1]]


class _ChannelNorm(nn.LayerNorm):
    """Normalisation over the channels of each pixel of ``(B, C, H, W)``."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def _two(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [convolution(channels, outputs, padding="replicate"), _ChannelNorm(outputs), nn.LeakyReLU(0.1)]
    return nn.Sequential(*layers)
