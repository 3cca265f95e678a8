"""Multi-focus fusion by focus regions and the guided filter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fusionkit.contracts import Capabilities
from fusionkit_classical.method import FLOATING, ClassicalFuser
from fusionkit_classical.options import Positive, Radius, Share, Window
from fusionkit_classical.windows import box_mean, guided_filter

__all__ = ["FocusGf", "FocusGfConfig", "fill_small_regions", "focus_decision", "focus_weight", "fuse_focus"]


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class FocusGfConfig:
    """Options of :class:`FocusGf`.

    Attributes:
        window: width in pixels of the mean filter that detail is measured against, odd.
        radius: window radius of both guided filters, in pixels.
        epsilon: their epsilon, a variance of images in [0, 1].
        smallest_region: regions of the decision that are smaller than this part of the image are filled, 0 to 1.
    """

    window: Window = 7
    radius: Radius = 5
    epsilon: Positive = 0.3
    smallest_region: Share = 0.01


def fill_small_regions(decision: Tensor, area: int) -> Tensor:
    """Remove 8-connected True regions of fewer than ``area`` pixels, then fill such False regions.

    Args:
        decision: ``(..., H, W)``, boolean.
        area: in pixels.

    Returns:
        Same shape, boolean.
    """
    filled = []
    for plane in decision.reshape(-1, *decision.shape[-2:]).cpu().numpy():
        kept = _without_small(plane, area)
        filled.append(~_without_small(~kept, area))
    return torch.from_numpy(np.stack(filled)).reshape(decision.shape).to(decision.device)


def _without_small(plane: Mask, area: int) -> Mask:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= area
    large[0] = False
    kept: Mask = large[labels]
    return kept


def focus_decision(stack: Tensor, *, window: int, radius: int, epsilon: float, smallest_region: float) -> Tensor:
    """Decide where the first of two sources is in focus.

    Args:
        stack: ``(2, ..., H, W)`` in [0, 1], float64.
        window: width of the mean filter, odd.
        radius: window radius of the guided filter.
        epsilon: its epsilon.
        smallest_region: smallest region to keep, as a part of the image.

    Returns:
        ``(..., H, W)``, boolean.
    """
    detail = (stack - box_mean(stack, window // 2, border="edge")).abs()
    focus = guided_filter(stack, detail, radius=radius, epsilon=epsilon)
    height, width = stack.shape[-2:]
    # The margin is above float64 rounding: where both are flat the second source has it.
    return fill_small_regions(focus[0] > focus[1] + 1e-12, math.ceil(smallest_region * height * width))


def fuse_focus(stack: Tensor, *, window: int, radius: int, epsilon: float, smallest_region: float) -> Tensor:
    """Fuse a stack of two sources ``(2, B, C, H, W)``; the options are those of the class's Config."""
    first, second = stack.unbind()
    weight = focus_weight(stack, window=window, radius=radius, epsilon=epsilon, smallest_region=smallest_region)
    return weight * first + (1 - weight) * second


def focus_weight(stack: Tensor, *, window: int, radius: int, epsilon: float, smallest_region: float) -> Tensor:
    """Compute the weight W of the first of two sources ``(2, B, C, H, W)``: the decision along edges of the draft."""
    decision = focus_decision(stack, window=window, radius=radius, epsilon=epsilon, smallest_region=smallest_region)
    first, second = stack.unbind()
    draft = torch.where(decision, first, second)
    return guided_filter(draft, decision.to(stack.dtype), radius=radius, epsilon=epsilon)


class FocusGf(ClassicalFuser):
    """Multi-focus fusion by regions: takes each pixel from the source that is in focus there.

        R_k = |I_k - mean(I_k)|,   Q_k = GF(R_k; I_k),   T = [Q_1 > Q_2] with small regions filled
        W = GF(T; T I_1 + (1 - T) I_2),   F = W I_1 + (1 - W) I_2

    Two sources; of equal sources it returns them.

    Source: Qiu, Li, Zhang, Yuan, "Guided Filter-Based Multi-Focus Image Fusion through Focus Region Detection", Signal
    Processing: Image Communication 72, 2019, with the parameters of the authors' program.
    """

    Config = FocusGfConfig
    capabilities = Capabilities(dtypes=FLOATING)
    tasks = ("mfif",)
    reference = (
        "Qiu, Li, Zhang, Yuan, Guided Filter-Based Multi-Focus Image Fusion through Focus Region Detection, "
        "Signal Processing: Image Communication 72, 2019"
    )

    def weigh(self, stack: Tensor) -> Mapping[str, Tensor]:
        """Compute the weight W of the first source."""
        c: FocusGfConfig = self.config
        weight = focus_weight(
            stack, window=c.window, radius=c.radius, epsilon=c.epsilon, smallest_region=c.smallest_region
        )
        return {"w_a": weight}

    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a stack ``(2, B, C, H, W)``."""
        c: FocusGfConfig = self.config
        return fuse_focus(stack, window=c.window, radius=c.radius, epsilon=c.epsilon, smallest_region=c.smallest_region)
