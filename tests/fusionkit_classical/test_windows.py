"""Box windows and the guided filter against loops over windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from fusionkit_classical.windows import box_mean, box_sum, guided_filter

Image = NDArray[np.float64]
SIZES = [(1, 1), (1, 6), (5, 1), (7, 9), (12, 5)]


def cut(image: Image, y: int, x: int, radius: int) -> Image:
    return image[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]


def slow_guided(guide: Image, image: Image, radius: int, epsilon: float) -> Image:
    """He et al., equations 5, 6 and 8, a window at a time."""
    slope, offset = np.zeros_like(guide), np.zeros_like(guide)
    for y, x in np.ndindex(guide.shape):
        g, p = cut(guide, y, x, radius), cut(image, y, x, radius)
        slope[y, x] = np.mean((g - g.mean()) * (p - p.mean())) / (g.var() + epsilon)
        offset[y, x] = p.mean() - slope[y, x] * g.mean()
    out = np.zeros_like(guide)
    for y, x in np.ndindex(guide.shape):
        out[y, x] = cut(slope, y, x, radius).mean() * guide[y, x] + cut(offset, y, x, radius).mean()
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("radius", [0, 1, 3, 20])
def test_box_sum_and_mean_are_those_of_the_window_inside_the_image(size: tuple[int, int], radius: int) -> None:
    image = np.random.default_rng(0).random(size)
    windows = [[cut(image, y, x, radius) for x in range(size[1])] for y in range(size[0])]
    sums = np.array([[w.sum() for w in row] for row in windows])
    means = np.array([[w.mean() for w in row] for row in windows])
    np.testing.assert_allclose(box_sum(torch.from_numpy(image), radius).numpy(), sums, atol=1e-12)
    np.testing.assert_allclose(box_mean(torch.from_numpy(image), radius).numpy(), means, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("radius", [0, 1, 3, 17])
def test_box_mean_with_repeated_edges_is_scipy_uniform_filter(size: tuple[int, int], radius: int) -> None:
    image = np.random.default_rng(1).random(size)
    expected = uniform_filter(image, 2 * radius + 1, mode="nearest")
    np.testing.assert_allclose(box_mean(torch.from_numpy(image), radius, border="edge").numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("radius", "epsilon"), [(1, 1e-6), (2, 0.3), (9, 1e-2)])
def test_guided_filter_is_the_loop_over_windows(size: tuple[int, int], radius: int, epsilon: float) -> None:
    rng = np.random.default_rng(2)
    guide, image = rng.random(size), rng.random(size)
    fast = guided_filter(torch.from_numpy(guide), torch.from_numpy(image), radius=radius, epsilon=epsilon)
    np.testing.assert_allclose(fast.numpy(), slow_guided(guide, image, radius, epsilon), atol=1e-9)


def test_guided_filter_keeps_an_edge_of_the_guide_and_smooths_without_one() -> None:
    step = torch.zeros(20, 20, dtype=torch.float64)
    step[:, 10:] = 1
    kept = guided_filter(step, step, radius=4, epsilon=1e-6)
    blurred = guided_filter(torch.full_like(step, 0.5), step, radius=4, epsilon=1e-6)
    assert (kept - step).abs().max() < 1e-4
    assert 0.2 < blurred[10, 9] < 0.8
