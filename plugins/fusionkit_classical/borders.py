"""Extends images past their border, for any length down to one pixel."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Border", "extend", "frame"]

Border = Literal["edge", "symmetric", "reflect"]
"""``edge`` repeats the last pixel (aa|abc|cc), ``symmetric`` mirrors it in (ba|abc|cb), ``reflect`` mirrors
about it (cb|abc|ba)."""


def extend(image: Tensor, dim: int, before: int, after: int, *, border: Border) -> Tensor:
    """Extend a tensor along one dimension.

    Args:
        image: any tensor with at least one entry along ``dim``.
        dim: the dimension to extend.
        before: number of entries to add in front; if it exceeds the length, the mirror repeats.
        after: number of entries to add behind.
        border: rule for the entries outside.

    Returns:
        A copy of ``image``, longer by ``before + after`` along ``dim``.
    """
    length = image.shape[dim]
    index = torch.arange(-before, length + after, device=image.device)
    if border == "edge":
        index = index.clamp(0, length - 1)
    elif border == "symmetric":
        index = index % (2 * length)
        index = torch.where(index < length, index, 2 * length - 1 - index)
    else:
        index = index % max(2 * length - 2, 1)
        index = torch.where(index < length, index, 2 * length - 2 - index)
    # The entries between are the image itself, which is copied faster than gathered.
    parts = [image.index_select(dim, part) for part in (index[:before], index[before + length :])]
    return torch.cat((parts[0], image, parts[1]), dim)


def frame(image: Tensor, radius: int, *, border: Border) -> Tensor:
    """Extend an image ``(..., H, W)`` by ``radius`` pixels on all four sides."""
    return extend(extend(image, -1, radius, radius, border=border), -2, radius, radius, border=border)
