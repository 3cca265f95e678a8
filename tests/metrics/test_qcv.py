"""QCV against its definition with explicit Fourier sums, and against Zheng Liu's toolbox."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.metrics.qcv import chen_varshney
from tests.support.metric_scenes import arrays, scene
from tests.support.plain_contrast import plain_qcv
from tests.support.published_values import disagreements, published


@pytest.mark.parametrize(("height", "width", "seed"), [(24, 30, 0), (33, 27, 1), (20, 35, 2)])
def test_qcv_is_its_definition(height: int, width: int, seed: int) -> None:
    images = scene(height, width, seed=seed, smooth=False)
    assert float(chen_varshney(*images)) == pytest.approx(plain_qcv(*arrays(*images)), rel=1e-10)


def test_equal_images_are_best_and_a_gain_is_free() -> None:
    _, a, _ = scene(40, 44, seed=3)
    a = torch.where(a == a.max(), 255.0, a)
    half = (a / 5).floor() * 5
    assert float(chen_varshney(half, half, half)) == 0
    assert float(chen_varshney(half / 5 + 17, half, half)) == pytest.approx(0, abs=1e-12)


def test_constant_images_give_the_documented_values() -> None:
    f, a, b = scene(32, 36, seed=4)
    grey = torch.full_like(a, 128)
    assert float(chen_varshney(grey, grey, grey - 9)) == 0
    assert float(chen_varshney(f, grey, b)) == float(chen_varshney(f, torch.zeros_like(a), b))
    assert float(chen_varshney(f, grey, grey)) > 0


def test_published_behaviour_on_constants_is_an_option() -> None:
    f, a, b = scene(32, 36, seed=5)
    grey = torch.full_like(a, 128)
    for images in ((f, grey, b), (f, a, grey), (grey, a, b)):
        assert math.isnan(float(chen_varshney(*images, undefined=math.nan)))
    assert math.isfinite(float(chen_varshney(f, torch.zeros_like(a), b, undefined=math.nan)))


@given(st.integers(0, 2**31), st.integers(0, 9), st.integers(0, 9))
def test_a_batch_is_its_images_the_sources_swap_and_the_range_holds(seed: int, taller: int, wider: int) -> None:
    f, a, b = scene(18 + taller, 18 + wider, seed=seed, batch=2)
    together = chen_varshney(f, a, b)
    singles = torch.cat([chen_varshney(f[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(2)])
    assert torch.allclose(together, singles, rtol=1e-8)
    assert torch.allclose(chen_varshney(f, b, a), together, rtol=1e-8)
    assert bool(((together >= 0) & (together <= math.inf)).all())


def test_float32_gives_the_value_of_float64() -> None:
    images = scene(50, 60, seed=8)
    single = chen_varshney(*(x.float() for x in images))
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(chen_varshney(*images)), rel=1e-6)


def test_the_toolbox_gives_the_same_on_every_triple() -> None:
    for code in ("metricChen.m", "MEFB"):
        assert disagreements(partial(chen_varshney, undefined=math.nan), published("QCV", code), 1e-9) == {}
