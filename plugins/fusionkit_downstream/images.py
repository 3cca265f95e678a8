"""How a network takes a luminance image: its range, its least size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

__all__ = ["centred", "padded"]


def centred(image: Tensor) -> Tensor:
    """``[0, 1]`` to ``[-2, 2]``: about zero mean and unit variance for photographs, whatever the method's contrast."""
    return (image - 0.5) * 4


def padded(image: Tensor, *, least: int = 1, multiple: int = 1) -> Tensor:
    """Repeat the last row and column until both sides are at least ``least`` and multiples of ``multiple``.

    Args:
        image: ``(B, C, H, W)``.
        least: shortest side that the network takes.
        multiple: what sides must divide by.
    """
    down, right = (-(-max(side, least) // multiple) * multiple - side for side in image.shape[2:])
    return F.pad(image, (0, right, 0, down), mode="replicate") if down or right else image
