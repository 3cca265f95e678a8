"""The draws of an epoch: what Algorithm 1 asks of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.data.epoch_plan import FLIP_COLUMNS, FLIP_ROWS, LEFT, PAIR, SWAP, TOP, draw_epoch
from fusionkit.errors import DataError

SIZES = st.lists(st.tuples(st.integers(8, 40), st.integers(8, 40)), min_size=2, max_size=30)


@given(sizes=SIZES, seed=st.integers(0, 2**31), meta=st.integers(0, 12), fusion=st.integers(0, 12))
def test_meta_train_and_meta_test_share_no_pair_and_crops_lie_inside(sizes, seed, meta, fusion) -> None:  # type: ignore[no-untyped-def]
    plan = draw_epoch(sizes, seed=seed, epoch=0, meta_steps=meta, fusion_steps=fusion, batch=3, crop=8)
    assert not set(plan.mtr[..., PAIR].flatten().tolist()) & set(plan.mts[..., PAIR].flatten().tolist())
    for rows in (plan.mtr, plan.mts, plan.ftr):
        heights, widths = (torch.tensor(sizes)[rows[..., PAIR]][..., k] for k in (0, 1))
        assert bool((rows[..., TOP] >= 0).all() and (rows[..., TOP] + 8 <= heights).all())
        assert bool((rows[..., LEFT] >= 0).all() and (rows[..., LEFT] + 8 <= widths).all())
        assert bool((rows[..., SWAP] == 0).all())


def test_an_epoch_depends_on_seed_and_number_alone() -> None:
    def draw(seed: int, epoch: int) -> torch.Tensor:
        sizes = [(20, 30)] * 9
        return draw_epoch(sizes, seed=seed, epoch=epoch, meta_steps=4, fusion_steps=5, batch=2, crop=8).ftr

    assert torch.equal(draw(1, 3), draw(1, 3))
    assert not torch.equal(draw(1, 3), draw(1, 4))
    assert not torch.equal(draw(1, 3), draw(2, 3))


def test_every_pair_is_used_before_one_is_used_again() -> None:
    plan = draw_epoch([(9, 9)] * 12, seed=0, epoch=0, meta_steps=0, fusion_steps=6, batch=4, crop=8)
    used = plan.ftr[..., PAIR].flatten()
    assert sorted(used[:12].tolist()) == sorted(used[12:].tolist()) == list(range(12))


def test_crops_reach_every_corner_and_flips_are_fair() -> None:
    plan = draw_epoch([(10, 9)], seed=0, epoch=0, meta_steps=0, fusion_steps=800, batch=1, crop=8, swap=True)
    rows = plan.ftr[:, 0]
    assert set(rows[:, TOP].tolist()) == {0, 1, 2}
    assert set(rows[:, LEFT].tolist()) == {0, 1}
    for coin in (FLIP_ROWS, FLIP_COLUMNS, SWAP):
        assert 0.4 < rows[:, coin].double().mean() < 0.6


def test_one_pair_cannot_be_held_apart() -> None:
    with pytest.raises(DataError, match="at least 2 pairs"):
        draw_epoch([(9, 9)], seed=0, epoch=0, meta_steps=1, fusion_steps=0, batch=1, crop=8)
