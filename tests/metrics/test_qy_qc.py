"""QY and QC against their definitions window by window, and against published code to the last rounding error."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusionkit.errors import UsageError
from fusionkit.metrics.qy_qc import _accumulated, cvejic, yang
from tests.support.metric_scenes import arrays, scene
from tests.support.published_values import disagreements, published

Image = NDArray[np.float64]


def plain_windows(f: Image, a: Image, b: Image) -> list[tuple[dict[str, float], dict[str, float]]]:
    """For every window the covariances and similarities by pair of names, two-pass."""
    y, x = np.mgrid[-3:4, -3:4]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    result = []
    for top in range(f.shape[0] - 6):
        for left in range(f.shape[1] - 6):
            patches = {k: p[top : top + 7, left : left + 7] for k, p in (("f", f), ("a", a), ("b", b))}
            mean = {k: p[0, 0] + (window * (p - p[0, 0])).sum() for k, p in patches.items()}
            cov = {
                i + j: (window * (patches[i] - mean[i]) * (patches[j] - mean[j])).sum() for i in "fab" for j in "fab"
            }
            cov = {pair: value if abs(value) > 1e-9 else 0.0 for pair, value in cov.items()}
            similar = {
                i + j: (2 * mean[i] * mean[j] + 2e-16)
                / (mean[i] ** 2 + mean[j] ** 2 + 2e-16)
                * (2 * cov[i + j] + 2e-16)
                / (cov[i + i] + cov[j + j] + 2e-16)
                for i in "fab"
                for j in "fab"
            }
            result.append((cov, similar))
    return result


def plain_qy(f: Image, a: Image, b: Image) -> float:
    values = []
    for cov, similar in plain_windows(f, a, b):
        if similar["ab"] >= 0.75:
            total = cov["aa"] + cov["bb"]
            share = cov["aa"] / total if total else 0.5
            values.append(share * similar["fa"] + (1 - share) * similar["fb"])
        else:
            values.append(max(similar["fa"], similar["fb"]))
    return float(np.mean(values))


def plain_qc(f: Image, a: Image, b: Image, clip: str) -> float:
    values = []
    for cov, similar in plain_windows(f, a, b):
        total = cov["fa"] + cov["fb"]
        share = cov["fa"] / total if total else 0.5
        cut = min(max(share, 0.0), 1.0)
        if clip == "quality" and cut != share:
            values.append(cut)
        else:
            values.append(cut * similar["fa"] + (1 - cut) * similar["fb"])
    return float(np.mean(values))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_qy_and_qc_are_their_definitions(seed: int) -> None:
    images = scene(16, 18, seed=seed, smooth=seed > 0)
    assert float(yang(*images)) == pytest.approx(plain_qy(*arrays(*images)), rel=1e-8)
    for clip in ("quality", "weight"):
        value = float(cvejic(*images, clip=clip))
        assert value == pytest.approx(plain_qc(*arrays(*images), clip), rel=1e-8)


def test_sources_that_agree_are_both_asked_and_others_are_not() -> None:
    f, a, _ = scene(20, 20, seed=3)
    near = a + 0.3 * (f - f.mean())
    assert float(yang(near, a, near)) < 1
    assert float(yang(a, a, 255 - a)) == pytest.approx(1, abs=1e-9)
    assert float(yang(a, a, 255 - a, threshold=-2.0)) < 0.9


def test_constant_images_give_the_documented_values() -> None:
    f, a, b = scene(20, 24, seed=4)
    grey = torch.full_like(a, 128)
    for metric in (yang, cvejic):
        assert float(metric(grey, grey, grey)) == 1
        assert float(metric(a, a, a)) == pytest.approx(1, abs=1e-12)
        assert 0 <= float(metric(grey, a + torch.rand_like(a), b + torch.rand_like(b))) < 1e-9
        assert math.isfinite(float(metric(f, grey, grey)))


def test_the_order_of_the_sources_matters_to_qc_as_published_alone() -> None:
    f, a, b = scene(24, 24, seed=5)
    assert float(cvejic(f, a, b)) != pytest.approx(float(cvejic(f, b, a)), rel=1e-3)
    assert float(cvejic(f, a, b, clip="weight")) == pytest.approx(float(cvejic(f, b, a, clip="weight")), rel=1e-9)


def test_rounding_matters_in_flat_windows_alone() -> None:
    f, a, b = (x + torch.rand_like(x) for x in scene(20, 24, seed=6))
    for metric in (yang, cvejic):
        assert float(metric(f, a, b, rounding="toolbox")) == pytest.approx(float(metric(f, a, b)), rel=1e-6)
    a[..., :9, :9] = b[..., :9, :9] = 0
    for metric in (yang, cvejic):
        assert math.isnan(float(metric(f, a, b, rounding="toolbox")))
        assert math.isfinite(float(metric(f, a, b, rounding="toolbox", drop_undefined=True)))
        assert math.isfinite(float(metric(f, a, b)))


def fused_multiply_add(x: float, y: float, z: float) -> float:
    return float(Fraction(x) * Fraction(y) + Fraction(z))


needs_fma = pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() == "DEFAULT", reason="needs a CPU with fused multiply-adds"
)


@needs_fma
def test_toolbox_moments_are_summed_by_columns_with_one_rounding_a_tap() -> None:
    x = torch.rand(1, 1, 9, 8, dtype=torch.float64) * 255
    taps = [math.exp(-(i * i + j * j) / 4.5) for j in range(-3, 4) for i in range(-3, 4)]
    total = 0.0
    for tap in taps:
        total += tap
    result = _accumulated(x)
    for top in range(3):
        for left in range(2):
            value, n = 0.0, 0
            for j in range(6, -1, -1):
                for i in range(6, -1, -1):
                    value = fused_multiply_add(taps[n] / total, float(x[0, 0, top + i, left + j]), value)
                    n += 1
            assert float(result[0, 0, top, left]) == value


@given(st.integers(0, 2**31), st.integers(0, 6))
def test_a_batch_is_its_images_and_the_range_holds(seed: int, wider: int) -> None:
    f, a, b = scene(12, 12 + wider, seed=seed, batch=2)
    for metric in (yang, cvejic, partial(cvejic, clip="weight")):
        together = metric(f, a, b)
        singles = torch.cat([metric(f[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(2)])
        assert torch.allclose(together, singles, rtol=1e-6, atol=1e-9)
        assert bool((together.abs() <= 1 + 1e-9).all())
    assert torch.allclose(yang(f, b, a), yang(f, a, b), rtol=1e-6, atol=1e-9)


def test_float32_gives_the_value_of_float64() -> None:
    images = scene(30, 32, seed=8)
    for metric in (yang, cvejic):
        single = metric(*(x.float() for x in images))
        assert single.dtype == torch.float32
        assert float(single) == pytest.approx(float(metric(*images)), rel=1e-6)


def test_mistakes_are_told() -> None:
    images = scene(12, 12)
    with pytest.raises(UsageError, match="clip 'weights' is unknown: did you mean 'weight'"):
        cvejic(*images, clip="weights")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="rounding 'exakt' is unknown: did you mean 'exact'"):
        yang(*images, rounding="exakt")  # type: ignore[arg-type]


# Triples without a flat window in which published code would average rounding errors.
SOUND = [
    "ivif710_deg",
    "meifair_deg",
    "mfif14_deg",
    "ivif906_lap",
    "road_lap",
    "tno01_avg",
    "s_ivif710_deg",
    "e_f_eq_a",
]


@needs_fma
def test_the_toolbox_gives_the_same_on_every_triple_nan_and_rounding_errors_included() -> None:
    toolbox = {"rounding": "toolbox"}
    assert disagreements(partial(yang, **toolbox), published("QY", "metricYang"), 1e-9) == {}
    assert disagreements(partial(cvejic, **toolbox), published("QC", "metricCvejic"), 1e-9) == {}


@needs_fma
def test_mefb_gives_the_same_on_every_triple() -> None:
    mefb = {"rounding": "toolbox", "drop_undefined": True}
    assert disagreements(partial(yang, **mefb), published("QY", "MEFB"), 1e-9) == {}
    assert disagreements(partial(cvejic, **mefb), published("QC", "MEFB"), 1e-9) == {}


def test_the_standard_agrees_with_the_toolbox_where_no_window_is_flat() -> None:
    assert disagreements(yang, published("QY", "metricYang"), 1e-6, only=SOUND) == {}
