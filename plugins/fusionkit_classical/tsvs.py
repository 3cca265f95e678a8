"""Two-scale fusion by visual saliency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from fusionkit_classical.borders import frame
from fusionkit_classical.method import ClassicalFuser, lettered
from fusionkit_classical.options import Window
from fusionkit_classical.windows import box_mean

__all__ = ["Tsvs", "TsvsConfig", "fuse_tsvs", "median", "salient_weights"]

_FLOOR = 1e-12
"""Added to the saliencies, so that all sources weigh the same where none has any."""


@dataclass(frozen=True)
class TsvsConfig:
    """Options of :class:`Tsvs`.

    Attributes:
        mean_window: width in pixels of the mean filter that makes the base, odd.
        median_window: width in pixels of the median filter that takes out noise before saliency is measured, odd.
    """

    mean_window: Window = 35
    median_window: Window = 3


def median(image: Tensor, window: int) -> Tensor:
    """Compute the median over a square window; border pixels are repeated outwards.

    Args:
        image: ``(..., H, W)``.
        window: width in pixels, odd.

    Returns:
        Same shape.
    """
    radius = window // 2
    wide = frame(image, radius, border="edge")
    return wide.unfold(-2, window, 1).unfold(-2, window, 1).flatten(-2).median(-1).values


def salient_weights(stack: Tensor, base: Tensor, *, median_window: int) -> Tensor:
    """Compute the weights psi of the details of a stack ``(S, B, C, H, W)``; they sum to 1 over S."""
    saliency = (base - median(stack, median_window)).square() + _FLOOR
    return saliency / saliency.sum(0, keepdim=True)


def fuse_tsvs(stack: Tensor, *, mean_window: int, median_window: int) -> Tensor:
    """Fuse a stack ``(S, B, C, H, W)``; the options are those of the class's Config."""
    base = box_mean(stack, mean_window // 2, border="edge")
    weights = salient_weights(stack, base, median_window=median_window)
    return base.mean(0) + (weights * (stack - base)).sum(0)


class Tsvs(ClassicalFuser):
    """Two-scale fusion: averages the bases, and weights details by how far each pixel differs from its surroundings.

        B_k = mean(I_k),   D_k = I_k - B_k,   x_k = (mean(I_k) - median(I_k))^2,   psi_k = x_k / sum_j x_j
        F = (1 / S) sum_k B_k + sum_k psi_k D_k

    Symmetric in the sources; of equal sources it returns them.

    Source: Bavirisetti, Dhuli, "Two-Scale Image Fusion of Visible and Infrared Images Using Saliency Detection",
    Infrared Physics & Technology 76, 2016, with its windows. It differs from the authors' program at the border: their
    mean wraps around the image and their median sees black outside; here border pixels are repeated.
    """

    Config = TsvsConfig
    reference = (
        "Bavirisetti, Dhuli, Two-Scale Image Fusion of Visible and Infrared Images Using Saliency Detection, "
        "Infrared Physics & Technology 76, 2016"
    )

    def __init__(self, config: TsvsConfig | None = None) -> None:
        super().__init__(config)
        halo = max(self.config.mean_window, self.config.median_window) // 2
        self.capabilities = replace(self.capabilities, halo=halo)

    def weigh(self, stack: Tensor) -> Mapping[str, Tensor]:
        """Compute psi."""
        c: TsvsConfig = self.config
        base = box_mean(stack, c.mean_window // 2, border="edge")
        return lettered("detail", salient_weights(stack, base, median_window=c.median_window))

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(S, B, C, H, W)``."""
        c: TsvsConfig = self.config
        return fuse_tsvs(stack, mean_window=c.mean_window, median_window=c.median_window)
