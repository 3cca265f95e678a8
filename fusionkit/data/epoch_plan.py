"""Which pair, which crop and which flips each training step gets, drawn once an epoch as one small table a stage.

A plan depends on the seed and the epoch alone, never on what ran before, so an interrupted run goes on with the
same draws; and being a table, it goes to the device once an epoch instead of once a step.
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
    """The draws of one epoch: int64 tables ``(steps, B, 6)`` with the columns named above.

    Attributes:
        mtr: meta-train batches, one a meta step.
        mts: meta-test batches, one a meta step, from pairs that ``mtr`` does not use.
        ftr: fusion batches, one a fusion step, from all pairs.
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
    """Draw an epoch as Algorithm 1 of the paper does.

    The training set is split at random into two halves that do not overlap, afresh every epoch; mtr and mts are
    sampled from one each, ftr from the whole set. Sampling goes through a shuffled pool without replacement and
    shuffles again when it is used up.

    Args:
        sizes: height and width of every pair, each at least ``crop``.
        seed: of the run.
        epoch: number of the epoch, from 0.
        meta_steps: M.
        fusion_steps: N.
        batch: pairs a batch.
        crop: side of the square crops, in pixels.
        flip: flip rows and columns at random.
        swap: swap the first two sources at random.

    Raises:
        DataError: fewer than two pairs with ``meta_steps`` > 0: there is nothing to hold apart.

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
