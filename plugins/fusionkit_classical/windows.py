"""Box filters and the guided filter, at a cost independent of the window."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fusionkit_classical import opencv
from fusionkit_classical.borders import frame

__all__ = ["box_mean", "box_sum", "guided_filter"]


def _running_sum(image: Tensor, dim: int, radius: int) -> Tensor:
    length = image.shape[dim]
    total = torch.cumsum(image, dim)
    total = torch.cat((torch.zeros_like(total.narrow(dim, 0, 1)), total), dim)
    centre = torch.arange(length, device=image.device)
    last = (centre + radius + 1).clamp(max=length)
    first = (centre - radius).clamp(min=0)
    return total.index_select(dim, last) - total.index_select(dim, first)


def box_sum(image: Tensor, radius: int) -> Tensor:
    """Compute the sum over a square window, cut off at the border.

    Args:
        image: ``(..., H, W)``; float64 for windows of many pixels, since it is a difference of running sums.
        radius: the window is ``2 radius + 1`` pixels wide.

    Returns:
        Same shape.
    """
    if opencv.is_plain(image):
        return opencv.box_sums(image, radius, radius, border="cut")
    return _running_sum(_running_sum(image, -1, radius), -2, radius)


def box_mean(image: Tensor, radius: int, *, border: Literal["cut", "edge"] = "cut") -> Tensor:
    """Compute the mean over a square window.

    Args:
        image: ``(..., H, W)``, float64.
        radius: the window is ``2 radius + 1`` pixels wide.
        border: ``"cut"`` averages over the part of the window that lies inside, ``"edge"`` repeats the border pixels.

    Returns:
        Same shape.
    """
    if border == "cut":
        rows, columns = (_inside(length, radius).to(image) for length in image.shape[-2:])
        return box_sum(image, radius) / (rows[:, None] * columns)
    if opencv.is_plain(image):
        return opencv.box_sums(image, radius, radius, border="edge").div_((2 * radius + 1) ** 2)
    height, width = image.shape[-2:]
    wide = frame(image, radius, border="edge")
    inner = box_sum(wide, radius)[..., radius : radius + height, radius : radius + width]
    return inner / (2 * radius + 1) ** 2


def _inside(length: int, radius: int) -> Tensor:
    """The number of pixels of each window along one axis that lie inside."""
    centre = torch.arange(length)
    return (centre + radius).clamp(max=length - 1) - (centre - radius).clamp(min=0) + 1


def guided_filter(guide: Tensor, image: Tensor, *, radius: int, epsilon: float) -> Tensor:
    """Smooth an image but keep the edges of another one, the guide.

    In each window ``w_k`` the output is a line of the guide, ``q_i = a_k I_i + b_k`` with

        a_k = cov_k(I, p) / (var_k(I) + epsilon),    b_k = mean_k(p) - a_k mean_k(I),

    and every pixel takes the mean of the lines of all windows that hold it. Windows are cut off at the border.

    Args:
        guide: ``(..., H, W)`` in [0, 1], float64.
        image: same shape, the image to smooth.
        radius: of the window, in pixels.
        epsilon: variance of the guide below which an area counts as flat.

    Returns:
        Same shape.

    Source: He, Sun, Tang, "Guided Image Filtering", ECCV 2010, equations 5, 6 and 8.
    """
    mean_guide = box_mean(guide, radius)
    mean_image = box_mean(image, radius)
    covariance = torch.addcmul(box_mean(guide * image, radius), mean_guide, mean_image, value=-1)
    variance = torch.addcmul(box_mean(guide * guide, radius), mean_guide, mean_guide, value=-1)
    slope = covariance / (variance.clamp(min=0) + epsilon)
    offset = torch.addcmul(mean_image, slope, mean_guide, value=-1)
    return torch.addcmul(box_mean(offset, radius), box_mean(slope, radius), guide)
