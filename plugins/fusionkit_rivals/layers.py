"""Layers shared by the published networks."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FixedNorm", "Padding", "convolution", "zeros_or"]

Padding = Literal["zeros", "reflect", "replicate"]


def convolution(
    inputs: int, outputs: int, size: int = 3, *, padding: Padding = "reflect", dilation: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Make a convolution of stride 1 that keeps height and width."""
    border = size // 2 * dilation
    mode = padding if border else "zeros"
    return nn.Conv2d(inputs, outputs, size, padding=border, dilation=dilation, bias=bias, padding_mode=mode)


def zeros_or(published: bool, mended: Padding = "replicate") -> Padding:
    """Choose the padding of a network that was published with zeros, which darken its borders."""
    return "zeros" if published else mended


class FixedNorm(nn.Module):
    """Batch normalisation by the stored statistics, in training too: samples stay independent and nothing is updated.

    Args:
        channels: number of channels.
        eps: added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``(B, C, ...)``."""
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
