"""Batches with their sources in the other order, or in both orders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusionkit.contracts import Batch

__all__ = ["in_both_orders"]


def in_both_orders(batch: Batch) -> Batch:
    """A batch and behind it the same pairs with the first two sources swapped: twice the samples, the same targets.

    Args:
        batch: sources ``(B, C, H, W)``; targets a tensor over the samples, a sequence of one a sample, or None.

    Returns:
        ``2 B`` samples.

    Raises:
        TypeError: targets of another kind: which of them belong to which sample is not known.
    """
    first, second, *others = batch.sources
    sources = (torch.cat((first, second)), torch.cat((second, first)), *(torch.cat((x, x)) for x in others))
    return Batch(sources, _twice(batch.targets))


def _twice(targets: Any) -> Any:
    if targets is None:
        return None
    if isinstance(targets, Tensor):
        return torch.cat((targets, targets))
    if isinstance(targets, tuple | list):
        return (*targets, *targets)
    raise TypeError(f"targets are a {type(targets).__name__}: give a tensor or a sequence, one entry a sample")
