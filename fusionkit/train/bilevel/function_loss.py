"""An outer loss made of any function that says how bad a fused image is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from fusionkit.contracts import Batch, OuterLoss, Terms

__all__ = ["FunctionOuterLoss"]

Judge = Callable[[Tensor, Any], Tensor | Terms]


class FunctionOuterLoss(OuterLoss):
    """Makes an outer loss of a function, or of a module, that takes a fused batch and its targets and returns a loss.

    The parameters of a module are what training changes. It is differentiated once and never twice, so it may use
    operations that have a gradient and no second one. It must give the same loss for the same weights and the same
    batch: turn dropout off, and replace batch normalisation, whose running statistics a trial step would move
    (``torch.func.replace_all_batch_norm_modules_``).

    >>> import torch
    >>> outer_loss = FunctionOuterLoss(lambda fused, targets: (fused - targets).abs().mean())
    >>> float(outer_loss.loss(torch.zeros(1, 1, 4, 4), Batch((), torch.ones(1, 1, 4, 4)))["total"])
    1.0

    Args:
        judge: called with the fused image ``(B, C, H, W)`` and ``Batch.targets``; returns the mean loss over the
            batch, a scalar, or its parts by name with their ``"total"``.
    """

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = judge

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        """Loss of ``fused`` for the batch's targets, by the function."""
        found = self.judge(fused, batch.targets)
        return found if isinstance(found, Mapping) else {"total": found}
