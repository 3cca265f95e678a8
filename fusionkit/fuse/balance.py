"""Moves a fused image towards one of its two sources, scale by scale."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.errors import UsageError
from fusionkit.fuse.adapter import call_fuser
from fusionkit.fuse.reduced import box_mean

__all__ = ["BalancedFuser", "balanced", "check_balance"]

_RIDGE = 1e-5
_LEAST_SIDE = 16


def check_balance(balance: float, count: int, *, name: str) -> None:
    """Refuse a balance that is not possible.

    Args:
        balance: -1 to 1; 0 for none.
        count: number of sources.
        name: what to call the fuser in the message.

    Raises:
        fusionkit.errors.UsageError: it is outside of -1 to 1, or not 0 with other than two sources.
    """
    if not math.isfinite(balance) or abs(balance) > 1:
        raise UsageError(f"balance {balance}: give a number from -1 (the first source) to 1 (the second); 0 for none")
    if balance and count != 2:
        raise UsageError(f"balance {balance:g}: is between two sources, and {name} is given {count}: leave it out")


def balanced(fuser: Fuser, balance: float, *, name: str) -> Fuser:
    """Return the fuser itself where the balance is 0, else its :class:`BalancedFuser`.

    Raises:
        fusionkit.errors.UsageError: a balance outside of -1 to 1, or a fuser that does not take two sources.
    """
    check_balance(balance, 2, name=name)
    if not balance:
        return fuser
    if fuser.capabilities.min_sources != 2:
        raise UsageError(f"balance {balance:g}: is between two sources, and {name} takes more: leave it out")
    return BalancedFuser(fuser, balance).eval()


class BalancedFuser(Fuser):
    """A fuser of two sources whose result is moved towards one of them.

    Fused image F and sources are split into octaves. The share w of source a in an octave of F is found in windows of
    5x5 pixels, by least squares with a ridge toward 1/2, kept in [0, 1] and averaged over the same windows:

        w = <(F - b)(a - b)> / <(a - b)^2>.

    A balance t raises the share of b to ``1 - w + t w`` where t > 0, and that of a to ``w - t (1 - w)`` where t < 0:

        F' = F + sum over octaves of d (a - b),    d = -t w for t > 0,  -t (1 - w) for t < 0.

    With ``t = 0`` it is F. With 1 it is nearly b, with -1 nearly a; what the method adds to both, such as contrast, is
    kept. A share varies as slowly as the octave that it acts on, so there are no seams (Burt, Adelson 1983). There are
    no halos: each pixel stays between the least and the greatest value that F and the source that it is moved towards
    have in its 3x3 neighbourhood.

    Args:
        fuser: the fuser, ready to use.
        balance: t, from -1 (a) to 1 (b), not 0.
    """

    def __init__(self, fuser: Fuser, balance: float) -> None:
        super().__init__()
        self.fuser = fuser
        self.config = fuser.config
        self.space = fuser.space
        self.stretch = fuser.stretch
        self.balance = balance
        self.capabilities = replace(fuser.capabilities, max_sources=2, halo=None, grid=None)

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse two sources ``(B, C, H, W)`` in [0, 1]."""
        fused = call_fuser(self.fuser, sources)
        half = fused.dtype in (torch.float16, torch.bfloat16)
        fused, a, b = ((each.float() if half else each) for each in (fused, *sources))
        moved = fused + self._moved(a - b, fused - b)
        goal = b if self.balance > 0 else a
        highest = F.max_pool2d(torch.maximum(fused, goal), 3, stride=1, padding=1)
        lowest = -F.max_pool2d(-torch.minimum(fused, goal), 3, stride=1, padding=1)
        return moved.clamp_(lowest, highest).to(sources[0])

    def _moved(self, difference: Tensor, part: Tensor) -> Tensor:
        """The change of the fused image, from ``a - b`` and ``fused - b``."""
        size = difference.shape[2:]
        if min(size) < _LEAST_SIDE:
            return self._step(difference, part)
        coarse_difference, coarse_part = (F.avg_pool2d(image, 2, ceil_mode=True) for image in (difference, part))
        fine = self._step(difference - _enlarged(coarse_difference, size), part - _enlarged(coarse_part, size))
        return fine + _enlarged(self._moved(coarse_difference, coarse_part), size)

    def _step(self, difference: Tensor, part: Tensor) -> Tensor:
        """The change in one octave."""
        share = _shares(difference, part)
        return -self.balance * (share if self.balance > 0 else 1 - share) * difference


def _shares(difference: Tensor, part: Tensor) -> Tensor:
    """The share of the first source in each window, ``(B, 1, H, W)`` in [0, 1]."""
    shared, whole = ((each * difference).mean(1, keepdim=True) for each in (part, difference))
    means = box_mean(torch.cat((shared, whole), 1))
    share = (means[:, :1] + _RIDGE / 2) / (means[:, 1:] + _RIDGE)
    return box_mean(share.clamp_(0, 1))


def _enlarged(image: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(image, (size[0], size[1]), mode="bilinear", align_corners=False)
