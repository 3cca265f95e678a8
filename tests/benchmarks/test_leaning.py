"""The regression of a fused image on its sources, on images whose makeup is known."""

from __future__ import annotations

import pytest
import torch

from benchmarks.leaning import gains, mean_over, wide_areas


def test_the_makeup_of_wide_areas_is_found_again() -> None:
    a, b = torch.rand(2, 1, 1, 60, 60, dtype=torch.float64)
    fused = 0.3 * a + 0.2 * b + 0.4 * torch.maximum(a, b)
    found, explained, without = wide_areas([fused], [(a, b)])
    assert found == pytest.approx([0.3, 0.2, 0.4], abs=1e-9)
    assert explained == pytest.approx(1)
    assert without < 1


def test_means_at_the_border_are_over_the_pixels_that_there_are() -> None:
    image = torch.rand(1, 1, 9, 9, dtype=torch.float64)
    assert float(mean_over(image, 5)[0, 0, 0, 0]) == pytest.approx(float(image[0, 0, :3, :3].mean()))


def test_the_gains_are_those_with_which_the_gradients_were_mixed() -> None:
    ramp = torch.rand(1, 1, 40, 40, dtype=torch.float64)
    strong, weak = ramp, 0.2 * torch.rand(1, 1, 40, 40, dtype=torch.float64)
    for pair in ((strong, weak), (weak, strong)):
        assert gains([0.9 * strong + 0.1 * weak], [pair]) == pytest.approx([0.9, 0.1], abs=1e-9)
