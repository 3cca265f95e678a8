"""Cross bilateral filter fusion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Capabilities
from fusionkit_classical import opencv
from fusionkit_classical.borders import frame
from fusionkit_classical.method import FLOATING, ClassicalFuser, lettered
from fusionkit_classical.options import Positive, Window

__all__ = ["Cbf", "CbfConfig", "cross_bilateral", "edge_strength", "fuse_cbf", "significance"]

_FLOOR = 1e-12
"""Added to both weights: flat areas of both sources are averaged, and rounding does not choose between them."""


@dataclass(frozen=True)
class CbfConfig:
    """Options of :class:`Cbf`.

    Attributes:
        sigma_space: standard deviation of the spatial kernel, in pixels.
        sigma_range: standard deviation of the range kernel, in units of full scale.
        kernel: width of the filter in pixels, odd.
        window: width in pixels of the window that the weights are computed in, odd, 3 or more.
    """

    sigma_space: Positive = 1.8
    sigma_range: Positive = 25 / 255
    kernel: Window = 11
    window: Annotated[Window, Field(ge=3)] = 5


def cross_bilateral(image: Tensor, guide: Tensor, *, sigma_space: float, sigma_range: float, kernel: int) -> Tensor:
    """Smooth an image everywhere except across edges of the guide.

        J(p) = sum_q g_s(|p - q|) g_r(G(p) - G(q)) I(q) / sum_q g_s(|p - q|) g_r(G(p) - G(q))

    Args:
        image: ``(..., H, W)``.
        guide: same shape.
        sigma_space: standard deviation of the Gaussian g_s, in pixels.
        sigma_range: standard deviation of the Gaussian g_r, in the guide's unit.
        kernel: width in pixels of the neighbourhood q runs over, odd.

    Returns:
        Same shape. Pixels at the border are mirrored outwards.
    """
    radius = kernel // 2
    # Float32 is fine enough for differences from the pixel: they are 0 where the image is flat, however small the rest.
    dtype = torch.float32 if opencv.is_plain(image) else image.dtype
    wide_image, wide_guide = (frame(x, radius, border="symmetric").to(dtype) for x in (image, guide))
    return image + _gap(wide_image, wide_guide, sigma_space, sigma_range, radius)


def _gap(image: Tensor, guide: Tensor, sigma_space: float, sigma_range: float, radius: int) -> Tensor:
    """The weighted mean of the differences of all neighbours from each pixel that lies ``radius`` from the border."""
    height, width = image.shape[-2:]
    gap, total = torch.zeros_like(image), torch.ones_like(image)  # the pixel itself weighs 1
    for dy in range(radius + 1):
        for dx in range(-radius if dy else 1, radius + 1):
            # Two pixels weigh the same for each other, and what one adds the other takes off.
            here = (..., slice(0, height - dy), slice(max(-dx, 0), width - max(dx, 0)))
            there = (..., slice(dy, height), slice(max(dx, 0), width - max(-dx, 0)))
            exponent = guide[there] - guide[here]
            exponent.square_().mul_(-0.5 / sigma_range**2).sub_(0.5 * (dy**2 + dx**2) / sigma_space**2)
            weight = exponent.exp_()
            change = weight * (image[there] - image[here])
            total[here] += weight
            total[there] += weight
            gap[here] += change
            gap[there] -= change
    inner = (..., slice(radius, height - radius), slice(radius, width - radius))
    return gap[inner] / total[inner]


def edge_strength(detail: Tensor, *, window: int) -> Tensor:
    """Measure the strength of horizontal and vertical edges around each pixel.

        s(p) = trace cov(X_p) + trace cov(X_p^T)

    where X_p is the window around p and its rows are the observations. The trace is the sum of the eigenvalues that
    the paper takes.

    Args:
        detail: ``(..., H, W)``.
        window: width in pixels, odd, 3 or more.

    Returns:
        Same shape, 0 or more. Pixels at the border are mirrored outwards.
    """
    radius = window // 2
    if opencv.is_plain(detail):
        sums = partial(opencv.box_sums, border="symmetric")
        squares = 2 * sums(detail.square(), radius, radius)
        lines = sums(sums(detail, 0, radius).square(), radius, 0) + sums(sums(detail, radius, 0).square(), 0, radius)
        return torch.sub(squares, lines, alpha=1 / window).clamp_(min=0) / (window - 1)
    wide = frame(detail, radius, border="symmetric")
    strength = torch.zeros_like(detail)
    for dim, other in ((-1, -2), (-2, -1)):
        # The variance along one side of the window, summed over the other side.
        variance = wide.unfold(dim, window, 1).var(-1)
        strength += variance.unfold(other, window, 1).sum(-1)
    return strength


def significance(stack: Tensor, *, sigma_space: float, sigma_range: float, kernel: int, window: int) -> Tensor:
    """Compute the weights of two sources ``(2, B, C, H, W)``: the same shape, above 0, not summing to 1."""
    smooth = cross_bilateral(stack, stack.flip(0), sigma_space=sigma_space, sigma_range=sigma_range, kernel=kernel)
    return edge_strength(stack - smooth, window=window) + _FLOOR


def fuse_cbf(stack: Tensor, *, sigma_space: float, sigma_range: float, kernel: int, window: int) -> Tensor:
    """Fuse a stack of two sources ``(2, B, C, H, W)``; the options are those of the class's Config."""
    weights = significance(stack, sigma_space=sigma_space, sigma_range=sigma_range, kernel=kernel, window=window)
    return (weights * stack).sum(0) / weights.sum(0)


class Cbf(ClassicalFuser):
    """Cross bilateral filter fusion: weights each pixel by the detail that the other source's edges do not explain.

        A_d = A - CBF(A; B),   B_d = B - CBF(B; A),   F = (s(A_d) A + s(B_d) B) / (s(A_d) + s(B_d))

    with s the edge strength around a pixel. Two sources; symmetric in them; of equal sources it returns them.

    Source: Shreyamsha Kumar, "Image Fusion Based on Pixel Significance Using Cross Bilateral Filter", Signal, Image
    and Video Processing 9(5), 2015, with its parameters. It differs from the author's program at the border, which
    is mirrored here.
    """

    Config = CbfConfig
    capabilities = Capabilities(dtypes=FLOATING)
    reference = (
        "Shreyamsha Kumar, Image Fusion Based on Pixel Significance Using Cross Bilateral Filter, "
        "Signal, Image and Video Processing 9(5), 2015"
    )

    def __init__(self, config: CbfConfig | None = None) -> None:
        super().__init__(config)
        halo = self.config.kernel // 2 + self.config.window // 2
        self.capabilities = replace(self.capabilities, halo=halo)

    def weigh(self, stack: Tensor) -> Mapping[str, Tensor]:
        """Compute the weight of the first source."""
        c: CbfConfig = self.config
        weights = significance(
            stack, sigma_space=c.sigma_space, sigma_range=c.sigma_range, kernel=c.kernel, window=c.window
        )
        return lettered("w", weights / weights.sum(0, keepdim=True))

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(2, B, C, H, W)``."""
        c: CbfConfig = self.config
        return fuse_cbf(stack, sigma_space=c.sigma_space, sigma_range=c.sigma_range, kernel=c.kernel, window=c.window)
