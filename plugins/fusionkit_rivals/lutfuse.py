"""LUT-Fuse: a four-dimensional table, read at the values of the sources and of a small context network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit.io.color import fit_gamut, luminance, rgb_to_ycrcb
from fusionkit_rivals.conventions import Conventions, join_colour, read_grey, save_levels, to_levels
from fusionkit_rivals.layers import Padding, convolution, zeros_or
from fusionkit_rivals.rival import Rival, RivalOptions

__all__ = ["LUTFuse", "LUTFuseOptions"]

_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


@dataclass(frozen=True)
class LUTFuseOptions(RivalOptions):
    """Options of LUT-Fuse.

    Attributes:
        size: entries of the table per axis.
    """

    size: Annotated[int, Field(ge=2, le=64)] = 16


class ContextNet(nn.Module):
    """Context of every pixel in [0, 1], from RGB and infrared in 0..255."""

    def __init__(self, padding: Padding) -> None:
        super().__init__()
        widths = ((4, 16), (16, 16), (16, 16), (16, 16))
        self.layers = nn.ModuleList(convolution(*pair, padding=padding) for pair in widths)
        self.norms = nn.ModuleList(nn.InstanceNorm2d(16, affine=True) for _ in widths)
        self.last = convolution(16, 1, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, 1, H, W)`` from ``(B, 4, H, W)``."""
        first = y = self.norms[0](F.leaky_relu(self.layers[0](x), 0.2))
        for layer, norm in zip(self.layers[1:], self.norms[1:], strict=True):
            y = norm(F.leaky_relu(layer(y), 0.2))
        return torch.sigmoid(self.last(y + first))


def gradient_range(y: Tensor, padding: Padding) -> Tensor:
    """Compute the Sobel magnitude of ``(B, 1, H, W)``, stretched to [0, 1] per image.

    The published code pads with zeros, which makes edges at the border.
    """
    kernel = y.new_tensor(_SOBEL)
    framed = F.pad(y, (1, 1, 1, 1)) if padding == "zeros" else F.pad(y, (1, 1, 1, 1), mode=padding)
    both = F.conv2d(framed, torch.stack((kernel, kernel.T))[:, None])
    size = both.square().sum(1, keepdim=True)
    size = torch.where(size > 0, size.clamp(min=1e-30).sqrt(), size)
    least, greatest = size.amin((1, 2, 3), keepdim=True), size.amax((1, 2, 3), keepdim=True)
    return (size - least) / (greatest - least + 1e-8)


def read_table(table: Tensor, axes: Tensor) -> Tensor:
    """Interpolate a table ``(N, N, N, N)`` linearly along four axes at ``axes`` ``(B, 4, H, W)`` in [0, N - 1 + f]."""
    size = table.shape[0]
    below = axes.detach().floor().clamp(0, size - 1)
    part = axes - below
    flat, result = table.reshape(-1), torch.zeros_like(axes[:, :1])
    for corner in product((0, 1), repeat=4):
        index, weight = torch.zeros_like(below[:, 0], dtype=torch.long), torch.ones_like(axes[:, 0])
        for axis, up in enumerate(corner):
            index = index * size + (below[:, axis].long() + up).clamp(max=size - 1)
            weight = weight * (part[:, axis] if up else 1 - part[:, axis])
        result = result + (flat[index] * weight)[:, None]
    return result


