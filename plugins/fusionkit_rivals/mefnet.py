"""MEF-Net: weights of exposures, learned at a low resolution and brought up by a guided filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit.io.color import luminance
from fusionkit_rivals.conventions import Conventions, chroma_by_distance, join_colour, save_levels, to_levels
from fusionkit_rivals.layers import convolution
from fusionkit_rivals.rival import Rival, RivalOptions

__all__ = ["MEFNet", "MEFNetOptions"]

_EPS, _FLOOR = 1e-4, 1e-8


@dataclass(frozen=True)
class MEFNetOptions(RivalOptions):
    """Options of MEF-Net.

    Attributes:
        short_side: short side of the image that the weights are computed from, in pixels.
    """

    short_side: Annotated[int, Field(ge=2, le=4096)] = 128


class MixedNorm(nn.Module):
    """``w0 x + w1 InstanceNorm(x)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.plain, self.normed = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
        self.norm = nn.InstanceNorm2d(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, H, W)``."""
        return self.plain * x + self.normed * self.norm(x)


class WeightNet(nn.Module):
    """Six dilated convolutions of 24 channels, and one weight per pixel."""

    def __init__(self) -> None:
        super().__init__()
        # Zeros, as it was trained: by repeated pixels the weights near the border are no better.
        steps = ((1, 1), (24, 2), (24, 4), (24, 8), (24, 16), (24, 1))
        self.layers = nn.ModuleList(convolution(n, 24, padding="zeros", dilation=d, bias=False) for n, d in steps)
        self.norms = nn.ModuleList(MixedNorm(24) for _ in steps)
        self.last = nn.Conv2d(24, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, 1, h, w)`` of ``(B, 1, h, w)``."""
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.leaky_relu(norm(layer(x)), 0.2)
        return self.last(x)


