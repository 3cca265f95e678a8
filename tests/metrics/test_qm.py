"""QM against PyWavelets' Haar transform and against Zheng Liu's toolbox."""

from __future__ import annotations

import numpy as np
import pytest
import pywt
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusionkit.metrics.qm import wang_liu
from tests.support.metric_scenes import arrays, scene
from tests.support.published_values import disagreements, published

Image = NDArray[np.float64]


def plain_qm(f: Image, a: Image, b: Image) -> float:
    value = 1.0
    for power in (2 / 3, 1 / 3):
        height, width = (n // 2 * 2 for n in f.shape)
        bands = [pywt.dwt2(x[:height, :width], "haar") for x in (f, a, b)]
        total = weights = 0.0
        for _, details in bands[1:]:
            kept = sum(np.exp(-np.abs(d - df)) for d, df in zip(details, bands[0][1], strict=True))
            weight = sum(d**2 for d in details)
            total += (kept * weight).sum()
            weights += weight.sum()
        value *= (total / weights) ** power
        f, a, b = (low for low, _ in bands)
    return float(value)


@pytest.mark.parametrize(("height", "width"), [(16, 20), (17, 21), (30, 27), (4, 7)])
def test_qm_is_its_definition(height: int, width: int) -> None:
    images = scene(height, width, seed=height)
    assert float(wang_liu(*images)) == pytest.approx(plain_qm(*arrays(*images)), rel=1e-10)


def test_the_best_value_is_three_or_normalised_one() -> None:
    f, a, _ = scene(20, 24, seed=1)
    assert float(wang_liu(a, a, a)) == pytest.approx(3)
    assert float(wang_liu(a, a, a, normalised=True)) == pytest.approx(1)
    assert float(wang_liu(f, a, a, normalised=True)) == pytest.approx(float(wang_liu(f, a, a)) / 3)


def test_constant_images_give_the_documented_values() -> None:
    f, a, _ = scene(20, 24, seed=2)
    grey = torch.full_like(a, 128)
    assert float(wang_liu(grey, grey, grey + 5)) == pytest.approx(3)
    assert float(wang_liu(f, grey, a)) == pytest.approx(float(wang_liu(f, a, a)))
    assert 0 < float(wang_liu(f, grey, grey)) < 3


@given(st.integers(0, 2**31), st.integers(0, 6))
def test_a_batch_is_its_images_the_sources_swap_and_the_range_holds(seed: int, wider: int) -> None:
    f, a, b = scene(12, 12 + wider, seed=seed, batch=2)
    together = wang_liu(f, a, b)
    singles = torch.cat([wang_liu(f[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(2)])
    assert torch.allclose(together, singles, rtol=1e-11)
    assert torch.allclose(wang_liu(f, b, a), together, rtol=1e-11)
    assert bool(((together >= 0) & (together <= 3)).all())


def test_the_toolbox_gives_the_same_on_every_triple() -> None:
    assert disagreements(wang_liu, published("QM", "metricPWW"), 1e-9) == {}
