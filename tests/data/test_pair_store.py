"""Crops out of the flat store against plain slicing."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.data.epoch_plan import draw_epoch
from fusionkit.data.pair_store import PairStore
from fusionkit.tasks import IVIF

CPU = torch.device("cpu")


def _pairs(sizes: list[tuple[int, int]], channels: int = 1) -> list[list[torch.Tensor]]:
    return [[torch.randint(0, 256, (channels, h, w), dtype=torch.uint8) for _ in range(2)] for h, w in sizes]


@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]), swap=st.booleans())
def test_a_crop_is_the_slice_flipped_and_swapped_as_the_plan_says(seed: int, channels: int, swap: bool) -> None:
    sizes = [(9, 14), (8, 8), (21, 10)]
    pairs = _pairs(sizes, channels)
    store = PairStore(IVIF, pairs, device=CPU, smallest=8)
    plan = draw_epoch(store.sizes, seed=seed, epoch=0, meta_steps=0, fusion_steps=1, batch=4, crop=8, swap=swap)
    batch = store.crops(plan.ftr[0], 8)
    for n, (pair, top, left, rows, columns, swapped) in enumerate(plan.ftr[0].tolist()):
        for k in range(2):
            expected = pairs[pair][k ^ swapped][:, top : top + 8, left : left + 8]
            expected = expected.flip(1) if rows else expected
            expected = expected.flip(2) if columns else expected
            assert torch.equal(batch.sources[k][n], expected.float() / 255)


def test_eight_bit_pairs_stay_bytes_and_deeper_ones_keep_their_depth() -> None:
    bytes_only = PairStore(IVIF, _pairs([(4, 4)]), device=CPU)
    assert bytes_only.bytes == 2 * 16
    deep = torch.rand(1, 4, 4)
    mixed = PairStore(IVIF, [[deep, torch.full((1, 4, 4), 51, dtype=torch.uint8)]], device=CPU)
    assert torch.equal(mixed.whole(0)[0][0], deep)
    assert torch.allclose(mixed.whole(0)[1], torch.tensor(0.2))


def test_a_pair_smaller_than_the_crop_is_reflected_up_to_it() -> None:
    small = torch.arange(12, dtype=torch.uint8).reshape(1, 3, 4)
    store = PairStore(IVIF, [[small, small]], device=CPU, smallest=8)
    assert store.sizes == [(8, 8)]
    whole = (store.whole(0)[0][0] * 255).round().to(torch.uint8)
    assert torch.equal(whole[:, :3, :4], small)
    assert torch.equal(whole[0, 3, :4], small[0, 1])
    pixel = torch.full((1, 1, 1), 7, dtype=torch.uint8)
    assert PairStore(IVIF, [[pixel, pixel]], device=CPU, smallest=8).sizes == [(8, 8)]
