"""The noise between fuser and critic."""

from __future__ import annotations

import itertools

import pytest
import torch

from fusionkit.meta.channel import channel_noise, through


def _noise(fine: float, coarse: float, *, seed: int = 0, step: int = 0) -> torch.Tensor:
    like = torch.zeros(8, 1, 96, 96, dtype=torch.float64)
    return channel_noise(like, fine=fine, coarse=coarse, seed=seed, step=step)


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
        noise = channel_noise(like, fine=0, coarse=0.1, seed=0, step=0, patch=patch)
        jumps.append(float((noise[..., 1:] - noise[..., :-1]).std() / noise.std()))
    # The step from pixel to pixel is that of a smooth field: inverse to the patches' side.
    assert all(1.7 < before / after < 2.4 for before, after in itertools.pairwise(jumps))


def test_a_step_of_a_run_has_its_own_noise() -> None:
    assert torch.equal(_noise(0.1, 0.1, seed=3, step=5), _noise(0.1, 0.1, seed=3, step=5))
    assert not torch.equal(_noise(0.1, 0.1, seed=3, step=5), _noise(0.1, 0.1, seed=3, step=8))
    assert not torch.equal(_noise(0.1, 0.1, seed=3, step=5), _noise(0.1, 0.1, seed=4, step=5))


def test_without_noise_the_image_goes_through_as_it_is() -> None:
    image = torch.rand(1, 1, 4, 4)
    assert through(None, image) is image
