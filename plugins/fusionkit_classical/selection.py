"""Selects the source of each coefficient: the rule that multi-scale methods share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fusionkit_classical import opencv
from fusionkit_classical.borders import frame
from fusionkit_classical.windows import box_sum

__all__ = ["Selection", "leaders", "least_of_leaders", "select_largest", "shares"]

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
    return activity >= least_of_leaders(activity.detach().amax(0, keepdim=True))


def least_of_leaders(best: Tensor) -> Tensor:
    """The least activity that ties with the greatest one."""
    return (best * (1 - _RELATIVE)).sub_(_ABSOLUTE)


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
    radius = window // 2
    marked = leaders(_widened(_strength(coefficients) if rank is None else rank, radius))
    if consistent and radius:
        votes = _votes(marked, radius)
        marked = votes == votes.amax(0, keepdim=True)
    if len(marked) == 2:  # a choice is faster than a sum
        first, second = coefficients
        return torch.where(marked[0] & marked[1], (first + second) / 2, torch.where(marked[0], first, second))
    return torch.where(marked, coefficients, 0).sum(0) / marked.sum(0)


def _strength(coefficients: Tensor) -> Tensor:
    if not coefficients.is_complex():
        return coefficients.abs()
    # Faster than abs(), which guards against overflow.
    return (coefficients.real.square() + coefficients.imag.square()).sqrt()


def _widened(activity: Tensor, radius: int) -> Tensor:
    """The greatest activity of the window around each place of ``(..., B, C, H, W)``."""
    if not radius:
        return activity
    if opencv.is_plain(activity):
        return opencv.dilated(activity, radius)
    planes = activity.reshape(-1, 1, *activity.shape[-2:])
    return functional.max_pool2d(planes, 2 * radius + 1, 1, radius).reshape(activity.shape)


def _votes(marked: Tensor, radius: int) -> Tensor:
    """The number of marks in each window, border marks repeated outwards."""
    if marked.device.type == "cpu":
        return opencv.votes(marked, radius)
    height, width = marked.shape[-2:]
    wide = frame(marked, radius, border="edge")
    return box_sum(wide.to(torch.float64), radius)[..., radius : radius + height, radius : radius + width]


class Selection:
    """The choice of :func:`select_largest` for sources that come one at a time, twice.

    All sources are ranked, then all are added in the same order. Memory does not grow with their number.

    Args:
        window: as in :func:`select_largest`.
        consistent: as there.
    """

    def __init__(self, *, window: int = 3, consistent: bool = True) -> None:
        self._radius = window // 2
        self._consistent = consistent and window > 1
        self._best: Tensor | None = None
        self._votes: Tensor | None = None

    def rank(self, coefficients: Tensor) -> None:
        """Compare the coefficients ``(B, C, H, W)`` of one source with those of the sources before."""
        activity = _widened(_strength(coefficients), self._radius)
        self._best = activity if self._best is None else torch.maximum(self._best, activity, out=self._best)

    def add(self, coefficients: Tensor) -> None:
        """Take the coefficients ``(B, C, H, W)`` of one source where it is chosen over those added before.

        Raises:
            ValueError: no source was ranked before.
        """
        if self._best is None:
            raise ValueError("all sources are ranked before the first is added")
        if self._votes is None:
            self._least = least_of_leaders(self._best)
        marked = _widened(_strength(coefficients), self._radius) >= self._least
        votes = _votes(marked, self._radius) if self._consistent else marked.to(torch.int32)
        if self._votes is None:
            self._votes, self._sum = votes, coefficients.clone()
            self._number = torch.ones_like(votes, dtype=torch.int32)
            return
        more, equal = votes > self._votes, votes == self._votes
        self._sum = torch.where(more, coefficients, self._sum.add_(coefficients * equal))
        self._number = self._number.add_(equal).masked_fill_(more, 1)
        self._votes = torch.maximum(self._votes, votes)

    def value(self) -> Tensor:
        """The chosen coefficients ``(B, C, H, W)``; the mean of those that tie."""
        return self._sum / self._number
