"""Network inputs of F and P: the image, its Sobel gradient, its share of the gradients' energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit_restormer.losses import image_gradient

__all__ = ["CHANNELS", "REACH", "Inputs", "network_inputs", "shares"]

Inputs = Literal["image", "image+gradient", "image+gradient+share"]

CHANNELS: dict[Inputs, int] = {"image": 1, "image+gradient": 3, "image+gradient+share": 5}
"""Channels that a network sees of each source."""

REACH: dict[Inputs, int] = {"image": 0, "image+gradient": 1, "image+gradient+share": 3}
"""Radius in pixels of what an input pixel depends on: 1 for the Sobel kernels, 2 more for the window of 5x5."""

_FAINT = 1e-5
"""Energy below which a gradient is taken for none: that of a Sobel response to less than one of 255 grey levels."""


def shares(slopes: Sequence[Tensor]) -> list[Tensor]:
    """Each source's share of the gradients' energy at a pixel, and in the 5x5 pixels around it.

    Responses of a dark or smooth place can be a hundredth of those at an edge, and are lost on a small network.

    Args:
        slopes: the Sobel responses of each source, ``(B, 2, H, W)``.

    Returns:
        For each source ``(B, 2, H, W)``: its part of the energy of all, less 1/2, at the pixel and about it.
    """
    energies = [slope.square().sum(1, keepdim=True) for slope in slopes]
    energies = [torch.cat((e, F.avg_pool2d(e, 5, 1, 2, count_include_pad=False)), 1) for e in energies]
    whole = torch.stack(energies).sum(0) + _FAINT
    return [energy / whole - 0.5 for energy in energies]


def network_inputs(kind: Inputs, sources: Sequence[Tensor]) -> list[Tensor]:
    """Build the inputs of a network for each source.

    Args:
        kind: ``"image"``, the source itself; ``"image+gradient"``, its two signed Sobel responses behind it;
            ``"image+gradient+share"``, its two :func:`shares` behind those.
        sources: ``(B, 1, H, W)`` each, in [0, 1].

    Returns:
        For each source ``(B, C, H, W)``, C by :data:`CHANNELS`.
    """
    if kind == "image":
        return list(sources)
    slopes = [image_gradient(source, "signed") for source in sources]
    parts = [list(sources), slopes]
    if kind == "image+gradient+share":
        parts.append(shares(slopes))
    return [torch.cat(of_source, 1) for of_source in zip(*parts, strict=True)]
