"""Cross bilateral filter fusion against loops that follow the paper, eigenvalues and all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusionkit.errors import UsageError
from fusionkit_classical.cbf import Cbf, CbfConfig, cross_bilateral, edge_strength

Image = NDArray[np.float64]


def slow_cross_bilateral(image: Image, guide: Image, sigma_space: float, sigma_range: float, kernel: int) -> Image:
    r = kernel // 2
    wide_image, wide_guide = (np.pad(x, r, mode="symmetric") for x in (image, guide))
    offset = np.arange(kernel) - r
    space = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * sigma_space**2))
    out = np.zeros_like(image)
    for y, x in np.ndindex(image.shape):
        window = wide_guide[y : y + kernel, x : x + kernel]
        weight = space * np.exp(-((window - guide[y, x]) ** 2) / (2 * sigma_range**2))
        out[y, x] = np.sum(weight * wide_image[y : y + kernel, x : x + kernel]) / np.sum(weight)
    return out


def slow_strength(detail: Image, window: int) -> Image:
    wide = np.pad(detail, window // 2, mode="symmetric")
    out = np.zeros_like(detail)
    for y, x in np.ndindex(detail.shape):
        area = wide[y : y + window, x : x + window]
        for rows in (area, area.T):
            out[y, x] += np.linalg.eigvalsh(np.cov(rows, rowvar=False)).sum()
    return out


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 12)])
def test_cross_bilateral_filter_is_its_double_sum(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image, guide = rng.random(size), rng.random(size)
    ours = cross_bilateral(torch.from_numpy(image), torch.from_numpy(guide), sigma_space=1.8, sigma_range=0.1, kernel=7)
    np.testing.assert_allclose(ours.numpy(), slow_cross_bilateral(image, guide, 1.8, 0.1, 7), atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (8, 7)])
@pytest.mark.parametrize("window", [3, 5])
def test_edge_strength_is_the_sum_of_covariance_eigenvalues(size: tuple[int, int], window: int) -> None:
    detail = np.random.default_rng(1).standard_normal(size)
    ours = edge_strength(torch.from_numpy(detail), window=window)
    np.testing.assert_allclose(ours.numpy(), slow_strength(detail, window), atol=1e-10)


def test_fusion_weighs_the_sources_by_the_strength_of_their_details() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random((14, 11)), rng.random((14, 11))
    c = CbfConfig()
    weights = [
        slow_strength(x - slow_cross_bilateral(x, y, c.sigma_space, c.sigma_range, c.kernel), c.window)
        for x, y in ((a, b), (b, a))
    ]
    expected = (weights[0] * a + weights[1] * b) / (weights[0] + weights[1])
    fused = Cbf()(torch.from_numpy(a)[None, None], torch.from_numpy(b)[None, None])
    np.testing.assert_allclose(fused[0, 0].numpy(), expected, atol=1e-9)


def test_two_flat_sources_are_averaged_not_chosen_between_by_rounding() -> None:
    a, b = (torch.full((1, 1, 20, 20), v, dtype=torch.float64) for v in (0.1, 0.7))
    assert (Cbf()(a, b) - 0.4).abs().max() < 1e-9


def test_a_third_source_is_refused_with_the_remedy() -> None:
    x = torch.rand(1, 1, 4, 4)
    with pytest.raises(UsageError, match="takes 2 sources at a time, got 3: fold them"):
        Cbf()(x, x, x)


def test_a_window_that_has_no_variance_is_refused() -> None:
    with pytest.raises(UsageError, match="Cbf: window=1 is not valid: Input should be greater than or equal to 3"):
        Cbf(CbfConfig(window=1))
