"""Sobel responses and central differences against scipy and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor

from fusionkit.metrics.gradients import central_differences, sobel
from tests.support.metric_scenes import arrays, scene


@pytest.fixture(scope="module")
def large() -> tuple[Tensor, ...]:
    return scene(97, 120, seed=11)


@pytest.mark.parametrize(("ours", "theirs"), [("zeros", "constant"), ("replicate", "nearest"), ("reflect", "mirror")])
def test_sobel_is_scipys_under_every_padding(large: tuple[Tensor, ...], ours: str, theirs: str) -> None:
    (f,) = arrays(large[0])
    gx, gy = sobel(large[0], padding=ours)  # type: ignore[arg-type]
    assert np.allclose(gx[0, 0], scipy.ndimage.sobel(f, axis=1, mode=theirs))
    assert np.allclose(gy[0, 0], scipy.ndimage.sobel(f, axis=0, mode=theirs))


def test_central_differences_are_numpys(large: tuple[Tensor, ...]) -> None:
    gx, gy = central_differences(large[0])
    expected = np.gradient(arrays(large[0])[0])
    assert np.allclose(gy[0, 0], expected[0])
    assert np.allclose(gx[0, 0], expected[1])
    line = large[0][:, :, :1]
    assert torch.equal(central_differences(line)[1], torch.zeros_like(line))
