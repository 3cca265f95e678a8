"""Build any timm network that fits as a feature pyramid of a luminance image."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Mapping, Sequence
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit.errors import UsageError
from fusionkit.runtime.torchvision import load_torchvision

__all__ = ["INSTEAD_OF_SIZES", "SUGGESTED", "Backbone", "group_norm", "load_timm", "network_input"]

SUGGESTED = (
    "pvt_v2_b0",
    "pvt_v2_b1",
    "convnext_atto",
    "convnext_tiny",
    "edgenext_xx_small",
    "edgenext_small",
    "poolformerv2_s12",
    "twins_svt_small",
    "resnet50_gn",
)
"""Backbones of different families that fit, small ones first: for error messages."""

INSTEAD_OF_SIZES = "backbone names a timm model, which has its own sizes"
"""Remedy for options with the sizes of a former network."""

_MULTIPLE = 32
_PROBE = (64, 96)
"""Size at which a backbone is tried: not square, and not the one that it was designed for."""


class Backbone(nn.Module):
    """Features of an image at several strides, by a timm network with one input channel and random weights.

    Nothing is downloaded. The network stays in evaluation mode: as it has no batch statistics, that only switches
    dropout and stochastic depth off. A loss over it is a function of its weights and of the batch alone, so that two
    fusers can be judged by the same loss, and a resumed training takes the same steps.

    Args:
        name: name of a model of :mod:`timm`.
        strides: strides of the features to return, of 4, 8, 16 and 32.

    Raises:
        UsageError: timm is not installed, has no model of this name, or the model does not fit: it has batch
            normalisation, which means little at two images per batch and moves statistics that are not parameters;
            or it takes one image size only; or it has no features at these strides.
    """

    widths: tuple[int, ...]
    """Channels of the features, per stride."""

    def __init__(self, name: str, strides: Sequence[int] = (4, 8, 16, 32)) -> None:
        super().__init__()
        levels = _levels(name)
        self.widths = tuple(levels[stride][1] for stride in strides)
        indices = tuple(levels[stride][0] for stride in strides)
        self.body = load_timm().create_model(
            name, pretrained=False, features_only=True, out_indices=indices, in_chans=1
        )
        self.eval()

    def train(self, mode: bool = True) -> Backbone:
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features ``(B, width, H / stride, W / stride)``, one per stride, of a :func:`network_input`."""
        features: list[Tensor] = self.body(image)
        return features


def network_input(fused: Tensor) -> Tensor:
    """Bring a fused image into the range and to a size that the networks take.

    Args:
        fused: ``(B, 1, H, W)`` in [0, 1].

    Returns:
        The image in [-2, 2], so that photographs have a mean near 0 and a variance near 1, with the last row and
        column repeated until both sides are multiples of 32.
    """
    down, right = (-side % _MULTIPLE for side in fused.shape[2:])
    image = (fused - 0.5) * 4
    return F.pad(image, (0, right, 0, down), mode="replicate") if down or right else image


def group_norm(channels: int) -> nn.GroupNorm:
    """A group normalisation with about eight channels per group: it does not depend on the rest of the batch."""
    return nn.GroupNorm(max(math.gcd(channels, 32) // 4, 1), channels)


def load_timm() -> ModuleType:
    """Import timm, and torchvision before it (see :func:`fusionkit.runtime.torchvision.load_torchvision`).

    Raises:
        UsageError: timm or torchvision is not installed.
    """
    load_torchvision()
    try:
        import timm
    except ImportError as error:
        raise UsageError(
            "downstream networks need timm: install it with pip install 'image-fusionkit[downstream]'"
        ) from error
    return timm


@functools.cache
def _levels(name: str) -> Mapping[int, tuple[int, int]]:
    """Index and channels of a timm network's features, by stride, found without allocating its weights."""
    timm = load_timm()
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"network.backbone={name!r} is not a model of timm: {hint}{_fitting()}")
    try:
        with torch.device("meta"):
            body = timm.create_model(name, pretrained=False, features_only=True, in_chans=1).eval()
            features = body(torch.empty(1, 1, *_PROBE))
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        # Whatever a model raises that has no feature list, or was made for one image size.
        raise UsageError(
            f"network.backbone={name!r} gives no features of images of any size "
            f"({str(error).partition(chr(10))[0]}): {_fitting()}"
        ) from None
    if any(part.endswith(("running_mean", "running_var")) for part, _ in body.named_buffers()):
        raise UsageError(
            f"network.backbone={name!r} has batch normalisation, which small batches cannot train: {_fitting()}"
        )
    levels = {
        stride: (index, width)
        for index, (stride, width, feature) in enumerate(
            zip(body.feature_info.reduction(), body.feature_info.channels(), features, strict=True)
        )
        if tuple(feature.shape[1:]) == (width, _PROBE[0] // stride, _PROBE[1] // stride)
    }
    if not levels.keys() >= {4, 8, 16, 32}:
        found = ", ".join(map(str, levels)) or "none"
        raise UsageError(
            f"network.backbone={name!r} has no features (B, C, H, W) at strides 4, 8, 16 and 32 (found: {found}): "
            f"{_fitting()}"
        )
    return levels


def _fitting() -> str:
    return f"backbones that fit include {', '.join(SUGGESTED)}"
