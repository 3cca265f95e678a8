"""The noise between fuser and outer loss."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from fusionkit.contracts import Batch
from fusionkit.train.bilevel.noise import contrast, draw_noise, through


def _noise(fine: float, coarse: float, *, seed: int = 0, step: int = 0) -> torch.Tensor:
    like = torch.zeros(8, 1, 96, 96, dtype=torch.float64)
    return draw_noise(like, pixel=fine, patch=coarse, seed=seed, step=step)


def test_fine_noise_has_the_asked_deviation_and_no_correlation_between_pixels() -> None:
    noise = _noise(0.1, 0)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    assert abs(float((noise[..., 1:] * noise[..., :-1]).mean())) < 0.0005


@pytest.mark.parametrize("step", range(3))
def test_coarse_noise_is_smooth_and_of_about_the_asked_deviation(step: int) -> None:
    noise = _noise(0, 0.1, step=step)
    assert 0.05 < float(noise.std()) < 0.13
    jump = float((noise[..., 1:] - noise[..., :-1]).std())
    assert jump < 0.5 * float(noise.std())


def test_patches_grow_with_their_smallest_side() -> None:
    like = torch.zeros(8, 1, 96, 96, dtype=torch.float64)
    jumps = []
    for patch in (2, 4, 8, 16):
        noise = draw_noise(like, pixel=0, patch=0.1, seed=0, step=0, patch_size=patch)
        jumps.append(float((noise[..., 1:] - noise[..., :-1]).std() / noise.std()))
    # The step from pixel to pixel is that of a smooth field: inverse to the patches' side.
    assert all(1.7 < before / after < 2.4 for before, after in itertools.pairwise(jumps))


def test_a_step_of_a_run_has_its_own_noise() -> None:
    assert torch.equal(_noise(0.1, 0.1, seed=3, step=5), _noise(0.1, 0.1, seed=3, step=5))
    assert not torch.equal(_noise(0.1, 0.1, seed=3, step=5), _noise(0.1, 0.1, seed=3, step=8))
    assert not torch.equal(_noise(0.1, 0.1, seed=3, step=5), _noise(0.1, 0.1, seed=4, step=5))


def test_without_noise_the_image_goes_through_as_it_is() -> None:
    image = torch.rand(1, 1, 4, 4)
    assert through(None, image, Batch((image, image))) is image


def test_contrast_is_that_of_each_samples_sources() -> None:
    a, b = torch.rand(2, 3, 1, 6, 7, dtype=torch.float64)
    found = contrast((a, b))
    assert found.shape == (3, 1, 1, 1)
    for n in range(3):
        expected = ((np.var(a[n].numpy()) + np.var(b[n].numpy())) / 2) ** 0.5
        assert float(found[n]) == pytest.approx(expected)
    assert contrast((torch.ones(1, 1, 4, 4),) * 2) == 0


def test_noise_in_units_of_contrast_leaves_the_shape_of_the_noise_and_spares_dark_pairs() -> None:
    bright = Batch(tuple(torch.rand(2, 2, 1, 8, 8, dtype=torch.float64)))
    dark = Batch(tuple(0.1 * source for source in bright.sources))
    drawn = torch.randn(2, 1, 8, 8, dtype=torch.float64)

    def noise(image: torch.Tensor, sources: Sequence[torch.Tensor]) -> torch.Tensor:
        return drawn * contrast(sources)

    image = torch.zeros(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(through(noise, image, dark), 0.1 * through(noise, image, bright))