def box_mean(x: Tensor) -> Tensor:
    """Mean over the part of a 3x3 window that lies inside the image."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


def summed_mean(x: Tensor) -> Tensor:
    """Compute :func:`box_mean` by running sums as published, which lose digits over a whole image in float32."""
    counts = torch.ones_like(x)
    for dim in (2, 3):
        length = x.shape[dim]
        ends = (torch.arange(length, device=x.device) + 1).clamp(max=length - 1)
        starts = torch.arange(length - 2, device=x.device)
        x, counts = (
            total.index_select(dim, ends) - F.pad(total.index_select(dim, starts), (0, 0, 2, 0) if dim == 2 else (2, 0))
            for total in (x.cumsum(dim), counts.cumsum(dim))
        )
    return x / counts


def guided_upsampling(small: Tensor, weights: Tensor, full: Tensor, box: Callable[[Tensor], Tensor]) -> Tensor:
    """Bring weights of a small image to the full one: ``A full + b`` with A, b of a guided filter, interpolated."""
    mean, of_weights = box(small), box(weights)
    variance = box(small * small) - mean * mean
    slope = (box(small * weights) - mean * of_weights) / (variance + _EPS)
    both = F.interpolate(torch.cat((slope, of_weights - slope * mean), 1), full.shape[2:], mode="bilinear")
    return both[:, :1] * full + both[:, 1:]


class MEFNet(Rival):
    """A weight per pixel and exposure, at a short side of 128 pixels; any number of exposures in any order.

    Images above 2048 pixels are not reduced, unlike in the published program.

    Reference:
        Ma et al., Deep Guided Learning for Fast Multi-Exposure Image Fusion, IEEE TIP 29, 2020.
    """

    Config = MEFNetOptions
    config: MEFNetOptions
    reference = "Ma et al., MEF-Net, IEEE TIP 2020"
    tasks = ("meif",)
    capabilities = replace(Rival.capabilities, max_sources=None)
    conventions: ClassVar[Conventions] = Conventions(
        reader="float",
        colour="chroma weighted by |C - 0.5|",
        order="any",
        whole_image="the small image and its statistics",
        faults=("running sums of the guided filter lose digits",),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="MEF-Net",
            source="https://github.com/makedede/MEFNet",
            licence="none stated",
            files=("MEFNet_release.pt",),
            sha256=("8d524b43086cff513c36ae34814669ea4d1cbee4014d394b1a921b5114360b1b",),
            parameters=26461,
            tasks=("meif",),
        ),
    )
    names = (
        *((rf"lr\.{3 * k}\.weight", rf"net.layers.{k}.weight") for k in range(6)),
        *((rf"lr\.{3 * k + 1}\.w_0", rf"net.norms.{k}.plain") for k in range(6)),
        *((rf"lr\.{3 * k + 1}\.w_1", rf"net.norms.{k}.normed") for k in range(6)),
        *((rf"lr\.{3 * k + 1}\.in_norm\.(.*)", rf"net.norms.{k}.norm.\1") for k in range(6)),
        (r"lr\.18\.(.*)", r"net.last.\1"),
    )

    def __init__(self, config: MEFNetOptions | None = None) -> None:
        super().__init__(config)
        self.net = WeightNet()

    def weigh(self, *planes: Tensor, small: tuple[Tensor, ...] | None = None) -> Tensor:
        """Compute the weights ``(S, B, 1, H, W)``, which sum to 1 over the sources."""
        small = small or tuple(_reduced(plane, self.config.short_side) for plane in planes)
        box = summed_mean if self.config.published else box_mean
        weights = [guided_upsampling(s, self.net(s), p, box) for s, p in zip(small, planes, strict=True)]
        sizes = torch.stack(weights).abs() + _FLOOR
        return sizes / sizes.sum(0)

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the fused luminance."""
        return (self.weigh(*planes) * torch.stack(planes)).sum(0)

    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        """The share of every source; of two, that of the first."""
        weights = self.weigh(*(luminance(source) for source in sources))
        return {f"w_{'abcdefgh'[k]}": weights[k] for k in range(1 if len(weights) == 2 else min(len(weights), 8))}

    def as_published(self, *sources: Tensor) -> Tensor:
        """Compute the fused luminance as the authors' program does: the small images are those of PIL."""
        planes = tuple(_ycbcr(source)[:, :1] for source in sources)
        small = tuple(_ycbcr(_reduced_by_pil(source, self.config.short_side))[:, :1] for source in sources)
        return (self.weigh(*planes, small=small) * torch.stack(planes)).sum(0)

    def render(self, *sources: Tensor) -> Tensor:
        """Compute the file that the authors' program saves."""
        y = self.as_published(*sources).clamp(0, 1)
        chroma = [_ycbcr(source)[:, 1:] for source in sources]
        rgb = join_colour(y, chroma_by_distance(chroma, 0.5, _FLOOR) - 0.5)
        return save_levels(rgb, self.conventions.saver)


def _size(height: int, width: int, short: int) -> tuple[int, int]:
    return (short, short * width // height) if height <= width else (short * height // width, short)


def _reduced(plane: Tensor, short: int) -> Tensor:
    return F.interpolate(plane, _size(plane.shape[2], plane.shape[3], short), mode="bilinear", antialias=True)


def _reduced_by_pil(source: Tensor, short: int) -> Tensor:
    """Resize an 8-bit image ``(1, 3, H, W)`` to a short side, as PIL does."""
    height, width = _size(source.shape[2], source.shape[3], short)
    levels = to_levels(source)[0].byte().permute(1, 2, 0).cpu().numpy()
    resized = np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR))
    return torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].to(source) / 255


def _ycbcr(image: Tensor) -> Tensor:
    """JPEG YCbCr of RGB ``(B, 3, H, W)`` in [0, 1], in [0, 1]."""
    red, green, blue = image.split(1, 1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    cb = 0.5 - 0.168736 * red - 0.331264 * green + 0.5 * blue
    cr = 0.5 + 0.5 * red - 0.418688 * green - 0.081312 * blue
    return torch.cat((y, cb, cr), 1)
