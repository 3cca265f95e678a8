"""Phase congruency against its definition with explicit filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionkit.metrics.phase_congruency import phase_congruency
from tests.support.metric_scenes import arrays, scene
from tests.support.plain_congruency import plain_congruency


@pytest.mark.parametrize(("height", "width"), [(32, 36), (31, 36), (30, 33), (33, 35)])
def test_phase_congruency_is_its_definition_for_even_and_odd_sides(height: int, width: int) -> None:
    image = scene(height, width, seed=height)[1]
    for ours, plain in zip(phase_congruency(image), plain_congruency(*arrays(image)), strict=True):
        assert np.allclose(ours[0, 0].numpy(), plain, rtol=1e-8, atol=1e-10)


def test_phase_congruency_sees_edges_whatever_their_contrast() -> None:
    edges = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    edges[..., 16:48, 16:48] = 10
    faint, strong = phase_congruency(edges), phase_congruency(20 * edges)
    assert torch.allclose(faint.total, strong.total, atol=2e-3)
    assert float(faint.total[0, 0, 30:34, 16].min()) > 0.5 > float(faint.total[0, 0, 28:36, 28:36].max())
    corner, side = faint.least[0, 0, 15:18, 15:18].max(), faint.least[0, 0, 30:34, 15:18].max()
    assert float(corner) > 2 * float(side)


def test_a_constant_image_has_none() -> None:
    maps = phase_congruency(torch.full((1, 1, 32, 40), 0.1, dtype=torch.float64))
    assert all(not bool(m.isnan().any()) for m in maps)
    assert not maps.total.any()
