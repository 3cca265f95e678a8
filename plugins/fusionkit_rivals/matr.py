"""MATR: convolutions whose kernels depend on the image, for SPECT or PET and MRI."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit_rivals.conventions import Conventions
from fusionkit_rivals.layers import FixedNorm, zeros_or
from fusionkit_rivals.rival import Rival, RivalOptions

__all__ = ["MATR"]

WIDTH = 16


class AdaptiveConvolution(nn.Module):
    """3x3 convolution with a kernel of its own for every image, gated by the image's averages over a 3x3 grid.

    Args:
        inputs: input channels.
        zeros: pad with zeros, as published, instead of the nearest pixels.
    """

    def __init__(self, inputs: int, *, zeros: bool) -> None:
        super().__init__()
        self.zeros = zeros
        self.weight = nn.Parameter(torch.randn(WIDTH, inputs, 3, 3) / (9 * inputs) ** 0.5)
        self.squeeze = nn.Linear(9, 5, bias=False)
        self.mix_norm = FixedNorm(inputs)
        self.input_norm = FixedNorm(inputs)
        self.input_gate = nn.Linear(5, 9, bias=False)
        self.mix = nn.Linear(inputs, WIDTH, bias=False)
        self.output_norm = FixedNorm(WIDTH)
        self.output_gate = nn.Linear(5, 9, bias=False)
        self.norm = FixedNorm(WIDTH)
        for norm in (self.mix_norm, self.input_norm, self.output_norm):
            nn.init.constant_(norm.bias, 0.01)  # with 0, units whose input is all 0 start at the corner of relu

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(B, C, H, W)``, normalise, cut at 0."""
        batch, channels, height, width = x.shape
        code = self.squeeze(F.adaptive_avg_pool2d(x, 3).flatten(2))
        of_inputs = self.input_gate(F.relu(self.input_norm(code)))
        code = F.relu(self.mix_norm(code))
        code = F.relu(self.output_norm(self.mix(code.transpose(1, 2)).transpose(1, 2)))
        gates = torch.sigmoid(
            of_inputs.view(batch, 1, channels, 3, 3) + self.output_gate(code).view(batch, WIDTH, 1, 3, 3)
        )
        kernels = (self.weight * gates).flatten(0, 1)
        framed = F.pad(x, (1, 1, 1, 1)) if self.zeros else F.pad(x, (1, 1, 1, 1), mode="replicate")
        y = F.conv2d(framed.reshape(1, batch * channels, height + 2, width + 2), kernels, groups=batch)
        return F.relu(self.norm(y.view(batch, WIDTH, height, width)))


class Block(nn.Module):
    """Transformer block whose windows are one token: attention is the projection of the value."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.project = nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.ModuleList((nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)))

    def forward(self, x: Tensor) -> Tensor:
        """Compute tokens ``(..., 16)``. Queries and keys, two thirds of ``qkv``, never act."""
        x = x + self.project(self.qkv(self.norm1(x))[..., 2 * WIDTH :])
        return x + self.mlp[1](F.gelu(self.mlp[0](self.norm2(x))))


class MATR(Rival):
    """Adaptive convolutions called once, twice and three times, three transformer blocks behind each, and their sum.

    A token is sixteen values that follow each other in memory, sixteen neighbours of a row where 16 divides the width:
    the published weights were trained with that.

    Reference:
        Tang et al., MATR: Multimodal Medical Image Fusion via Multiscale Adaptive Transformer, IEEE TIP 31, 2022.
    """

    reference = "Tang et al., MATR, IEEE TIP 2022"
    tasks = ("mif",)
    capabilities = replace(Rival.capabilities, min_size=3)
    conventions: ClassVar[Conventions] = Conventions(
        saver="wrap",
        colour="none: luminance alone",
        order="SPECT or PET, MRI",
        square=True,
        whole_image="averages over a 3x3 grid decide the kernels; tokens follow the memory",
        faults=("only square images are taken", "negative values wrap to bright ones", "zeros pad every convolution"),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="MATR",
            source="https://github.com/tthinking/MATR",
            licence="none stated",
            files=("model_10.pth",),
            sha256=("523f6be0ef0330a84c473a7ad2e037a7eb1a98584021c4772dfd317c1c0ddaab",),
            parameters=13422,
            trained_on=("Harvard_MRI_SPECT",),
            tasks=("mif",),
        ),
    )
    names = (
        (r".*\.num_batches_tracked", ""),
        (r"patch_embed\.norm\..*", ""),
        (r".*\.relative_position_(?:bias_table|index)", ""),
        *(
            (rf"{published}\.{layer}", rf"{ours}.{name}")
            for published, ours in (("convInput", "first"), ("conv", "again"))
            for layer, name in (
                (r"conv1\.weight", "weight"),
                (r"conv1\.ce\.(.*)", r"squeeze.\1"),
                (r"conv1\.ce_bn\.(.*)", r"input_norm.\1"),
                (r"conv1\.ci_bn2\.(.*)", r"mix_norm.\1"),
                (r"conv1\.gd\.(.*)", r"input_gate.\1"),
                (r"conv1\.ci\.(.*)", r"mix.\1"),
                (r"conv1\.ci_bn\.(.*)", r"output_norm.\1"),
                (r"conv1\.gd2\.(.*)", r"output_gate.\1"),
                (r"bn1\.(.*)", r"norm.\1"),
            )
        ),
        (r"basicLayer\.blocks\.(\d)\.attn\.qkv\.(.*)", r"blocks.\1.qkv.\2"),
        (r"basicLayer\.blocks\.(\d)\.attn\.proj\.(.*)", r"blocks.\1.project.\2"),
        (r"basicLayer\.blocks\.(\d)\.mlp\.fc1\.(.*)", r"blocks.\1.mlp.0.\2"),
        (r"basicLayer\.blocks\.(\d)\.mlp\.fc2\.(.*)", r"blocks.\1.mlp.1.\2"),
        (r"basicLayer\.blocks\.(\d)\.(norm\d)\.(.*)", r"blocks.\1.\2.\3"),
        (r"convolutional_out\.conv1\.weight", "last.weight"),
    )

    def __init__(self, config: RivalOptions | None = None) -> None:
        super().__init__(config)
        zeros = zeros_or(self.config.published) == "zeros"
        self.first = AdaptiveConvolution(2, zeros=zeros)
        self.again = AdaptiveConvolution(WIDTH, zeros=zeros)
        self.blocks = nn.Sequential(*(Block() for _ in range(3)))
        self.last = nn.Conv2d(WIDTH, 1, 1, bias=False)

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the network's image of PET or SPECT and MRI planes."""
        x = self.first(torch.cat(planes, 1))
        total = torch.zeros_like(x)
        for _ in range(3):
            x = self.again(x)
            tokens = x.reshape(len(x), -1, WIDTH)
            total = total + self.again(self.blocks(tokens).reshape(x.shape))
        return torch.tanh(self.last(total))
