"""Colour deviation against known angles and the arc cosine."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fusionkit.errors import DataError
from fusionkit.metrics.color_deviation import color_deviation


def plain(*color: float) -> torch.Tensor:
    return torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 4, 5)


@pytest.mark.parametrize(
    ("a", "b", "angle"),
    [
        ((200.0, 0, 0), (10.0, 0, 0), 0),
        ((200.0, 0, 0), (0, 7.0, 0), math.pi / 2),
        ((50.0, 50, 0), (0, 0, 0), 0),
        ((90.0, 90, 0), (30.0, 0, 0), math.pi / 4),
        ((90.0, 90, 90), (30.0, 0, 0), math.acos(1 / math.sqrt(3))),
    ],
)
def test_known_angles(a: tuple[float, ...], b: tuple[float, ...], angle: float) -> None:
    assert color_deviation(plain(*a), plain(*b)).item() == pytest.approx(angle, abs=1e-12)


def test_it_is_the_mean_arc_cosine_of_each_image() -> None:
    a, b = np.random.default_rng(0).integers(1, 256, (2, 3, 3, 17, 13)).astype(float)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    expected = np.arccos(cosine.clip(-1, 1)).mean((1, 2))
    np.testing.assert_allclose(color_deviation(torch.from_numpy(a), torch.from_numpy(b)).numpy(), expected, atol=1e-7)


def test_brightness_does_not_count_and_a_small_turn_does() -> None:
    a = torch.rand(1, 3, 20, 20, dtype=torch.float64) + 0.1
    assert color_deviation(0.3 * a, a).item() < 1e-15
    turned = a + 1e-9 * torch.tensor([1.0, -1.0, 0]).view(1, 3, 1, 1)
    assert 1e-10 < color_deviation(turned, a).item() < 1e-7


def test_grey_images_and_unlike_sizes_are_refused() -> None:
    for a, b in ((torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)), (torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 5))):
        with pytest.raises(DataError, match="two colour images"):
            color_deviation(a, b)
