"""The pairs, crops and flips of all training steps of an epoch, drawn once per epoch as one table per stage.

A plan depends only on the seed and the epoch, so that a resumed run continues with the same draws. As a table it is
copied to the device once per epoch instead of once per step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fusionkit.errors import DataError

PAIR, TOP, LEFT, FLIP_ROWS, FLIP_COLUMNS, SWAP = range(6)
"""Columns of a plan's rows."""


@dataclass(frozen=True)
class EpochPlan:
    """The plan of one epoch: int64 tables ``(steps, B, 6)`` with the columns named above.

    Attributes:
        mtr: meta-train batches, one per meta step.
        mts: meta-test batches, one per meta step, from pairs that ``mtr`` does not use.
        ftr: fusion batches, one per fusion step, from all pairs.
    """

    mtr: Tensor
    mts: Tensor
    ftr: Tensor


def draw_epoch(
    sizes: Sequence[tuple[int, int]],
    *,
    seed: int,
    epoch: int,
    meta_steps: int,
    fusion_steps: int,
    batch: int,
    crop: int,
    flip: bool = True,
    swap: bool = False,
) -> EpochPlan:
    """Draw the plan of an epoch as in Algorithm 1 of the paper.

    In every epoch the training set is split at random into two disjoint halves; mtr is sampled from the first, mts
    from the second, ftr from the whole set. Samples are drawn without replacement from a shuffled pool, which is
    shuffled again when it is used up.

    Args:
        sizes: height and width of every pair, each at least ``crop``.
        seed: seed of the run.
        epoch: number of the epoch, from 0.
        meta_steps: number M of meta steps.
        fusion_steps: number N of fusion steps.
        batch: pairs per batch.
        crop: side of the square crops, in pixels.
        flip: flip rows and columns at random.
        swap: swap the first two sources at random.

    Raises:
        DataError: fewer than two pairs with ``meta_steps`` > 0, which cannot be split into halves.

    Reference:
        Bai et al., ReFusion, IJCV 2025, section 3.3 and Algorithm 1.
    """
    if meta_steps and len(sizes) < 2:
        raise DataError(
            f"meta-training needs at least 2 pairs, got {len(sizes)}: add pairs or set trainer.meta_steps=0"
        )
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))
    order = rng.permutation(len(sizes))
    half = len(sizes) // 2
    table = np.asarray(sizes, dtype=np.int64).reshape(-1, 2)

    def draw(pool: np.ndarray, steps: int) -> Tensor:
        count = steps * batch
        rounds = -(-count // max(len(pool), 1))
        chosen = np.concatenate([rng.permutation(pool) for _ in range(rounds)] or [pool[:0]])[:count]
        room = table[chosen] - crop + 1
        corner = np.floor(rng.random((count, 2)) * room).astype(np.int64)
        coins = rng.integers(0, 2, (count, 3))
        coins[:, :2] *= flip
        coins[:, 2] *= swap
        rows = np.concatenate([chosen[:, None], corner, coins], 1)
        return torch.from_numpy(rows.reshape(steps, batch, 6))

    return EpochPlan(
        mtr=draw(order[:half], meta_steps),
        mts=draw(order[half:], meta_steps),
        ftr=draw(np.arange(len(sizes)), fusion_steps),
    )
