"""LRRNet: sparse coding with learned steps, for infrared and visible images."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit_rivals.conventions import Conventions
from fusionkit_rivals.layers import convolution
from fusionkit_rivals.rival import Rival, RivalOptions

__all__ = ["LRRNet"]

WIDTH = 256
"""Channels of a source's code: the first half is its low-rank part, the second its sparse part."""


def soft_threshold(z: Tensor, threshold: Tensor) -> Tensor:
    """``sign(z) max(|z| - threshold, 0)``; a negative threshold widens, as one of the published ones does."""
    return z.sign() * (z.abs() - threshold).clamp(min=0)


class Coder(nn.Module):
    """Code of one source: ``Z <- S(lambda Z + W_k(x - D_k(Z)))``, four steps with convolutions of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, 1))
        self.threshold = nn.Parameter(torch.full((1, WIDTH), 0.01))
        self.start = convolution(1, WIDTH)
        self.decode = nn.ModuleList(convolution(WIDTH, 1) for _ in range(4))
        self.encode = nn.ModuleList(convolution(1, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the code ``(B, 256, H, W)`` of a source ``(B, 1, H, W)``."""
        threshold = self.threshold.view(1, -1, 1, 1)
        z = soft_threshold(self.start(x), threshold)
        for encode, decode in zip(self.encode, self.decode, strict=True):
            z = soft_threshold(self.scale.view(1, 1, 1, 1) * z + encode(x - decode(z)), threshold)
        return z


class LRRNet(Rival):
    """Two coders, one per source, and linear decoders of the low-rank and the sparse halves.

    Each source is stretched to its own range before, and the result, which spans about 0.02 to 0.25, after.

    Reference:
        Li et al., LRRNet: A Novel Representation Learning Guided Fusion Framework for Infrared and Visible Images,
        IEEE TPAMI 45(9), 2023.
    """

    reference = "Li et al., LRRNet, IEEE TPAMI 2023"
    tasks = ("ivif",)
    stretch = "full"
    capabilities = replace(Rival.capabilities, min_size=2)
    conventions: ClassVar[Conventions] = Conventions(
        reader="libpng",
        saver="stretch and truncate",
        whole_image="minimum and maximum of each source and of the result",
        faults=("no result reaches 255: the stretch divides by slightly more than the range and cuts",),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="LRRNet",
            source="https://github.com/hli1221/imagefusion-LRRNet",
            licence="none stated",
            files=("final_lrr_net_lam2_1.5_wir_3.0_lam3_gram_2000_epoch_4_block_4.model",),
            sha256=("1de9dd8dee9b650ce69c74ea53e3b9a6b749222f1059a689aabf28f68ee63e29",),
            parameters=49204,
            trained_on=("KAIST",),
            tasks=("ivif",),
        ),
    )
    names = (
        (r"get_ls1\.lamj", "coders.0.threshold"),
        (r"get_ls2\.lamj", "coders.1.threshold"),
        (r"get_ls1\.lamz", "coders.0.scale"),
        (r"get_ls2\.lamz", "coders.1.scale"),
        (r"get_ls1\.conv_W00\.conv2d\.(.*)", r"coders.0.start.\1"),
        (r"get_ls2\.conv_W00\.conv2d\.(.*)", r"coders.1.start.\1"),
        (r"get_ls1\.lrrblock(\d)\.conv_Wdz\.conv2d\.(.*)", r"coders.0.decode.\1.\2"),
        (r"get_ls2\.lrrblock(\d)\.conv_Wdz\.conv2d\.(.*)", r"coders.1.decode.\1.\2"),
        (r"get_ls1\.lrrblock(\d)\.conv_Wdtz\.conv2d\.(.*)", r"coders.0.encode.\1.\2"),
        (r"get_ls2\.lrrblock(\d)\.conv_Wdtz\.conv2d\.(.*)", r"coders.1.encode.\1.\2"),
        (r"decoder\.conv_ReZx\.conv2d\.(.*)", r"low.0.\1"),
        (r"decoder\.conv_ReZy\.conv2d\.(.*)", r"low.1.\1"),
        (r"decoder\.conv_ReUx\.conv2d\.(.*)", r"sparse.0.\1"),
        (r"decoder\.conv_ReUy\.conv2d\.(.*)", r"sparse.1.\1"),
        (r"decoder\.conv_ReL\.conv2d\.(.*)", r"join_low.\1"),
        (r"decoder\.conv_ReH\.conv2d\.(.*)", r"join_sparse.\1"),
    )

    def __init__(self, config: RivalOptions | None = None) -> None:
        super().__init__(config)
        self.coders = nn.ModuleList(Coder() for _ in range(2))
        self.low = nn.ModuleList(convolution(WIDTH // 2, 1) for _ in range(2))
        self.sparse = nn.ModuleList(convolution(WIDTH // 2, 1) for _ in range(2))
        self.join_low = convolution(2, 1)
        self.join_sparse = convolution(2, 1)

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the network's image of infrared and visible planes."""
        low, sparse = [], []
        for k, plane in enumerate(planes):
            x = 255 * plane
            least, greatest = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
            first, second = self.coders[k]((x - least) / (greatest - least + 1e-5)).chunk(2, 1)
            low.append(self.low[k](first))
            sparse.append(self.sparse[k](second))
        return self.join_low(torch.cat(low, 1)) + self.join_sparse(torch.cat(sparse, 1))
