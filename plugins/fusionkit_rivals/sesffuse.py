"""SESF-Fuse: a mask of where the first source is in focus, from the gradients of learned features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from skimage.morphology import closing, opening
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit.io.color import luminance
from fusionkit_rivals.conventions import Conventions, to_levels
from fusionkit_rivals.layers import FixedNorm, Padding, convolution, zeros_or
from fusionkit_rivals.rival import Rival, RivalOptions, is_grey

__all__ = ["SESFFuse"]

_MEAN, _DEVIATION = 0.4500517361627943, 0.26465333914691797
_GREY = (0.2125, 0.7154, 0.0721)
_RADIUS, _EPS = 4, 0.1
_DISK = np.hypot(*np.mgrid[-5:6, -5:6]) <= 5


class Stage(nn.Module):
    """Convolution, ReLU, normalisation, and gates of the channels from their means (squeeze and excitation)."""

    def __init__(self, inputs: int, padding: Padding) -> None:
        super().__init__()
        self.layer = convolution(inputs, 16, padding=padding)
        self.norm = FixedNorm(16)
        self.gate = nn.Sequential(nn.Linear(16, 2, bias=False), nn.ReLU(), nn.Linear(2, 16, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Compute ``(B, 16, H, W)``."""
        y = self.norm(F.relu(self.layer(x)))
        return y * self.gate(y.mean((2, 3)))[:, :, None, None]


def box_mean(x: Tensor, radius: int) -> Tensor:
    """Mean over the part of a square window that lies inside the image."""
    size = 2 * radius + 1
    return F.avg_pool2d(x, size, 1, radius, count_include_pad=False)


def cleaned(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Open and close a mask ``(H, W)`` by a disk of radius 5; drop regions and fill holes below 1 % of the image."""
    least = 0.01 * mask.size
    mask = _without_small(opening(mask, _DISK), least)
    return ~_without_small(~closing(mask, _DISK), least)


def _without_small(mask: NDArray[np.bool_], least: float) -> NDArray[np.bool_]:
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    kept = sizes >= least
    kept[0] = False
    return kept[labels]


class SESFFuse(Rival):
    """Encoder with squeeze and excitation; where its features change more, a source is in focus.

    The mask is not differentiable, so nothing here is trained. The published decoder takes no part in fusing.

    Reference:
        Ma et al., SESF-Fuse: An Unsupervised Deep Model for Multi-Focus Image Fusion, Neural Computing and
        Applications, 2020.
    """

    space = "rgb"
    reference = "Ma et al., SESF-Fuse, Neural Computing and Applications 2020"
    tasks = ("mfif",)
    capabilities = replace(Rival.capabilities, min_size=2)
    conventions: ClassVar[Conventions] = Conventions(
        white=255.0,
        reader="float",
        colour="one mask for RGB",
        order="any",
        whole_image="means of the channels, sizes of the regions",
        faults=(
            "the guided filter sums over the colour channels without their covariance, so that the mask leaves 0..1",
            "zeros pad the encoder and its gradients",
        ),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(
            title="SESF-Fuse",
            source="https://github.com/Keep-Passion/SESF-Fuse",
            licence="LGPL-2.1",
            files=("lp+lssim_se_sf_net_times30.pkl",),
            sha256=("8758fcab88f19f673e31c9a8d1dc60e67f5b655572462ea099c49248b36fdaa3",),
            parameters=74803,
            trained_on=("MS-COCO",),
            tasks=("mfif",),
        ),
    )
    names = (
        (r".*\.num_batches_tracked", ""),
        (r"conv_decode_.*", ""),
        (r"features\.0\.(.*)", r"stages.0.layer.\1"),
        (r"features\.2\.(.*)", r"stages.0.norm.\1"),
        (r"conv_encode_(\d)\.0\.(.*)", r"stages.\1.layer.\2"),
        (r"conv_encode_(\d)\.2\.(.*)", r"stages.\1.norm.\2"),
        (r"se_f\.fc\.(.*)", r"stages.0.gate.\1"),
        (r"se_(\d)\.fc\.(.*)", r"stages.\1.gate.\2"),
    )

    def __init__(self, config: RivalOptions | None = None) -> None:
        super().__init__(config)
        padding = zeros_or(self.config.published)
        self.stages = nn.ModuleList(Stage(inputs, padding) for inputs in (1, 16, 32, 48))
        self.requires_grad_(False)

    def activity(self, grey: Tensor) -> Tensor:
        """Sum of squared differences of the features to the left and the upper neighbour, in 11x11 windows."""
        x = self.stages[0]((grey - _MEAN) / _DEVIATION)
        for stage in self.stages[1:]:
            x = torch.cat((x, stage(x)), 1)
        framed = F.pad(x, (1, 0, 1, 0)) if self.config.published else F.pad(x, (1, 0, 1, 0), mode="replicate")
        across, down = x - framed[..., 1:, :-1], x - framed[..., :-1, 1:]
        return F.avg_pool2d(across.square() + down.square(), 11, 1, 5).sum(1, keepdim=True) * 121

    def hard_mask(self, *planes: Tensor) -> Tensor:
        """Mask ``(B, 1, H, W)`` of 0 and 1: where the first of two grey planes is in focus."""
        first, second = (self.activity(plane) for plane in planes)
        masks = [cleaned(np.asarray(each[0].cpu())) for each in first > second]
        return torch.from_numpy(np.stack(masks))[:, None].to(planes[0])

    def planes(self, *sources: Tensor) -> tuple[Tensor, ...]:
        """Convert sources to RGB levels 0..255 in [0, 1]."""
        return sources

    def soft_mask(self, *sources: Tensor) -> Tensor:
        """Mask ``(B, 1, H, W)`` after the guided filter, whose guide is the fusion by the hard mask."""
        if self.config.published:
            grey = [_scikit_grey(source) for source in sources]
        else:
            grey = [luminance(source) for source in sources]
        hard = self.hard_mask(*grey)
        guide = 255 * (hard * sources[0] + (1 - hard) * sources[1])
        guide = guide if self.config.published and not is_grey(guide) else luminance(guide)
        mean, of_mask = box_mean(guide, _RADIUS), box_mean(hard, _RADIUS)
        variance = box_mean(guide * guide, _RADIUS) - mean * mean
        slope = (box_mean(guide * hard, _RADIUS) - mean * of_mask) / (variance + _EPS)
        offset = of_mask - (slope * mean).sum(1, keepdim=True)
        soft = (box_mean(slope, _RADIUS) * guide).sum(1, keepdim=True) + box_mean(offset, _RADIUS)
        return soft if self.config.published else soft.clamp(0, 1)

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the fused RGB image; white is 255."""
        soft = self.soft_mask(*planes)
        first, second = (to_levels(plane) if self.config.published else 255 * plane for plane in planes)
        return soft * first + (1 - soft) * second

    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        """The share of the first source."""
        return {"w_a": self.soft_mask(*sources).clamp(0, 1)}


def _scikit_grey(image: Tensor) -> Tensor:
    """Grey of scikit-image: 0.2125 R + 0.7154 G + 0.0721 B; grey images stay as they are."""
    if is_grey(image):
        return image[:, :1]
    weights = image.new_tensor(_GREY).view(1, 3, 1, 1)
    return (image * weights).sum(1, keepdim=True)
