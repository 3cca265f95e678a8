"""DenseFuse: an autoencoder whose features are averaged."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit_rivals.conventions import Conventions
from fusionkit_rivals.layers import convolution
from fusionkit_rivals.rival import Rival, RivalOptions

__all__ = ["DenseFuse"]


class DenseFuse(Rival):
    """A dense encoder for each source, the mean of its features, a decoder; symmetric in the sources.

    The published program offers a fusion by attention too, but its network takes the mean in any case.

    Reference:
        Li, Wu, DenseFuse: A Fusion Approach to Infrared and Visible Images, IEEE TIP 28(5), 2019.
    """

    reference = "Li, Wu, DenseFuse, IEEE TIP 2019"
    tasks = ("ivif",)
    capabilities = replace(Rival.capabilities, min_size=2, max_sources=None, halo=8)
    conventions: ClassVar[Conventions] = Conventions(white=255.0, order="any")
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="DenseFuse, grey",
            source="https://github.com/hli1221/densefuse-pytorch",
            licence="none stated",
            files=("densefuse_gray.model",),
            sha256=("b34cf3650f04161b31ac2467decfeedf7eba39165b7618f846e0f298ecd2ac65",),
            parameters=74193,
            trained_on=("MS-COCO",),
            tasks=("ivif",),
        ),
    )
    names = (
        (r"conv1\.conv2d\.(.*)", r"first.\1"),
        (r"DB1\.denseblock\.(\d)\.dense_conv\.conv2d\.(.*)", r"dense.\1.\2"),
        (r"conv2\.conv2d\.(.*)", r"decode.0.\1"),
        (r"conv3\.conv2d\.(.*)", r"decode.1.\1"),
        (r"conv4\.conv2d\.(.*)", r"decode.2.\1"),
        (r"conv5\.conv2d\.(.*)", r"decode.3.\1"),
    )

    def __init__(self, config: RivalOptions | None = None) -> None:
        super().__init__(config)
        self.first = convolution(1, 16)
        self.dense = nn.ModuleList(convolution(16 * k, 16) for k in (1, 2, 3))
        self.decode = nn.ModuleList(convolution(*widths) for widths in ((64, 64), (64, 32), (32, 16), (16, 1)))

    def encode(self, plane: Tensor) -> Tensor:
        """Compute the 64 features ``(B, 64, H, W)`` of a source."""
        features = F.relu(self.first(plane))
        for layer in self.dense:
            features = torch.cat((features, F.relu(layer(features))), 1)
        return features

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the network's image, 0 or more; white is 255."""
        return self.decoded(torch.stack([self.encode(255 * plane) for plane in planes]).mean(0))

    def decoded(self, features: Tensor) -> Tensor:
        """Compute the image ``(B, 1, H, W)`` of features, 0 or more; white is 255."""
        for layer in self.decode:
            features = F.relu(layer(features))
        return features
