"""QP against its definition with explicit filters, and against Zheng Liu's toolbox."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusionkit.metrics.qp import zhao
from tests.support.metric_scenes import arrays, scene
from tests.support.plain_congruency import plain_congruency
from tests.support.published_values import disagreements, published

Image = NDArray[np.float64]


def plain_smooth(x: Image) -> Image:
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    p = np.pad(x, 5)
    return np.array(
        [[(window * p[i : i + 11, j : j + 11]).sum() for j in range(x.shape[1])] for i in range(x.shape[0])]
    )


def plain_qp(f: Image, a: Image, b: Image) -> float:
    maps_f, maps_a, maps_b = plain_congruency(f), plain_congruency(a), plain_congruency(b)
    leads = maps_a[0] > maps_b[0]
    greater = np.where(leads, maps_a[0], maps_b[0])
    value = 1.0
    for mf, ma, mb in zip(maps_f, maps_a, maps_b, strict=True):
        best = np.full(f.shape, -np.inf)
        for total, source in ((maps_a[0], ma), (maps_b[0], mb), (greater, np.where(leads, ma, mb))):
            mask = total > 0.1
            source = np.where(mask, source, 0)
            mean_s, mean_f = plain_smooth(source), plain_smooth(mf)
            cov = plain_smooth(source * mf) - mean_s * mean_f
            scale = np.sqrt(np.abs((plain_smooth(source**2) - mean_s**2) * (plain_smooth(mf**2) - mean_f**2)))
            best = np.maximum(best, np.where(mask, (cov + 1e-4) / (scale + 1e-4), 0))
        value *= best.sum() / (greater > 0.1).sum()
    return float(value)


@pytest.mark.parametrize(("height", "width", "smooth"), [(32, 36, True), (31, 33, False)])
def test_qp_is_its_definition(height: int, width: int, smooth: bool) -> None:
    images = scene(height, width, seed=7, smooth=smooth)
    assert float(zhao(*images)) == pytest.approx(plain_qp(*arrays(*images)), rel=1e-7)


def test_constant_and_black_images_give_the_documented_values() -> None:
    f, a, b = scene(32, 40, seed=3)
    grey, black = torch.full_like(a, 0.1), torch.zeros_like(a)
    assert float(zhao(grey, a, b)) == 0
    assert float(zhao(grey, black, grey)) == 1
    assert float(zhao(f, grey, black)) == 0
    assert float(zhao(f, grey, b)) == pytest.approx(float(zhao(f, black, b)))
    assert 0 < float(zhao(f, grey, b)) < 1


def test_published_behaviour_on_constant_images_is_an_option() -> None:
    f, a, b = scene(32, 40, seed=4)
    black = torch.zeros_like(a)
    assert math.isnan(float(zhao(f, black, b, finite=False)))
    assert math.isnan(float(zhao(black, a, b, finite=False)))
    assert float(zhao(torch.full_like(f, 9), a, b, finite=False)) > 0.9
    assert torch.equal(zhao(f, a, b, finite=False), zhao(f, a, b))


@settings(max_examples=10)
@given(st.integers(0, 2**31), st.integers(0, 5))
def test_a_batch_is_its_images_the_sources_swap_and_the_range_holds(seed: int, wider: int) -> None:
    f, a, b = scene(24, 24 + wider, seed=seed, batch=2)
    together = zhao(f, a, b)
    singles = torch.cat([zhao(f[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(2)])
    assert torch.allclose(together, singles, rtol=1e-8)
    assert torch.allclose(zhao(f, b, a), together, rtol=1e-8)
    assert bool((together.abs() <= 1).all())


def test_float32_gives_the_value_of_float64() -> None:
    images = scene(40, 44, seed=8)
    single = zhao(*(x.float() for x in images))
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(zhao(*images)), rel=1e-6)


def test_the_toolbox_gives_the_same() -> None:
    values = published("QP", "metricZhao")
    small = [name for name in values if name[:2] in ("s_", "e_")]
    large = ["ivif710_lap", "road_max", "mrict11_avg", "mfif5_max"]
    assert disagreements(partial(zhao, finite=False), values, 1e-8, only=small + large) == {}
    assert set(disagreements(zhao, values, 1e-8, only=small)) == {"e_a_zero", "e_all_const", "e_f_const"}
