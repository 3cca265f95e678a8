"""Sums over tiles are sums over the whole, whatever the sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fusionkit.metrics import tiles
from fusionkit.metrics.tiles import row_blocks, summed_over_tiles


@given(st.integers(1, 3), st.integers(3, 90), st.integers(1, 40), st.integers(0, 2))
def test_tiles_cover_every_row_once(batch: int, height: int, width: int, halo: int) -> None:
    planes = torch.zeros(batch, 1, height, width)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles, "TILE_BYTES", 1000)
        blocks = row_blocks(planes, halo=halo)
    inner = [row for block in blocks for row in range(block.start, block.stop - halo)]
    assert inner == list(range(height - halo))


@pytest.mark.parametrize("halo", [0, 2])
def test_a_sum_over_tiles_is_the_sum(monkeypatch: pytest.MonkeyPatch, halo: int) -> None:
    def curvature(x: Tensor, y: Tensor) -> Tensor:
        rows = slice(halo // 2, x.shape[2] - halo // 2)
        own = x[:, :, rows] * y[:, :, rows]
        return (own - x[:, :, : x.shape[2] - halo]).square().sum((2, 3))

    x, y = torch.rand(2, 2, 3, 57, 31, dtype=torch.float64)
    whole = curvature(x, y)
    monkeypatch.setattr(tiles, "TILE_BYTES", 4000)
    assert len(row_blocks(x, halo=halo)) > 3
    assert torch.allclose(summed_over_tiles(curvature, x, y, halo=halo), whole, rtol=1e-13)


def test_where_gradients_are_wanted_one_tile_is_everything() -> None:
    planes = torch.zeros(1, 1, 4000, 400)
    assert len(row_blocks(planes)) > 1
    assert len(row_blocks(planes.requires_grad_())) == 1
