"""Fusion in the dual-tree complex wavelet transform."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from fusionkit_classical.complexfilters import QSHIFT_FILTERS, FirstFilter, QshiftFilter
from fusionkit_classical.complexwavelet import ComplexPyramid, forward, inverse
from fusionkit_classical.method import ClassicalFuser
from fusionkit_classical.options import Levels, Window
from fusionkit_classical.pyramid import pyramid_depth
from fusionkit_classical.selection import select_largest

__all__ = ["Dtcwt", "DtcwtConfig", "fuse_dtcwt"]


@dataclass(frozen=True)
class DtcwtConfig:
    """Options of :class:`Dtcwt`.

    Attributes:
        levels: halvings; fewer where the image is too small for them.
        window: width of the activity window in coefficients, odd; 1 compares coefficients alone.
        consistent: outvote lone choices by the majority of the window.
        first: filters of level 1: ``"legall"`` (5, 3) or ``"near-sym-a"`` (5, 7).
        qshift: q-shift filters of the levels above it, by their taps that are not 0: ``"6"`` or ``"14"``.
    """

    levels: Levels = 4
    window: Window = 3
    consistent: bool = True
    first: FirstFilter = "legall"
    qshift: QshiftFilter = "6"


def fuse_dtcwt(
    stack: Tensor, *, levels: int, window: int, consistent: bool, first: FirstFilter, qshift: QshiftFilter
) -> Tensor:
    """Fuse a stack ``(S, B, C, H, W)`` in the complex wavelets; the options are those of the class's Config."""
    depth = pyramid_depth(stack.shape[-2:], levels)
    pyramid = forward(stack, depth, first=first, qshift=qshift)
    details = []
    for bands in pyramid.details:
        chosen = select_largest(bands.flatten(2, 3), window=window, consistent=consistent)
        details.append(chosen.reshape(bands.shape[1:]))
    fused = ComplexPyramid(pyramid.base.mean(0), tuple(details), pyramid.sizes)
    return inverse(fused, first=first, qshift=qshift)


class Dtcwt(ClassicalFuser):
    """Dual-tree complex wavelet fusion: takes the strongest complex coefficient of any source in six directions.

        F = W^-1 { mean_s A_s ; D_{k,s*(p)} for every band k },    (A_s, D_{k,s}) = W I_s

    with s* the source whose |D_k| is greatest around p. The magnitude of a complex coefficient hardly moves when the
    image shifts, so choices do not flicker along edges as they do in ``dwt``. Symmetric in the sources; of equal
    sources it returns them.

    Source: Lewis, O'Callaghan, Nikolov, Bull, Canagarajah, "Pixel- and Region-Based Image Fusion with Complex
    Wavelets", Information Fusion 8(2), 2007 (pixel-based rule); Kingsbury 2001 (transform). Filters, four levels and
    the 3x3 window with consistency verification as in Liu, Liu, Wang, Information Fusion 24, 2015.
    """

    Config = DtcwtConfig
    reference = (
        "Lewis et al., Pixel- and Region-Based Image Fusion with Complex Wavelets, Information Fusion 8(2), 2007"
    )

    def __init__(self, config: DtcwtConfig | None = None) -> None:
        super().__init__(config)
        c: DtcwtConfig = self.config
        halo = 2**c.levels * (len(QSHIFT_FILTERS[c.qshift]) + c.window)
        self.capabilities = replace(self.capabilities, halo=halo, grid=2**c.levels)

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        c: DtcwtConfig = self.config
        return fuse_dtcwt(
            stack, levels=c.levels, window=c.window, consistent=c.consistent, first=c.first, qshift=c.qshift
        )
