"""Fusion in the discrete wavelet transform."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import pywt
import torch
from pydantic import AfterValidator
from torch import Tensor

from fusionkit.errors import did_you_mean
from fusionkit_classical.method import ClassicalFuser
from fusionkit_classical.options import Levels, Window
from fusionkit_classical.selection import select_largest

__all__ = ["Dwt", "DwtConfig", "fuse_dwt"]


def _discrete(wavelet: str) -> str:
    names = pywt.wavelist(kind="discrete")
    if wavelet not in names:
        raise ValueError(did_you_mean(wavelet, names))
    return wavelet


@dataclass(frozen=True)
class DwtConfig:
    """Options of :class:`Dwt`.

    Attributes:
        wavelet: name of a discrete wavelet of PyWavelets.
        levels: halvings; fewer where the image is too small for them.
        window: width of the activity window in coefficients, odd; 1 compares coefficients alone.
        consistent: outvote lone choices by the majority of the window.
    """

    wavelet: Annotated[str, AfterValidator(_discrete)] = "bior2.2"
    levels: Levels = 4
    window: Window = 3
    consistent: bool = True


def fuse_dwt(stack: Tensor, *, wavelet: str, levels: int, window: int, consistent: bool) -> Tensor:
    """Fuse a stack ``(S, B, C, H, W)`` in the wavelet transform; the options are those of the class's Config."""
    height, width = stack.shape[-2:]
    depth = min(levels, pywt.dwtn_max_level((height, width), wavelet))
    array = stack.detach().cpu().numpy()
    base, *details = pywt.wavedec2(array, wavelet, mode="symmetric", level=depth, axes=(-2, -1))
    fused = [base.mean(0)]
    for bands in details:
        chosen = (select_largest(torch.from_numpy(b), window=window, consistent=consistent) for b in bands)
        fused.append(tuple(c.numpy() for c in chosen))
    image = pywt.waverec2(fused, wavelet, mode="symmetric", axes=(-2, -1))
    return torch.from_numpy(image[..., :height, :width]).to(stack.device)


class Dwt(ClassicalFuser):
    """Wavelet fusion: takes the strongest wavelet coefficient of any source in every band.

        F = W^-1 { mean_s A_s ; D_{k,s*(p)} for every band k },    (A_s, D_{k,s}) = W I_s

    with s* the source whose |D_k| is greatest around p. Symmetric in the sources; of equal sources it returns them.
    The decimated transform is not shift-invariant, so edges may ring; see ``dtcwt``. Not differentiable.

    Source: Li, Manjunath, Mitra, "Multisensor Image Fusion Using the Wavelet Transform", GMIP 57(3), 1995: their
    choice in a window with consistency verification. The wavelet is the symmetric spline (2, 2) of Rockinger's
    toolbox in place of a Daubechies, and the border is mirrored.
    """

    Config = DwtConfig
    reference = "Li, Manjunath, Mitra, Multisensor Image Fusion Using the Wavelet Transform, GMIP 57(3), 1995"

    def __init__(self, config: DwtConfig | None = None) -> None:
        super().__init__(config)
        c: DwtConfig = self.config
        # A coefficient of the coarsest level comes from, and acts on, at most taps x 2^levels pixels.
        halo = 2**c.levels * (pywt.Wavelet(c.wavelet).dec_len + c.window - 1)
        self.capabilities = replace(self.capabilities, halo=halo, grid=2**c.levels)

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        c: DwtConfig = self.config
        return fuse_dwt(stack, wavelet=c.wavelet, levels=c.levels, window=c.window, consistent=c.consistent)
