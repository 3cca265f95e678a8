"""QCB and QCV against their definitions with explicit Fourier sums, and against Zheng Liu's toolbox."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusionkit.metrics.qcb import chen_blum
from fusionkit.metrics.qcv import chen_varshney
from tests.support.metric_scenes import arrays, scene
from tests.support.published_values import disagreements, published

Image = NDArray[np.float64]

# In the black background of this image the contrast is a quotient of rounding errors: numpy's, scipy's and torch's
# transforms give .6719, .6716 and .6704, Octave's .6709.
ILL_CONDITIONED = "mripet_lap"


def plain_stretch(x: Image, divisor: float = 1.0) -> Image:
    x = x / divisor
    if x.max() == x.min():
        return np.zeros_like(x)
    return np.floor((x - x.min()) / (x.max() - x.min()) * 255 + 0.5)


def plain_filter(x: Image, response: Callable[[float], float], degrees: float) -> Image:
    """Filter by Fourier sums over frequencies -n/2 .. n/2, written out as matrices of complex exponentials."""
    height, width = x.shape
    rows, columns = np.arange(height) - height // 2, np.arange(width) - width // 2
    down = np.exp(-2j * np.pi * np.outer(rows, np.arange(height)) / height)
    across = np.exp(-2j * np.pi * np.outer(columns, np.arange(width)) / width)
    # The frequency (width / degrees) * (2 u / width) does not depend on the size.
    gain = np.array([[response(2 * math.hypot(u, v) / degrees) for u in columns] for v in rows])
    spectrum = down @ x @ across.T * gain
    return (down.conj().T @ spectrum @ across.conj() / x.size).real


def plain_gaussian(x: Image, sigma: float) -> Image:
    offsets = np.arange(-15, 16)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    padded = np.pad(x, 15)
    return np.array(
        [[(padded[i : i + 31, j : j + 31] * kernel).sum() for j in range(x.shape[1])] for i in range(x.shape[0])]
    )


def plain_qcb(f: Image, a: Image, b: Image, divisor: float = 255) -> float:
    def masked(x: Image) -> Image:
        x = plain_filter(
            plain_stretch(x, divisor),
            lambda r: math.exp(-((r / 15.387) ** 2)) - 0.7622 * math.exp(-((r / 1.3456) ** 2)),
            30,
        )
        contrast = np.abs(plain_gaussian(x, 2) / plain_gaussian(x, 4) - 1)
        return contrast**3 / (contrast**2 + 1e-4)

    cf, ca, cb = masked(f), masked(a), masked(b)
    qa, qb = np.minimum(ca, cf) / np.maximum(ca, cf), np.minimum(cb, cf) / np.maximum(cb, cf)
    return float(np.mean((ca**2 * qa + cb**2 * qb) / (ca**2 + cb**2)))


def plain_qcv(f: Image, a: Image, b: Image) -> float:
    f, a, b = plain_stretch(f), plain_stretch(a), plain_stretch(b)
    height, width = f.shape
    numerator = denominator = 0.0
    for x in (a, b):
        p = np.pad(x, 1)
        edges = np.zeros_like(x)
        for i in range(height):
            for j in range(width):
                w = p[i : i + 3, j : j + 3]
                gx = w[:, 2] @ [1, 2, 1] - w[:, 0] @ [1, 2, 1]
                gy = w[2] @ [1, 2, 1] - w[0] @ [1, 2, 1]
                edges[i, j] = math.hypot(gx, gy)
        seen = plain_filter(x - f, lambda r: 2.6 * (0.0192 + 0.144 * r) * math.exp(-((0.144 * r) ** 1.1)), 8)
        for i in range(0, height, 16):
            for j in range(0, width, 16):
                saliency = (edges[i : i + 16, j : j + 16] ** 5).sum()
                numerator += saliency * (seen[i : i + 16, j : j + 16] ** 2).sum() / 256
                denominator += saliency
    return numerator / denominator


@pytest.mark.parametrize(("height", "width", "seed"), [(24, 30, 0), (33, 27, 1), (20, 35, 2)])
def test_qcb_and_qcv_are_their_definitions(height: int, width: int, seed: int) -> None:
    images = scene(height, width, seed=seed, smooth=False)
    assert float(chen_blum(*images)) == pytest.approx(plain_qcb(*arrays(*images)), rel=1e-7)
    assert float(chen_varshney(*images)) == pytest.approx(plain_qcv(*arrays(*images)), rel=1e-10)


def test_equal_images_are_best_and_a_gain_is_free() -> None:
    _, a, _ = scene(40, 44, seed=3)
    a = torch.where(a == a.max(), 255.0, a)
    half = (a / 5).floor() * 5
    assert float(chen_blum(half, half, half)) == pytest.approx(1, abs=1e-12)
    assert float(chen_varshney(half, half, half)) == 0
    assert float(chen_blum(half / 5 + 17, half, half)) == pytest.approx(1, abs=1e-6)
    assert float(chen_varshney(half / 5 + 17, half, half)) == pytest.approx(0, abs=1e-12)


def test_constant_images_give_the_documented_values() -> None:
    f, a, b = scene(32, 36, seed=4)
    grey = torch.full_like(a, 128)
    assert float(chen_blum(grey, grey, grey + 5)) == 1
    assert float(chen_blum(grey, a, b)) == 0
    assert float(chen_blum(f, grey, grey)) == 0
    assert float(chen_blum(f, grey, b)) == float(chen_blum(f, b, b))
    assert float(chen_varshney(grey, grey, grey - 9)) == 0
    assert float(chen_varshney(f, grey, b)) == float(chen_varshney(f, torch.zeros_like(a), b))
    assert float(chen_varshney(f, grey, grey)) > 0


def test_published_behaviour_on_constants_is_an_option() -> None:
    f, a, b = scene(32, 36, seed=5)
    grey = torch.full_like(a, 128)
    for images in ((f, grey, b), (f, a, grey), (grey, a, b)):
        assert math.isnan(float(chen_blum(*images, undefined=math.nan)))
        assert math.isnan(float(chen_varshney(*images, undefined=math.nan)))
    assert math.isnan(float(chen_blum(f, torch.zeros_like(a), b, undefined=math.nan)))
    assert math.isfinite(float(chen_varshney(f, torch.zeros_like(a), b, undefined=math.nan)))
    assert torch.equal(chen_blum(f, a, b, undefined=math.nan), chen_blum(f, a, b))


def test_ties_of_the_stretch_are_rounded_as_in_the_code_that_is_followed() -> None:
    # With grey levels 0..102 the stretch is times 2.5: every odd level is a tie, which a division by 255 unsettles.
    images = tuple((x * (102 / x.max())).round() for x in scene(24, 26, seed=6, smooth=False))
    by_unit, by_grey = (float(chen_blum(*images, unit_range=unit)) for unit in (True, False))
    assert by_unit == pytest.approx(plain_qcb(*arrays(*images), divisor=255), rel=1e-7)
    assert by_grey == pytest.approx(plain_qcb(*arrays(*images), divisor=1), rel=1e-7)
    assert by_unit != pytest.approx(by_grey, rel=1e-6)


@given(st.integers(0, 2**31), st.integers(0, 9), st.integers(0, 9))
def test_a_batch_is_its_images_the_sources_swap_and_the_range_holds(seed: int, taller: int, wider: int) -> None:
    f, a, b = scene(18 + taller, 18 + wider, seed=seed, batch=2)
    for metric, low, high in ((chen_blum, 0, 1), (chen_varshney, 0, math.inf)):
        together = metric(f, a, b)
        singles = torch.cat([metric(f[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(2)])
        assert torch.allclose(together, singles, rtol=1e-8)
        assert torch.allclose(metric(f, b, a), together, rtol=1e-8)
        assert bool(((together >= low) & (together <= high)).all())


def test_float32_gives_the_value_of_float64() -> None:
    images = scene(50, 60, seed=8)
    for metric in (chen_blum, chen_varshney):
        single = metric(*(x.float() for x in images))
        assert single.dtype == torch.float32
        assert float(single) == pytest.approx(float(metric(*images)), rel=1e-6)


def test_the_toolbox_gives_the_same_qcb_on_every_triple() -> None:
    for code, unit_range in (("metricChenBlum", True), ("MEFB", True), ("VIFB", False)):
        values = published("QCB", code)
        qcb = partial(chen_blum, unit_range=unit_range, undefined=math.nan)
        assert set(disagreements(qcb, values, 1e-6)) <= {ILL_CONDITIONED}
        assert disagreements(qcb, values, 2e-3, only=[ILL_CONDITIONED]) == {}
        crops = [name for name in values if name.startswith("s_")]
        assert disagreements(partial(chen_blum, unit_range=unit_range), values, 1e-9, only=crops) == {}


def test_the_toolbox_gives_the_same_qcv_on_every_triple() -> None:
    for code in ("metricChen.m", "MEFB"):
        assert disagreements(partial(chen_varshney, undefined=math.nan), published("QCV", code), 1e-9) == {}
