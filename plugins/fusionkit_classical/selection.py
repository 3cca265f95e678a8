"""Selects the source of each coefficient: the rule that multi-scale methods share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusionkit_classical import opencv
from fusionkit_classical.borders import frame
from fusionkit_classical.windows import box_sum

__all__ = ["leaders", "select_largest", "shares"]

_RELATIVE = 1e-9
_ABSOLUTE = 1e-12
"""Activities nearer than this are a tie: far above float64 rounding, far below one grey level of 8 bits."""


def leaders(activity: Tensor) -> Tensor:
    """Mark the source with the greatest activity at each place; sources that tie are all marked.

    Args:
        activity: ``(S, ...)``, 0 or more, float64.

    Returns:
        Boolean, same shape, at least one True over S.
    """
    best = activity.detach().amax(0, keepdim=True)
    return activity >= best.mul_(1 - _RELATIVE).sub_(_ABSOLUTE)


def shares(marked: Tensor, like: Tensor) -> Tensor:
    """Compute weights that sum to 1 over S, shared equally among the sources that are marked at a place."""
    weights = marked.to(like.real.dtype)
    return weights / weights.sum(0, keepdim=True)


def select_largest(
    coefficients: Tensor, *, window: int = 3, consistent: bool = True, rank: Tensor | None = None
) -> Tensor:
    """Take each coefficient from the source that is most active around it.

        activity_s(p) = max |c_s(q)| over the window around p,    source(p) = argmax_s activity_s(p)

    With ``consistent`` a place then goes to the source that leads at most places of its window (consistency
    verification): lone choices are outvoted. Sources that tie are averaged, so the rule is symmetric in them.

    Args:
        coefficients: ``(S, B, C, H, W)``, float64 or complex128.
        window: width in coefficients, odd; 1 looks at the coefficient alone.
        consistent: whether to verify the choice by the majority of the window.
        rank: what to measure the activity on in place of ``|c|``, same shape, 0 or more.

    Returns:
        ``(B, C, H, W)``.

    Source: Li, Manjunath, Mitra, "Multisensor Image Fusion Using the Wavelet Transform", GMIP 57(3), 1995, section 4.
    """
    activity = _strength(coefficients) if rank is None else rank
    radius = window // 2
    if radius and opencv.is_plain(activity):
        activity = opencv.dilated(activity, radius)
    elif radius:
        activity = functional.max_pool2d(activity.flatten(0, 1), window, 1, radius).reshape(activity.shape)
    marked = leaders(activity)
    if consistent and radius:
        marked = _majority(marked, radius)
    if len(marked) == 2:  # a choice is faster than a sum
        first, second = coefficients
        return torch.where(marked[0] & marked[1], (first + second) / 2, torch.where(marked[0], first, second))
    return torch.where(marked, coefficients, 0).sum(0) / marked.sum(0)


def _strength(coefficients: Tensor) -> Tensor:
    if not coefficients.is_complex():
        return coefficients.abs()
    # Faster than abs(), which guards against overflow.
    return (coefficients.real.square() + coefficients.imag.square()).sqrt()


def _majority(marked: Tensor, radius: int) -> Tensor:
    """Mark the source that is marked most often in each window, border marks repeated outwards."""
    if marked.device.type == "cpu":
        count = opencv.votes(marked, radius)
    else:
        height, width = marked.shape[-2:]
        wide = frame(marked, radius, border="edge")
        count = box_sum(wide.to(torch.float64), radius)[..., radius : radius + height, radius : radius + width]
    return count == count.amax(0, keepdim=True)
