"""Two-scale saliency fusion against scipy filters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import median_filter, uniform_filter

from fusionkit_classical.tsvs import Tsvs, TsvsConfig, median


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 2), (15, 22)])
@pytest.mark.parametrize("window", [1, 3, 5])
def test_median_is_scipys(size: tuple[int, int], window: int) -> None:
    image = np.random.default_rng(0).random(size)
    expected = median_filter(image, window, mode="nearest")
    np.testing.assert_array_equal(median(torch.from_numpy(image), window).numpy(), expected)


@pytest.mark.parametrize("count", [2, 3])
def test_fusion_is_the_papers_formula(count: int) -> None:
    rng = np.random.default_rng(1)
    images = [rng.random((25, 40)) for _ in range(count)]
    bases = [uniform_filter(i, 9, mode="nearest") for i in images]
    saliency = [(b - median_filter(i, 3, mode="nearest")) ** 2 for i, b in zip(images, bases, strict=True)]
    details = [s / sum(saliency) * (i - b) for s, i, b in zip(saliency, images, bases, strict=True)]
    expected = sum(bases) / count + sum(details)
    fused = Tsvs(TsvsConfig(mean_window=9))(*(torch.from_numpy(i)[None, None] for i in images))
    np.testing.assert_allclose(fused[0, 0].numpy(), expected.clip(0, 1), atol=1e-8)


def test_a_target_that_stands_out_in_one_source_keeps_its_contrast() -> None:
    infrared = torch.full((1, 1, 80, 80), 0.2)
    infrared[..., 36:44, 36:44] = 0.9
    visible = torch.full((1, 1, 80, 80), 0.4)
    fused = Tsvs()(infrared, visible)
    assert fused[0, 0, 40, 40] - fused[0, 0, 5, 5] > 0.65
