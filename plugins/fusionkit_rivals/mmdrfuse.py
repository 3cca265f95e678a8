"""MMDRFuse: a network of 113 numbers for infrared and visible images."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import PublishedWeights
from fusionkit_rivals.conventions import Conventions
from fusionkit_rivals.layers import convolution
from fusionkit_rivals.rival import Rival, RivalOptions

__all__ = ["MMDRFuse"]


class MMDRFuse(Rival):
    """Two 3x3 convolutions: ``tanh(conv(ReLU(conv(a, b))))``.

    Reference:
        Deng et al., MMDRFuse: Distilled Mini-Model with Dynamic Refresh for Multi-Modality Image Fusion, ACM MM 2024.
    """

    reference = "Deng et al., MMDRFuse, ACM MM 2024"
    tasks = ("ivif",)
    stretch = "full"
    capabilities = replace(Rival.capabilities, min_size=2, halo=2)
    conventions: ClassVar[Conventions] = Conventions(
        saver="stretch",
        faults=("the old SciPy saver stretches every image to its full range; here that is the option stretch",),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="MMDRFuse",
            source="https://github.com/yanglinDeng/MMDRFuse",
            licence="none stated",
            files=("student.model",),
            sha256=("e5ad5bab796f4480dbbc35a8f6f63e69ba3ccd1842476d2c2453ca1aca6eb17c",),
            parameters=113,
            trained_on=("LLVIP",),
            tasks=("ivif",),
        ),
    )
    names = ((r"conv([12])\.1\.(.*)", r"layer\1.\2"),)

    def __init__(self, config: RivalOptions | None = None) -> None:
        super().__init__(config)
        self.layer1 = convolution(2, 4)
        self.layer2 = convolution(4, 1)

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the network's image of infrared and visible planes."""
        return torch.tanh(self.layer2(F.relu(self.layer1(torch.cat(planes, 1)))))
