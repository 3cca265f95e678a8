"""Separable filters against scipy, their derivatives, and local moments against sample moments."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from torch import Tensor

from fusionkit.metrics.windows import Window, filter_planes, moments
from tests.support.metric_scenes import arrays, scene


@pytest.fixture(scope="module")
def large() -> tuple[Tensor, ...]:
    return scene(97, 120, seed=11)


@pytest.mark.parametrize("window", [Window(11, 1.5), Window(7), Window(2)], ids=str)
def test_filters_are_scipys_correlation(large: tuple[Tensor, ...], window: Window) -> None:
    (f,) = arrays(large[0])
    taps = np.array(window.taps())
    assert taps.sum() == pytest.approx(1, abs=1e-15)
    expected = scipy.signal.correlate2d(f, np.outer(taps, taps), mode="valid")
    assert np.allclose(filter_planes(large[0], window.taps())[0, 0], expected, rtol=1e-12)
    strided = filter_planes(large[0], window.taps(), stride=2)[0, 0]
    assert np.allclose(strided, expected[::2, ::2], rtol=1e-12)


def test_filters_keep_the_order_of_unequal_taps(large: tuple[Tensor, ...]) -> None:
    taps = (0.5, 0.3, 0.15, 0.05)
    (f,) = arrays(large[0])
    expected = scipy.signal.correlate2d(f, np.outer(taps, taps), mode="valid")
    assert np.allclose(filter_planes(large[0], taps)[0, 0], expected)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_filters_differentiate_forwards_backwards_and_twice(stride: int) -> None:
    def filtered(planes: Tensor) -> Tensor:
        return filter_planes(planes, (0.5, 0.3, 0.15, 0.05), stride=stride)

    planes = torch.rand(2, 2, 11, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(filtered, (planes,), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: filtered(x).square(), (planes,))
    each = torch.func.vmap(lambda x: filtered(x[None])[0])(planes.detach())
    assert torch.equal(each, filtered(planes).detach())


def test_moments_of_a_window_are_the_sample_moments_below_it() -> None:
    f, a, b = scene(9, 9, seed=4)
    m = moments(f, a, b, window=Window(9), sample=True)
    expected = torch.stack([x.flatten() for x in (f, a, b)]).cov()
    assert torch.allclose(m.var_fused.flatten(), expected[0, 0])
    assert torch.allclose(m.var.flatten(), expected.diag()[1:])
    assert torch.allclose(m.cov.flatten(), expected[0, 1:])
    assert torch.allclose(m.mean.flatten(), torch.stack((a.mean(), b.mean())))
