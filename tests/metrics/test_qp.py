"""Phase congruency and QP against their definitions with explicit filters, and against Zheng Liu's toolbox."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusionkit.metrics.phase_congruency import phase_congruency
from fusionkit.metrics.qp import zhao
from tests.support.metric_scenes import arrays, scene
from tests.support.published_values import disagreements, published

Image = NDArray[np.float64]


def plain_filters(height: int, width: int) -> list[list[Image]]:
    """Kovesi's filters by orientation and scale, one frequency after the other, frequency 0 at [0, 0]."""
    filters = [[np.zeros((height, width)) for _ in range(4)] for _ in range(6)]
    for row in range(-(height // 2), height - height // 2):
        for column in range(-(width // 2), width - width // 2):
            x, y = column / (width - width % 2), row / (height - height % 2)
            if x == y == 0:
                continue
            radius, angle = math.hypot(x, y), math.atan2(-y, x)
            # The low-pass is laid out from the middle of its own grid, which for odd sides is one step off.
            lp_row = (row + height % 2 + height // 2) % height - height // 2
            lp_column = (column + width % 2 + width // 2) % width - width // 2
            low_pass = 1 / (1 + (math.hypot(lp_row / height, lp_column / width) / 0.45) ** 30)
            for o in range(6):
                turn = angle - o * math.pi / 6
                distance = abs(math.atan2(math.sin(turn), math.cos(turn)))
                spread = math.exp(-(distance**2) / (2 * (math.pi / 6 / 1.2) ** 2))
                for s in range(4):
                    log_gabor = math.exp(-(math.log(radius * 3 * 2.1**s) ** 2) / (2 * math.log(0.55) ** 2))
                    filters[o][s][row, column] = log_gabor * low_pass * spread
    return filters


def plain_congruency(image: Image) -> tuple[Image, Image, Image]:
    spectrum = np.fft.fft2(image)
    energies, amplitudes = np.zeros_like(image), np.zeros_like(image)
    xx, yy, xy = np.zeros_like(image), np.zeros_like(image), np.zeros_like(image)
    for o, filters in enumerate(plain_filters(*image.shape)):
        responses = [np.fft.ifft2(spectrum * f) for f in filters]
        mean = sum(responses) / (np.abs(sum(responses)) + 1e-4)
        energy = sum(
            r.real * mean.real + r.imag * mean.imag - np.abs(r.real * mean.imag - r.imag * mean.real) for r in responses
        )
        # The noise of the filters' real parts, summed over pixels in space.
        spatial = [np.fft.ifft2(f).real * math.sqrt(image.size) for f in filters]
        noise_power = np.median(np.abs(responses[0]) ** 2) / math.log(2) / (filters[0] ** 2).sum()
        squares = sum((s**2).sum() for s in spatial)
        products = sum((spatial[i] * spatial[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = math.sqrt((2 * noise_power * squares + 4 * noise_power * products) / 2)
        threshold = (tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)) / 1.7
        amplitude = sum(np.abs(r) for r in responses)
        width = amplitude / (np.max([np.abs(r) for r in responses], axis=0) + 1e-4) / 4
        energy = np.maximum(energy - threshold, 0) / (1 + np.exp((0.5 - width) * 10))
        energies += energy
        amplitudes += amplitude
        quotient = energy / amplitude
        x, y = quotient * math.cos(o * math.pi / 6), quotient * math.sin(o * math.pi / 6)
        xx, yy, xy = xx + x**2, yy + y**2, xy + x * y
    xx, yy, xy = xx / 3, yy / 3, xy / 6
    root = np.sqrt(xy**2 + (xx - yy) ** 2) + 1e-4
    return energies / (amplitudes + 1e-4), (xx + yy + root) / 2, (xx + yy - root) / 2


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


@pytest.mark.parametrize(("height", "width"), [(32, 36), (31, 36), (30, 33), (33, 35)])
def test_phase_congruency_is_its_definition_for_even_and_odd_sides(height: int, width: int) -> None:
    image = scene(height, width, seed=height)[1]
    for ours, plain in zip(phase_congruency(image), plain_congruency(*arrays(image)), strict=True):
        assert np.allclose(ours[0, 0].numpy(), plain, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(("height", "width", "smooth"), [(32, 36, True), (31, 33, False)])
def test_qp_is_its_definition(height: int, width: int, smooth: bool) -> None:
    images = scene(height, width, seed=7, smooth=smooth)
    assert float(zhao(*images)) == pytest.approx(plain_qp(*arrays(*images)), rel=1e-7)


def test_phase_congruency_sees_edges_whatever_their_contrast() -> None:
    edges = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    edges[..., 16:48, 16:48] = 10
    faint, strong = phase_congruency(edges), phase_congruency(20 * edges)
    assert torch.allclose(faint.total, strong.total, atol=2e-3)
    assert float(faint.total[0, 0, 30:34, 16].min()) > 0.5 > float(faint.total[0, 0, 28:36, 28:36].max())
    corner, side = faint.least[0, 0, 15:18, 15:18].max(), faint.least[0, 0, 30:34, 15:18].max()
    assert float(corner) > 2 * float(side)


def test_constant_and_black_images_give_the_documented_values() -> None:
    f, a, b = scene(32, 40, seed=3)
    grey, black = torch.full_like(a, 0.1), torch.zeros_like(a)
    assert all(not bool(m.isnan().any()) for m in phase_congruency(grey))
    assert not phase_congruency(grey).total.any()
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
