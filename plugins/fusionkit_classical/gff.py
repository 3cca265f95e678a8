"""Guided filtering fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fusionkit_classical import opencv
from fusionkit_classical.borders import frame
from fusionkit_classical.method import StreamingFuser, lettered
from fusionkit_classical.options import Positive, Radius, Window
from fusionkit_classical.selection import leaders, least_of_leaders, shares
from fusionkit_classical.windows import box_mean, guided_filter

__all__ = ["Gff", "GffConfig", "fuse_gff", "guided_weights", "laplacian_saliency", "stream_gff"]


@dataclass(frozen=True)
class GffConfig:
    """Options of :class:`Gff`.

    Attributes:
        base_window: width in pixels of the mean filter that splits base from detail, odd.
        saliency_window: width in pixels of the Gaussian that smooths the saliency, odd.
        saliency_sigma: its standard deviation, in pixels.
        base_radius: window radius of the guided filter on the base's weights, in pixels.
        base_epsilon: its epsilon, a variance of images in [0, 1].
        detail_radius: the same for the detail's weights.
        detail_epsilon: the same for the detail's weights.
    """

    base_window: Window = 31
    saliency_window: Window = 11
    saliency_sigma: Positive = 5.0
    base_radius: Radius = 45
    base_epsilon: Positive = 0.3
    detail_radius: Radius = 7
    detail_epsilon: Positive = 1e-6


def laplacian_saliency(image: Tensor, *, window: int, sigma: float) -> Tensor:
    """Measure the local strength of detail, ``S = |I * L| * g`` with the 4-neighbour Laplacian L and a Gaussian g.

    Args:
        image: ``(..., C, H, W)``, float64.
        window: width of the Gaussian, odd.
        sigma: its standard deviation, in pixels.

    Returns:
        Same shape, 0 or more. Border pixels are repeated outwards.
    """
    if opencv.is_plain(image):
        return opencv.blurred(opencv.laplacian(image, border="edge").abs_(), window, sigma)
    wide = frame(image, 1, border="edge")
    rows, columns = wide[..., 1:-1], wide[..., 1:-1, :]
    laplacian = rows[..., :-2, :] + rows[..., 2:, :] + columns[..., :-2] + columns[..., 2:] - 4 * image
    strength = laplacian.abs()
    from kornia.filters import gaussian_blur2d

    flat = strength.reshape(-1, 1, *strength.shape[-2:])
    return gaussian_blur2d(flat, (window, window), (sigma, sigma), "replicate").reshape(strength.shape)


def _weights(stack: Tensor, marked: Tensor, *, radius: int, epsilon: float) -> Tensor:
    smooth = _smooth(stack, shares(marked, stack), radius=radius, epsilon=epsilon)
    return smooth / smooth.sum(0, keepdim=True)


def _smooth(image: Tensor, share: Tensor, *, radius: int, epsilon: float) -> Tensor:
    return guided_filter(image, share, radius=radius, epsilon=epsilon).clamp_(0, 1).add_(1e-12)


def guided_weights(
    stack: Tensor,
    *,
    saliency_window: int,
    saliency_sigma: float,
    base_radius: int,
    base_epsilon: float,
    detail_radius: int,
    detail_epsilon: float,
) -> tuple[Tensor, Tensor]:
    """Compute the weights of base and detail of a stack ``(S, B, C, H, W)``; of its shape, each sums to 1 over S."""
    marked = leaders(laplacian_saliency(stack, window=saliency_window, sigma=saliency_sigma))
    of_base = _weights(stack, marked, radius=base_radius, epsilon=base_epsilon)
    return of_base, _weights(stack, marked, radius=detail_radius, epsilon=detail_epsilon)


def fuse_gff(
    stack: Tensor,
    *,
    base_window: int,
    saliency_window: int,
    saliency_sigma: float,
    base_radius: int,
    base_epsilon: float,
    detail_radius: int,
    detail_epsilon: float,
) -> Tensor:
    """Fuse a stack ``(S, B, C, H, W)`` by guided filtering; the options are those of the class's Config."""
    base = box_mean(stack, base_window // 2, border="edge")
    of_base, of_detail = guided_weights(
        stack,
        saliency_window=saliency_window,
        saliency_sigma=saliency_sigma,
        base_radius=base_radius,
        base_epsilon=base_epsilon,
        detail_radius=detail_radius,
        detail_epsilon=detail_epsilon,
    )
    return (of_base * base + of_detail * (stack - base)).sum(0)


def stream_gff(
    sources: Sequence[Tensor],
    *,
    base_window: int,
    saliency_window: int,
    saliency_sigma: float,
    base_radius: int,
    base_epsilon: float,
    detail_radius: int,
    detail_epsilon: float,
) -> Tensor:
    """Fuse sources ``(B, C, H, W)`` that are looked up twice each: :func:`fuse_gff` of one source at a time."""
    best, number = torch.empty(0), torch.empty(0)
    for k in range(len(sources)):
        saliency = laplacian_saliency(sources[k], window=saliency_window, sigma=saliency_sigma)
        if k == 0:
            best, number = saliency, torch.ones_like(saliency)
        else:
            both = torch.maximum(best, saliency)
            least = least_of_leaders(both)
            number = number * (best >= least) + (saliency >= least)
            best = both
    least = least_of_leaders(best)
    parts = {"base": (base_radius, base_epsilon), "detail": (detail_radius, detail_epsilon)}
    sums = {name: torch.zeros_like(best) for name in parts}
    totals = {name: torch.zeros_like(best) for name in parts}
    for k in range(len(sources)):
        image = sources[k]
        base = box_mean(image, base_window // 2, border="edge")
        share = (laplacian_saliency(image, window=saliency_window, sigma=saliency_sigma) >= least) / number
        for name, (radius, epsilon) in parts.items():
            weight = _smooth(image, share, radius=radius, epsilon=epsilon)
            totals[name] += weight
            sums[name].addcmul_(weight, base if name == "base" else image - base)
    return sums["base"] / totals["base"] + sums["detail"] / totals["detail"]


class Gff(StreamingFuser):
    """Guided filtering fusion: prefers the sharper source, with weights aligned to edges by the guided filter.

        B_n = I_n * Z,   D_n = I_n - B_n,   S_n = |I_n * L| * g,   P_n = 1 where S_n is the greatest, else 0
        W^B_n = GF(P_n; I_n, r1, eps1),   W^D_n = GF(P_n; I_n, r2, eps2),   F = sum_n W^B_n B_n + W^D_n D_n

    Weights are clipped to [0, 1] and sum to 1 over the sources. Symmetric in the sources; of equal sources it returns
    them.

    Source: Li, Kang, Hu, "Image Fusion with Guided Filtering", IEEE Trans. Image Processing 22(7), 2013, section III,
    with the parameters of section IV. It differs from the authors' program in that weights are not rounded to 8 bits
    and that sources of equal saliency share a pixel in place of the first taking it.
    """

    Config = GffConfig
    reference = "Li, Kang, Hu, Image Fusion with Guided Filtering, IEEE Trans. Image Processing 22(7), 2013"

    def __init__(self, config: GffConfig | None = None) -> None:
        super().__init__(config)
        c: GffConfig = self.config
        weights = 2 * max(c.base_radius, c.detail_radius) + 1 + c.saliency_window // 2
        self.capabilities = replace(self.capabilities, halo=max(weights, c.base_window // 2))

    def weigh(self, stack: Tensor) -> Mapping[str, Tensor]:
        """Compute W^B and W^D."""
        c: GffConfig = self.config
        of_base, of_detail = guided_weights(
            stack,
            saliency_window=c.saliency_window,
            saliency_sigma=c.saliency_sigma,
            base_radius=c.base_radius,
            base_epsilon=c.base_epsilon,
            detail_radius=c.detail_radius,
            detail_epsilon=c.detail_epsilon,
        )
        return {**lettered("base", of_base), **lettered("detail", of_detail)}

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        c: GffConfig = self.config
        return fuse_gff(
            stack,
            base_window=c.base_window,
            saliency_window=c.saliency_window,
            saliency_sigma=c.saliency_sigma,
            base_radius=c.base_radius,
            base_epsilon=c.base_epsilon,
            detail_radius=c.detail_radius,
            detail_epsilon=c.detail_epsilon,
        )

    def stream(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse sources ``(B, C, H, W)`` one at a time."""
        c: GffConfig = self.config
        return stream_gff(
            sources,
            base_window=c.base_window,
            saliency_window=c.saliency_window,
            saliency_sigma=c.saliency_sigma,
            base_radius=c.base_radius,
            base_epsilon=c.base_epsilon,
            detail_radius=c.detail_radius,
            detail_epsilon=c.detail_epsilon,
        )
