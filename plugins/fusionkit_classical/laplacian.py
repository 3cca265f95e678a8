"""Fusion in the Laplacian pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from fusionkit_classical.method import StreamingFuser
from fusionkit_classical.options import Levels, Window
from fusionkit_classical.pyramid import expand, gaussian_pyramid, pyramid_depth, pyramid_halo, split
from fusionkit_classical.selection import Selection, select_largest

__all__ = ["Laplacian", "LaplacianConfig", "fuse_laplacian", "stream_laplacian"]


@dataclass(frozen=True)
class LaplacianConfig:
    """Options of :class:`Laplacian`.

    Attributes:
        levels: halvings; fewer where the image is too small for them.
        window: width of the activity window in coefficients, odd; 1 compares coefficients alone.
        consistent: outvote lone choices by the majority of the window.
        base: how the coarsest level is fused.
    """

    levels: Levels = 4
    window: Window = 3
    consistent: bool = True
    base: Literal["average", "maximum"] = "average"


def fuse_laplacian(
    stack: Tensor, *, levels: int, window: int, consistent: bool, base: Literal["average", "maximum"]
) -> Tensor:
    """Fuse a stack ``(S, B, C, H, W)`` in the Laplacian pyramid; the options are those of the class's Config."""
    depth = pyramid_depth(stack.shape[-2:], levels)
    pyramid = gaussian_pyramid(stack, depth)
    fused = pyramid[-1].mean(0) if base == "average" else pyramid[-1].amax(0)
    for fine, coarse in zip(reversed(pyramid[:-1]), reversed(pyramid[1:]), strict=True):
        size = fine.shape[-2:]
        detail = fine - expand(coarse, *size)
        fused = expand(fused, *size) + select_largest(detail, window=window, consistent=consistent)
    return fused


def stream_laplacian(
    sources: Sequence[Tensor], *, levels: int, window: int, consistent: bool, base: Literal["average", "maximum"]
) -> Tensor:
    """Fuse sources ``(B, C, H, W)`` that are looked up twice each: :func:`fuse_laplacian` of one source at a time."""
    choices: list[Selection] = []
    sizes: list[tuple[int, int]] = []
    fused = torch.empty(0)
    for k in range(len(sources)):
        fine = sources[k]
        for level in range(pyramid_depth(fine.shape[-2:], levels)):
            if k == 0:
                choices.append(Selection(window=window, consistent=consistent))
                sizes.append((fine.shape[-2], fine.shape[-1]))
            detail, fine = split(fine)
            choices[level].rank(detail)
        if k == 0:
            fused = fine.clone()
        elif base == "average":
            fused += fine
        else:
            torch.maximum(fused, fine, out=fused)
    for k in range(len(sources)):
        fine = sources[k]
        for choice in choices:
            detail, fine = split(fine)
            choice.add(detail)
    if base == "average":
        fused /= len(sources)
    while choices:
        fused = expand(fused, *sizes.pop()).add_(choices.pop().value())
    return fused


class Laplacian(StreamingFuser):
    """Laplacian-pyramid fusion: takes the strongest band-pass detail of any source at every scale.

        L_l = G_l - expand(G_{l+1}),    F_N = mean_s G_{N,s},    F_l = expand(F_{l+1}) + L_{l,s*(p)}

    with s* the source whose |L_l| is greatest around p. Symmetric in the sources; of equal sources it returns them.

    Source: Burt, Adelson, "The Laplacian Pyramid as a Compact Image Code", IEEE Trans. Communications 31(4), 1983
    (pyramid); Li, Manjunath, Mitra, GMIP 57(3), 1995 (choice in a 3x3 window with consistency verification, four
    levels and an averaged base: the settings of Liu, Liu, Wang, Information Fusion 24, 2015). ``window = 1`` is
    Burt's own choice of the larger coefficient.
    """

    Config = LaplacianConfig
    reference = "Burt, Adelson, The Laplacian Pyramid as a Compact Image Code, IEEE Trans. Communications 31(4), 1983"

    def __init__(self, config: LaplacianConfig | None = None) -> None:
        super().__init__(config)
        c: LaplacianConfig = self.config
        self.capabilities = replace(self.capabilities, halo=pyramid_halo(c.levels, c.window), grid=2**c.levels)

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        c: LaplacianConfig = self.config
        return fuse_laplacian(stack, levels=c.levels, window=c.window, consistent=c.consistent, base=c.base)

    def stream(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse sources ``(B, C, H, W)`` one at a time."""
        c: LaplacianConfig = self.config
        return stream_laplacian(sources, levels=c.levels, window=c.window, consistent=c.consistent, base=c.base)