class LUTFuse(Rival):
    """Table of (visible luminance, its gradient, context, infrared); the result keeps the colour of the visible image.

    Reference:
        Yi et al., LUT-Fuse: Towards Extremely Fast Infrared and Visible Image Fusion via Distillation to Learnable
        Look-Up Tables, ICCV 2025.
    """

    Config = LUTFuseOptions
    config: LUTFuseOptions
    space = "rgb"
    reference = "Yi et al., LUT-Fuse, ICCV 2025"
    tasks = ("ivif",)
    capabilities = replace(Rival.capabilities, min_size=2)
    conventions: ClassVar[Conventions] = Conventions(
        colour="chroma of the visible image",
        whole_image="statistics of the context network, range of the gradient",
        faults=(
            "sizes are reduced to multiples of 16",
            "zeros beyond the border make false edges, which take part in the gradient's maximum",
        ),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="LUT-Fuse",
            source="https://github.com/zyb5/LUT-Fuse",
            licence="MIT, Copyright 2025 Yibing Zhang",
            files=("fine_tuned_lut.npy", "generator_context.pth"),
            sha256=(
                "e237e9807915e2252b3a3f5905e7badefdb89c07ac1e80dbc390a526e31ed6a0",
                "e79da8ecfdc3512a1c9f55efc1d47238154b596df2db48b6f01b235fdf575900",
            ),
            parameters=73361,
            tasks=("ivif",),
        ),
    )
    names = (
        (r"lut|array", "table"),
        (r"(?:generator\.)?input_layer\.0\.(.*)", r"context.layers.0.\1"),
        (r"(?:generator\.)?input_layer\.2\.(.*)", r"context.norms.0.\1"),
        *((rf"(?:generator\.)?mid_layer\.{3 * k}\.(.*)", rf"context.layers.{k + 1}.\1") for k in range(3)),
        *((rf"(?:generator\.)?mid_layer\.{3 * k + 2}\.(.*)", rf"context.norms.{k + 1}.\1") for k in range(3)),
        (r"(?:generator\.)?output_layer\.1\.(.*)", r"context.last.\1"),
    )

    def __init__(self, config: LUTFuseOptions | None = None) -> None:
        super().__init__(config)
        self.padding = zeros_or(self.config.published)
        self.table = nn.Parameter(
            torch.linspace(0, 1, self.config.size).repeat(self.config.size**3).view(*[self.config.size] * 4, 1)
        )
        self.context = ContextNet(self.padding)

    @classmethod
    def published_options(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Any]:
        """Read the size of the table."""
        table = tensors.get("table")
        return {} if table is None or table.ndim < 1 else {"size": table.shape[0]}

    def planes(self, *sources: Tensor) -> tuple[Tensor, ...]:
        """Reduce sources ``(1, 3, H, W)`` to multiples of 16 as the authors' program does; infrared becomes grey."""
        infrared, visible = (_reduced(source) for source in sources)
        return read_grey(infrared, "pil"), visible

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the fused luminance of infrared (grey or RGB) and visible (RGB) planes."""
        infrared, visible = luminance(planes[0]), planes[1]
        y = luminance(visible)
        context = self.context(255 * torch.cat((visible, infrared), 1))
        axes = torch.cat((y, gradient_range(y, self.padding), context, infrared), 1)
        return read_table(self.table.squeeze(-1), axes * 255 / self.config.size)

    def render(self, *sources: Tensor) -> Tensor:
        """Compute the file that the authors' program saves, which is smaller where 16 does not divide a side."""
        infrared, visible = self.planes(*sources)
        y, (red, green, blue) = self.fuse(infrared, visible), visible.split(1, 1)
        cb = -0.168736 * red - 0.331264 * green + 0.5 * blue
        cr = 0.5 * red - 0.418688 * green - 0.081312 * blue
        return save_levels(join_colour(y, torch.cat((cb, cr), 1)), self.conventions.saver)

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse infrared and visible ``(B, 3, H, W)`` in [0, 1]; what was reduced is brought back to its size."""
        if not self.config.published:
            y = self.fuse(*sources).clamp(0, 1)
            return fit_gamut(torch.cat((y, rgb_to_ycrcb(sources[1])[:, 1:]), 1))
        size = sources[0].shape[2:]
        files = [self.render(*(to_levels(s[k : k + 1]) / 255 for s in sources)) for k in range(len(sources[0]))]
        same = torch.cat(files) / 255
        return same if same.shape[2:] == size else F.interpolate(same, size, mode="bilinear").clamp(0, 1)


def _reduced(source: Tensor) -> Tensor:
    """Resize an 8-bit image ``(1, 3, H, W)`` to the next smaller multiples of 16, as PIL does; 16 at least."""
    height, width = (max(side // 16 * 16, 16) for side in source.shape[2:])
    if (height, width) == source.shape[2:]:
        return source
    levels = to_levels(source)[0].byte().permute(1, 2, 0).cpu().numpy()
    resized = np.asarray(Image.fromarray(levels).resize((width, height), Image.Resampling.BILINEAR))
    return torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].to(source) / 255
