"""DIDFuse: sources are split into a base and a detail part, which are summed."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit_rivals.conventions import Conventions
from fusionkit_rivals.layers import FixedNorm, Padding, convolution, zeros_or
from fusionkit_rivals.rival import Rival, RivalOptions

__all__ = ["DIDFuse"]


def _stage(inputs: int, outputs: int, padding: Padding, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution(inputs, outputs, padding=padding), FixedNorm(outputs), activation)


class DIDFuse(Rival):
    """One encoder for both sources, whose four maps are summed over the sources, and a decoder.

    Reference:
        Zhao et al., DIDFuse: Deep Image Decomposition for Infrared and Visible Image Fusion, IJCAI 2020.
    """

    reference = "Zhao et al., DIDFuse, IJCAI 2020"
    tasks = ("ivif",)
    capabilities = replace(Rival.capabilities, min_size=2, halo=6)
    conventions: ClassVar[Conventions] = Conventions(
        saver="round",
        order="any",
        faults=("five of seven convolutions are padded with zeros",),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="DIDFuse",
            source="https://github.com/Zhaozixiang1228/IVIF-DIDFuse",
            licence="none stated",
            files=("Encoder_weight_IJCAI.pkl", "Decoder_weight_IJCAI.pkl"),
            sha256=(
                "4d84a4e64e58469d3d4591f83c6683ead3e422498519db99bb617cb29d268471",
                "c6974e2a7c66ab579a77bacb086023237a229e769d459783bad8ff43e52e9986",
            ),
            parameters=260935,
            # 180 pairs of FLIR, which the paper takes from RoadScene: its frames are of FLIR.
            trained_on=("FLIR", "RoadScene"),
            tasks=("ivif",),
        ),
    )
    names = (
        (r".*\.num_batches_tracked", ""),
        # A layer of padding comes first in two stages, so their layers count from 1.
        (r"(?:encoder\.|decoder\.)?cov([17])\.cov\1\.1\.(.*)", r"stages.\1.0.\2"),
        (r"(?:encoder\.|decoder\.)?cov([17])\.cov\1\.2\.(.*)", r"stages.\1.1.\2"),
        (r"(?:encoder\.|decoder\.)?cov1\.cov1\.3\.(.*)", r"stages.1.2.\1"),
        (r"(?:encoder\.|decoder\.)?cov([2-6])\.cov\1\.(.*)", r"stages.\1.\2"),
    )

    def __init__(self, config: RivalOptions | None = None) -> None:
        super().__init__(config)
        zeros = zeros_or(self.config.published)
        self.stages = nn.ModuleDict(
            {
                "1": _stage(1, 64, "reflect", nn.PReLU()),
                "2": _stage(64, 64, zeros, nn.PReLU()),
                "3": _stage(64, 64, zeros, nn.Tanh()),
                "4": _stage(64, 64, zeros, nn.Tanh()),
                "5": _stage(128, 64, zeros, nn.PReLU()),
                "6": _stage(128, 64, zeros, nn.PReLU()),
                "7": _stage(128, 1, "reflect", nn.Sigmoid()),
            }
        )

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the network's image."""
        stage = self.stages
        first = [stage["1"](plane) for plane in planes]
        second = [stage["2"](features) for features in first]
        base, detail = (torch.stack([stage[name](f) for f in second]).sum(0) for name in ("3", "4"))
        y = stage["5"](torch.cat((base, detail), 1))
        y = stage["6"](torch.cat((y, torch.stack(second).sum(0)), 1))
        return stage["7"](torch.cat((y, torch.stack(first).sum(0)), 1))
