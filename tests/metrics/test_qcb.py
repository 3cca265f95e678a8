"""QCB against its definition with explicit Fourier sums, and against Zheng Liu's toolbox."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.metrics.qcb import chen_blum
from tests.support.metric_scenes import arrays, scene
from tests.support.plain_contrast import plain_qcb
from tests.support.published_values import disagreements, published

# In the black background of this image the contrast is a quotient of rounding errors: numpy's, scipy's and torch's
# transforms give .6719, .6716 and .6704, Octave's .6709.
ILL_CONDITIONED = "mripet_lap"


@pytest.mark.parametrize(("height", "width", "seed"), [(24, 30, 0), (33, 27, 1), (20, 35, 2)])
def test_qcb_is_its_definition(height: int, width: int, seed: int) -> None:
    images = scene(height, width, seed=seed, smooth=False)
    assert float(chen_blum(*images)) == pytest.approx(plain_qcb(*arrays(*images)), rel=1e-7)


def test_equal_images_are_best_and_a_gain_is_free() -> None:
    _, a, _ = scene(40, 44, seed=3)
    a = torch.where(a == a.max(), 255.0, a)
    half = (a / 5).floor() * 5
    assert float(chen_blum(half, half, half)) == pytest.approx(1, abs=1e-12)
    assert float(chen_blum(half / 5 + 17, half, half)) == pytest.approx(1, abs=1e-6)


def test_constant_images_give_the_documented_values() -> None:
    f, a, b = scene(32, 36, seed=4)
    grey = torch.full_like(a, 128)
    assert float(chen_blum(grey, grey, grey + 5)) == 1
    assert float(chen_blum(grey, a, b)) == 0
    assert float(chen_blum(f, grey, grey)) == 0
    assert float(chen_blum(f, grey, b)) == float(chen_blum(f, b, b))


def test_published_behaviour_on_constants_is_an_option() -> None:
    f, a, b = scene(32, 36, seed=5)
    grey = torch.full_like(a, 128)
    for images in ((f, grey, b), (f, a, grey), (grey, a, b)):
        assert math.isnan(float(chen_blum(*images, undefined=math.nan)))
    assert math.isnan(float(chen_blum(f, torch.zeros_like(a), b, undefined=math.nan)))
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
    together = chen_blum(f, a, b)
    singles = torch.cat([chen_blum(f[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(2)])
    assert torch.allclose(together, singles, rtol=1e-8)
    assert torch.allclose(chen_blum(f, b, a), together, rtol=1e-8)
    assert bool(((together >= 0) & (together <= 1)).all())


def test_float32_gives_the_value_of_float64() -> None:
    images = scene(50, 60, seed=8)
    single = chen_blum(*(x.float() for x in images))
    assert single.dtype == torch.float32
    assert float(single) == pytest.approx(float(chen_blum(*images)), rel=1e-6)


def test_the_toolbox_gives_the_same_on_every_triple() -> None:
    for code, unit_range in (("metricChenBlum", True), ("MEFB", True), ("VIFB", False)):
        values = published("QCB", code)
        qcb = partial(chen_blum, unit_range=unit_range, undefined=math.nan)
        assert set(disagreements(qcb, values, 1e-6)) <= {ILL_CONDITIONED}
        assert disagreements(qcb, values, 2e-3, only=[ILL_CONDITIONED]) == {}
        crops = [name for name in values if name.startswith("s_")]
        assert disagreements(partial(chen_blum, unit_range=unit_range), values, 1e-9, only=crops) == {}
