"""IFCNN: one network for every task; features of any number of sources are merged by maximum or mean."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit.io.color import luminance
from fusionkit_rivals.conventions import Conventions, chroma_by_distance, join_colour, read_grey, save_levels, to_levels
from fusionkit_rivals.layers import FixedNorm, convolution
from fusionkit_rivals.rival import Rival, RivalOptions

__all__ = ["IFCNN", "IFCNNOptions"]

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class IFCNNOptions(RivalOptions):
    """Options of IFCNN.

    Attributes:
        merge: how the features of the sources are merged; the mean is for exposures.
        normalise: subtract ImageNet's mean and divide by its deviation, as the published program does for focus alone,
            and the authors' published images show for every task.
        colour: fuse RGB, as for focus; otherwise luminance, repeated three times.
        clahe: equalise the result in tiles (CLAHE, clip 2, 8x8), as the published program does for exposures.
    """

    merge: Literal["maximum", "mean"] = "maximum"
    normalise: bool = False
    colour: bool = False
    clahe: bool = False


class Stage(nn.Sequential):
    """Convolution 64 to 64 without bias, normalisation, ReLU."""

    def __init__(self) -> None:
        super().__init__(convolution(64, 64, padding="replicate", bias=False), FixedNorm(64), nn.ReLU())


def equalised(levels: Tensor) -> Tensor:
    """CLAHE (clip 2, 8x8 tiles) of ``(B, 1, H, W)`` levels 0..255."""
    method = cv2.createCLAHE(2.0, (8, 8))
    images = [method.apply(np.ascontiguousarray(each[0].detach().byte().cpu().numpy())) for each in levels]
    return torch.from_numpy(np.stack(images))[:, None].to(levels)


class IFCNN(Rival):
    """7x7 and 3x3 convolutions per source, a merge, two more convolutions; any number of sources, in any order.

    Reference:
        Zhang et al., IFCNN: A General Image Fusion Framework Based on Convolutional Neural Network, Information Fusion
        54, 2020.
    """

    Config = IFCNNOptions
    config: IFCNNOptions
    reference = "Zhang et al., IFCNN, Information Fusion 2020"
    capabilities = replace(Rival.capabilities, max_sources=None, halo=5)
    conventions: ClassVar[Conventions] = Conventions(
        colour="focus: RGB is fused; infrared, medical: RGB in, grey out; exposures: chroma weighted by |C - 128|",
        order="any",
        postprocessing="clahe",
        faults=("a colour visible image comes out grey", "exposures are squeezed to 16..235"),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = tuple(
        PublishedWeights(
            title=title,
            source="https://github.com/uzeful/IFCNN",
            licence="none stated",
            files=(f"{title}.pth",),
            sha256=(digest,),
            parameters=83587,
            trained_on=("NYU-D2",),
            tasks=tasks,
            options=options,
        )
        for title, digest, tasks, options in (
            (
                "IFCNN-MAX",
                "6022b44c88a2f0367ba9b08fcdf0d663745d9a966fca0ee1f41867797b6ff53f",
                ("ivif", "mif"),
                {"merge": "maximum", "normalise": False, "colour": False},
            ),
            (
                "IFCNN-MAX",
                "6022b44c88a2f0367ba9b08fcdf0d663745d9a966fca0ee1f41867797b6ff53f",
                ("mfif",),
                {"merge": "maximum", "normalise": True, "colour": True},
            ),
            (
                "IFCNN-MEAN",
                "fd2ee9361f1d428fc9749e28e8a2c5c5ef6ce6528ab6f5ad8ef5def42e7ffa4b",
                ("meif",),
                {"merge": "mean", "normalise": False, "colour": False},
            ),
        )
    )
    names = (
        (r".*\.num_batches_tracked", ""),
        (r"conv1\.(.*)", r"first.\1"),
        (r"conv2\.conv\.(.*)", r"encode.0.\1"),
        (r"conv2\.bn\.(.*)", r"encode.1.\1"),
        (r"conv3\.conv\.(.*)", r"decode.0.\1"),
        (r"conv3\.bn\.(.*)", r"decode.1.\1"),
        (r"conv4\.(.*)", r"last.\1"),
    )

    def __init__(self, config: IFCNNOptions | None = None) -> None:
        super().__init__(config)
        if self.config.colour:
            self.space = "rgb"
        self.first = convolution(3, 64, 7, padding="replicate", bias=False)
        self.encode, self.decode = Stage(), Stage()
        self.last = nn.Conv2d(64, 3, 1)

    def fuse_rgb(self, *planes: Tensor) -> Tensor:
        """Compute the network's image ``(B, 3, H, W)`` of RGB planes, before any clip."""
        mean, deviation = (planes[0].new_tensor(v).view(1, 3, 1, 1) for v in (_MEAN, _DEVIATION))
        if not self.config.normalise:
            mean, deviation = torch.zeros_like(mean), torch.ones_like(deviation)
        features = torch.stack([self.encode(self.first((plane - mean) / deviation)) for plane in planes])
        merged = features.amax(0) if self.config.merge == "maximum" else features.mean(0)
        return self.last(self.decode(merged)) * deviation + mean

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the network's image before any clip: RGB of RGB planes if ``colour``, else grey."""
        rgb = self.fuse_rgb(*(plane.expand(-1, 3, -1, -1) for plane in planes))
        return rgb if self.config.colour else luminance(rgb)

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse sources ``(B, C, H, W)`` in [0, 1]."""
        fused = super().forward(*sources)
        if not self.config.clahe or self.config.published:
            return fused
        channels = [equalised(to_levels(fused[:, k : k + 1])) for k in range(fused.shape[1])]
        return torch.cat(channels, 1) / 255

    def planes(self, *sources: Tensor) -> tuple[Tensor, ...]:
        """Convert sources to what the network takes: RGB or, with the mean, their luminance."""
        return sources if self.config.merge == "maximum" else tuple(read_ycbcr(source)[:, :1] for source in sources)

    def render(self, *sources: Tensor) -> Tensor:
        """Compute the file that the authors' program saves."""
        levels = save_levels(self.fuse_rgb(*(p.expand(-1, 3, -1, -1) for p in self.planes(*sources))), "truncate")
        if self.config.colour:
            return levels
        grey = (255 * read_grey(levels / 255, "opencv")).round()
        if self.config.merge == "maximum":
            return grey.expand(-1, 3, -1, -1)
        grey = (grey / 255 * 219 + 16).floor()
        y = equalised(grey) if self.config.clahe else grey
        chroma = [255 * read_ycbcr(source)[:, 1:] for source in sources]
        return join_colour(y, chroma_by_distance(chroma, 128).floor() - 128).round().clamp(0, 255)


def read_ycbcr(image: Tensor) -> Tensor:
    """Convert 8-bit RGB ``(1, 3, H, W)`` in [0, 1] to PIL's YCbCr, in [0, 1]."""
    levels = to_levels(image)[0].byte().permute(1, 2, 0).cpu().numpy()
    converted = np.asarray(Image.fromarray(levels).convert("YCbCr"))
    return torch.from_numpy(converted.copy()).permute(2, 0, 1)[None].to(image) / 255
