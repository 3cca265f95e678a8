"""Fusion in the ratio-of-low-pass pyramid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from fusionkit_classical.method import ClassicalFuser
from fusionkit_classical.options import Levels, Positive, Window
from fusionkit_classical.pyramid import expand, gaussian_pyramid, pyramid_depth, pyramid_halo
from fusionkit_classical.selection import select_largest

__all__ = ["Rolp", "RolpConfig", "fuse_rolp"]


@dataclass(frozen=True)
class RolpConfig:
    """Options of :class:`Rolp`.

    Attributes:
        levels: halvings; fewer where the image is too small for them.
        window: width of the activity window in coefficients, odd; 1 compares coefficients alone.
        consistent: outvote lone choices by the majority of the window.
        contrast: how a ratio R is ranked: ``"weber"`` by |R - 1| (the paper), ``"log"`` by |log R|, which ranks
            half as dark and twice as bright alike.
        offset: added to the sources and taken off the result, in units of full scale: bounds the ratios in the dark.
    """

    levels: Levels = 4
    window: Window = 3
    consistent: bool = True
    contrast: Literal["weber", "log"] = "weber"
    offset: Positive = 1 / 255


def fuse_rolp(
    stack: Tensor, *, levels: int, window: int, consistent: bool, contrast: Literal["weber", "log"], offset: float
) -> Tensor:
    """Fuse a stack ``(S, B, C, H, W)`` in the ratio pyramid; the options are those of the class's Config."""
    depth = pyramid_depth(stack.shape[-2:], levels)
    pyramid = gaussian_pyramid(stack + offset, depth)
    fused = pyramid[-1].mean(0)
    for fine, coarse in zip(reversed(pyramid[:-1]), reversed(pyramid[1:]), strict=True):
        size = fine.shape[-2:]
        ratio = fine / expand(coarse, *size)
        rank = (ratio - 1).abs() if contrast == "weber" else ratio.log().abs()
        fused = expand(fused, *size) * select_largest(ratio, window=window, consistent=consistent, rank=rank)
    return fused - offset


class Rolp(ClassicalFuser):
    """Ratio-of-low-pass-pyramid fusion: takes the strongest local contrast of any source at every scale.

        R_l = (G_l + c) / (expand(G_{l+1}) + c),    F_N = mean_s G_{N,s} + c,    F_l = expand(F_{l+1}) R_{l,s*(p)}

    with s* the source whose contrast |R_l - 1| is greatest around p; ``c`` comes off at the end. Symmetric in the
    sources; of equal sources it returns them.

    Source: Toet, "Image Fusion by a Ratio of Low-Pass Pyramid", Pattern Recognition Letters 9(4), 1989. It differs in
    the offset c (one grey level of 8 bits: without it black areas have no ratio) and, as in the toolboxes that made
    it a baseline, in the 3x3 window with consistency verification and the averaged base.
    """

    Config = RolpConfig
    reference = "Toet, Image Fusion by a Ratio of Low-Pass Pyramid, Pattern Recognition Letters 9(4), 1989"

    def __init__(self, config: RolpConfig | None = None) -> None:
        super().__init__(config)
        c: RolpConfig = self.config
        self.capabilities = replace(self.capabilities, halo=pyramid_halo(c.levels, c.window), grid=2**c.levels)

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        c: RolpConfig = self.config
        return fuse_rolp(
            stack, levels=c.levels, window=c.window, consistent=c.consistent, contrast=c.contrast, offset=c.offset
        )
