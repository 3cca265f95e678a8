"""FMI against its definition window by window, and against its authors' code."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pywt
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fusionkit.errors import UsageError
from fusionkit.metrics import fmi as module
from fusionkit.metrics.fmi import Feature, feature_map, feature_mutual_information
from fusionkit.metrics.native import library
from fusionkit.metrics.native.library import FORMS, NativeFMI, load_form, load_native_fmi
from fusionkit.runtime.compiling import library_name
from tests.support.metric_scenes import arrays, scene
from tests.support.published_values import disagreements, published

Image = NDArray[np.float64]
FEATURES: tuple[Feature, ...] = ("pixels", "gradient", "dct", "wavelet")


def plain_feature(x: Image, feature: Feature) -> Image:
    if feature == "pixels":
        return x
    if feature == "gradient":
        return np.gradient(x, axis=1)
    if feature == "dct":
        return scipy.fft.dctn(x, norm="ortho")
    low, (horizontal, vertical, diagonal) = pywt.dwt2(x, "dmey")
    tiles = np.block([[low, horizontal], [vertical, diagonal]])
    return (tiles - tiles.min()) / np.ptp(tiles)


def plain_window(x: Image, y: Image) -> float:
    """Of two patches, by the distribution functions of the Frechet bounds."""
    if (x == y).all() or np.ptp(x) == np.ptp(y) == 0:
        return 1.0
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    p, q = (((z - z.min()) / np.ptp(z)).T.ravel() for z in (x, y))
    p, q = p / p.sum(), q / q.sum()
    count = len(p)
    position = np.arange(1, count + 1)
    c = np.corrcoef(p, q)[0, 1]
    sd_p, sd_q = (math.sqrt(max((position**2 * r).sum() - (position * r).sum() ** 2, 0)) for r in (p, q))
    # Distribution functions with a row and column of zeros before the first position.
    cp, cq = np.concatenate(([0.0], np.cumsum(p))), np.concatenate(([0.0], np.cumsum(q)))
    bound = np.minimum.outer(cp, cq) if c >= 0 else np.maximum(np.add.outer(cp, cq) - 1, 0)
    phi = 0.0
    if sd_p > 0 and sd_q > 0:
        covariance = (bound - np.outer(cp, cq))[1:, 1:].sum()
        phi = c * sd_p * sd_q / covariance
    joint = phi * np.diff(np.diff(bound, axis=0), axis=1) + (1 - phi) * np.outer(p, q)
    entropy_p, entropy_q, entropy = (-sum(v * math.log(abs(v)) for v in r.flat if v) for r in (p, q, joint))
    total = entropy_p + entropy_q
    return 2 * (total - entropy) / total if total > 0 else 0.0


def plain_fmi(fused: Image, sources: list[Image], feature: Feature, side: int = 3) -> float:
    f, *rest = (plain_feature(x, feature) for x in (fused, *sources))
    return float(
        np.mean(
            [
                plain_window(s[i : i + side, j : j + side], f[i : i + side, j : j + side])
                for s in rest
                for i in range(f.shape[0] - side + 1)
                for j in range(f.shape[1] - side + 1)
            ]
        )
    )


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("feature", FEATURES)
def test_fmi_is_its_definition(feature: Feature) -> None:
    images = scene(15, 13, seed=1, smooth=False) if feature == "wavelet" else scene(20, 18, seed=1)
    fused, *sources = arrays(*images)
    # Flat areas of a wavelet band are rounding errors, which depend on the order of the sums.
    tolerance = 1e-3 if feature == "wavelet" else 1e-9
    value = float(feature_mutual_information(*images, feature=feature))
    assert value == pytest.approx(plain_fmi(fused, sources, feature), rel=tolerance)


@pytest.mark.usefixtures("form")
def test_windows_of_other_sides_and_three_sources_are_taken() -> None:
    f, a, b = scene(12, 14, seed=2)
    c = scene(12, 14, seed=3)[1]
    fused, *sources = arrays(f, a, b, c)
    plain = plain_fmi(fused, sources, "pixels", side=5)
    assert float(feature_mutual_information(f, a, b, c, window=5)) == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize("feature", FEATURES)
def test_the_features_are_those_of_scipy_numpy_and_pywavelets(feature: Feature) -> None:
    image = scene(21, 26, seed=4)[0]
    ours = feature_map(image, feature=feature)[0, 0].numpy()
    assert np.allclose(ours, plain_feature(*arrays(image), feature), rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("feature", FEATURES)
def test_copies_score_one_and_constant_images_what_is_documented(feature: Feature) -> None:
    f, a, b = scene(24, 20, seed=5)
    grey = torch.full_like(a, 128)
    fmi = partial(feature_mutual_information, feature=feature)
    assert float(fmi(a, a, a)) == 1
    assert float(fmi(grey, grey, grey)) == 1
    assert all(0 <= float(v) < 1 for v in (fmi(grey, a, b), fmi(f, grey, b), fmi(f, grey, grey)))
    if feature in ("pixels", "gradient"):
        ramp = torch.arange(24.0).double()[:, None].square() + torch.arange(20.0).square()
        assert float(fmi(grey, ramp[None, None], ramp[None, None])) == pytest.approx(0, abs=1e-12)


@pytest.fixture(params=[None, *FORMS], ids=["torch", *FORMS])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """The form that computes FMI, in turn."""
    if request.param is not None and (native := _native(request.param)) is None:
        pytest.skip(f"the form {request.param} is not compiled, or not for this processor")
    monkeypatch.setattr(module, "load_native_fmi", lambda: None if request.param is None else native)
    return request.param


def _native(form: str) -> NativeFMI | None:
    try:
        portable = load_form("portable")
        return portable if form == "portable" or not portable.library.fusionkit_fmi_has_avx2() else load_form(form)
    except OSError:
        return None


@settings(max_examples=25)
@given(
    st.integers(0, 2**31), st.integers(0, 150), st.sampled_from((3, 5)), st.integers(1, 3), st.sampled_from(FEATURES)
)
def test_the_native_forms_give_what_pytorch_gives(
    seed: int, wider: int, window: int, sources: int, feature: Feature
) -> None:
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(1 + sources, 2, 1, 13, 13 + wider, generator=draw).double()
    images[0, 0] = (images[0, 0] * 4).round()  # ties, flat windows and equal ones
    images[1, 0] = (images[0, 0] - images[1, 0].round()).clamp(min=0)
    features = [feature_map(x, feature=feature) for x in images]
    expected = module._summed(features, window)
    for native in filter(None, map(_native, FORMS)):
        assert torch.allclose(native(features, window), expected, rtol=1e-9)


def test_threads_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    native = _native("portable")
    if native is None:
        pytest.skip("nothing is compiled")
    images = scene(150, 20, seed=9, batch=2)
    whole = native(images, 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.allclose(native(images, 3), whole, rtol=1e-12)


def test_without_a_library_one_debug_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "load_form", lambda form: load_form(form, tmp_path))
    with caplog.at_level("DEBUG", logger="fusionkit"):
        assert load_native_fmi.__wrapped__() is None
    assert [record.getMessage() for record in caplog.records] == [
        "FMI is computed by PyTorch: the native form portable was not compiled when fusionkit was installed"
    ]
    (tmp_path / library_name("fmi", "portable")).write_bytes(b"nothing")
    with pytest.raises(OSError, match="cannot be loaded"):
        load_form("portable", tmp_path)


def test_slabs_of_any_height_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_native_fmi", lambda: None)
    images = scene(23, 17, seed=6, batch=2)
    whole = feature_mutual_information(*images)
    for windows in (1, 100, 300):
        monkeypatch.setattr(module, "WINDOWS_AT_ONCE", {"cpu": windows})
        assert torch.allclose(feature_mutual_information(*images), whole, rtol=1e-12)


@given(st.integers(0, 2**31), st.integers(0, 9), st.booleans())
def test_a_batch_is_its_images_the_sources_swap_and_none_is_negative(seed: int, wider: int, smooth: bool) -> None:
    f, a, b = scene(13, 13 + wider, seed=seed, batch=2, smooth=smooth)
    for feature in ("pixels", "dct"):
        fmi = partial(feature_mutual_information, feature=feature)
        together = fmi(f, a, b)
        singles = torch.cat([fmi(f[i : i + 1], a[i : i + 1], b[i : i + 1]) for i in range(2)])
        assert torch.allclose(together, singles, rtol=1e-9)
        assert torch.allclose(fmi(f, b, a), together, rtol=1e-9)
        assert bool((together >= 0).all())


def test_float32_gives_the_value_of_float64() -> None:
    images = scene(30, 32, seed=8)
    for feature in FEATURES:
        single = feature_mutual_information(*(x.float() for x in images), feature=feature)
        assert single.dtype == torch.float32
        assert float(single) == pytest.approx(float(feature_mutual_information(*images, feature=feature)), rel=1e-6)


def test_mistakes_are_told() -> None:
    images = scene(12, 12)
    with pytest.raises(UsageError, match="feature 'pixel' is unknown: did you mean 'pixels'"):
        feature_mutual_information(*images, feature="pixel")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="window 4 is out of range"):
        feature_mutual_information(*images, window=4)


@pytest.mark.parametrize(
    ("feature", "name"), [("pixels", "none"), ("gradient", "gradient"), ("dct", "dct"), ("wavelet", "w")]
)
def test_the_authors_code_gives_the_same(feature: Feature, name: str) -> None:
    fmi = partial(feature_mutual_information, feature=feature)
    assert disagreements(fmi, published(f"FMI_{name}", "analysis_fmi.m"), 1e-9) == {}
    # A port of it, for images that would take the original an hour.
    values = published(f"FMI_{name}", "fmi_port.py")
    some = [triple for triple in values if triple[:2] in ("s_", "t_")] + ["mrict11_lap"]
    assert disagreements(fmi, values, 1e-9, only=some) == {}
