"""Multi-focus fusion: its regions against scipy and scikit-image, and scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, label

from fusionkit.errors import UsageError
from fusionkit_classical.focus import FocusGf, FocusGfConfig, fill_small_regions, focus_decision

EIGHT = np.ones((3, 3))


def slow_open(mask: np.ndarray, area: int) -> np.ndarray:
    labels, count = label(mask, EIGHT)
    return np.isin(labels, [n for n in range(1, count + 1) if (labels == n).sum() >= area])


def scene(size: int = 96) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A textured scene, near (left) half sharp in one source and far half in the other."""
    rng = np.random.default_rng(0)
    sharp = (0.5 + 0.25 * gaussian_filter(rng.standard_normal((size, size)), 0.7) / 0.4).clip(0, 1)
    dull = gaussian_filter(sharp, 3)
    left = np.arange(size) < size // 2
    near, far = np.where(left, sharp, dull), np.where(left, dull, sharp)
    return tuple(torch.from_numpy(x)[None, None] for x in (sharp, near, far))  # type: ignore[return-value]


@pytest.mark.parametrize("area", [0, 1, 5, 40])
def test_small_regions_go_in_both_directions(area: int) -> None:
    decision = np.random.default_rng(1).random((3, 20, 31)) < 0.5
    expected = np.stack([~slow_open(~slow_open(plane, area), area) for plane in decision])
    assert np.array_equal(fill_small_regions(torch.from_numpy(decision), area).numpy(), expected)


def test_regions_that_touch_at_a_corner_are_one() -> None:
    decision = torch.eye(6, dtype=torch.bool)
    assert torch.equal(fill_small_regions(decision, 6), decision)
    assert not fill_small_regions(decision, 7).any()


def test_the_decision_finds_the_sharp_half() -> None:
    _, near, far = scene()
    c = FocusGfConfig()
    decision = focus_decision(
        torch.stack((near, far)),
        window=c.window,
        radius=c.radius,
        epsilon=c.epsilon,
        smallest_region=c.smallest_region,
    )[0, 0]
    assert decision[:, :44].all()
    assert not decision[:, 52:].any()


def test_the_fused_image_is_sharp_everywhere() -> None:
    sharp, near, far = scene()
    fused = FocusGf()(near, far)
    assert (fused - sharp).abs().mean() < 0.1 * (near - sharp).abs().mean()
    assert (fused - sharp)[..., :36].abs().max() < 1e-6


def test_equal_sources_decide_for_the_second_whatever_rounding_says() -> None:
    image = torch.rand(1, 1, 30, 30, dtype=torch.float64)
    decision = focus_decision(torch.stack((image, image)), window=7, radius=5, epsilon=0.3, smallest_region=0.01)
    assert not decision.any()


def test_a_region_share_above_one_is_refused() -> None:
    with pytest.raises(UsageError, match="smallest_region=2 is not valid: Input should be less than or equal to 1"):
        FocusGf(FocusGfConfig(smallest_region=2))
