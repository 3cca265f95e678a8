"""What must hold for every registered metric, under its standard convention and under every profile."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fusionkit.contracts import Metric, MetricInfo
from fusionkit.errors import DataError
from fusionkit.metrics import build
from fusionkit.metrics.naming import conventions
from fusionkit.metrics.score_report import describe
from fusionkit.plugins import catalogue
from tests.support.metric_scenes import degenerate, scene

NAMES = [entry.name for entry in catalogue.metrics.entries() if entry.built_in]
PAIRS = [(profile, name) for name in NAMES for profile in conventions(name)]


def least_size(metric: Metric) -> int:
    return max(int(getattr(metric, "min_size", metric.info.min_size)), 12)


def call(metric: Metric, images: tuple[Tensor, ...]) -> Tensor:
    return metric(*images, truth=images[1]) if metric.info.needs == "truth" else metric(*images)


def values_of(name: str, images: tuple[Tensor, ...], profile: str = "standard") -> Tensor:
    with torch.no_grad():
        return call(build(name, profile), images)


def test_the_metrics_of_the_field_are_there() -> None:
    wanted = "EN SD SF AG EI MI NMI QMI QTE QNCIE CE CC SCD MSE RMSE PSNR SSIM MS-SSIM VIFp VIFF Qabf Nabf Labf"
    others = "CC-a CC-b PSNR-truth SSIM-truth VIFp-truth"
    assert set(wanted.split()) | set(others.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_info_leaves_nothing_blank(name: str) -> None:
    info = build(name).info
    assert info.name == name
    for part in fields(MetricInfo):
        value = getattr(info, part.name)
        assert value is not None
        assert value != "" or part.name == "bibtex"
        assert value != () or part.name in ("aliases", "bibtex")
        if isinstance(value, str):
            assert value == value.strip()
            assert "\n" not in value
    assert info.range[0] < info.range[1]
    assert info.needs in ("fused", "sources", "truth")


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_single_images(name: str) -> None:
    size = least_size(build(name))
    images = scene(size, size + 3, seed=1, batch=3)
    together = values_of(name, images)
    assert together.shape == (3,)
    singles = torch.cat([values_of(name, tuple(x[i : i + 1] for x in images)) for i in range(3)])
    assert torch.allclose(together, singles, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_alone(name: str) -> None:
    size = least_size(build(name))
    images = scene(size, size, seed=2)
    before = [image.clone() for image in images]
    values_of(name, images)
    assert all(torch.equal(x, y) for x, y in zip(images, before, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_sources_matters_where_said(name: str) -> None:
    metric = build(name)
    if metric.info.needs != "sources":
        pytest.skip("takes no sources")
    f, a, b = scene(least_size(metric) + 4, least_size(metric), seed=3)
    there, back = values_of(name, (f, a, b)), values_of(name, (f, b, a))
    if metric.info.symmetric:
        assert torch.allclose(there, back, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_values_keep_to_the_range_on_any_images(name: str) -> None:
    metric = build(name)
    low, high = metric.info.range
    size = least_size(metric)

    @given(st.integers(0, 2**31), st.integers(0, 7), st.integers(0, 7), st.booleans())
    def holds(seed: int, taller: int, wider: int, smooth: bool) -> None:
        value = float(values_of(name, scene(size + taller, size + wider, seed=seed, smooth=smooth)))
        assert low - 1e-9 <= value <= high + 1e-9

    holds()


@pytest.mark.parametrize("name", NAMES)
def test_the_standard_is_defined_on_every_image(name: str) -> None:
    metric = build(name)
    size = least_size(metric)
    low, high = metric.info.range
    for kind, images in degenerate(size + 1, size).items():
        value = float(values_of(name, images))
        assert not math.isnan(value), kind
        assert low - 1e-9 <= value <= high + 1e-9, kind
        if math.isinf(value):
            assert "inf" in metric.info.undefined, kind


@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (3, 1), (2, 2), (3, 3)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_images_have_a_value_in_range_or_are_refused(name: str, shape: tuple[int, int]) -> None:
    metric = build(name)
    low, high = metric.info.range
    draw = torch.Generator().manual_seed(3)
    for kind in ("noise", "constant", "equal"):
        images = tuple(255 * torch.rand(1, 1, *shape, dtype=torch.float64, generator=draw) for _ in range(3))
        if kind == "constant":
            images = tuple(torch.full_like(x, float(x[0, 0, 0, 0])) for x in images)
        elif kind == "equal":
            images = (images[0],) * 3
        if min(shape) < int(getattr(metric, "min_size", 1)):
            with pytest.raises(DataError, match="at least"):
                call(metric, images)
            continue
        value = float(values_of(name, images))
        assert low - 1e-9 <= value <= high + 1e-9, kind
        assert math.isfinite(value) or "inf" in metric.info.undefined, kind


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("grey", [0.1, 127.3, 254.9])
def test_constant_fractional_images_have_no_contrast_and_no_correlation(grey: float, dtype: torch.dtype) -> None:
    f, a, b = (x.to(dtype) for x in scene(40, 50, seed=7))
    flat = torch.full_like(f, grey)
    assert float(build("SD")(flat)) == 0
    assert float(build("CC")(flat, a, b)) == 0
    assert float(build("SCD")(f, flat, flat)) == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_scd_of_a_source_that_differs_by_a_constant_leaves_that_term_out(dtype: torch.dtype) -> None:
    f, a, _ = (x.to(dtype).clamp(0, 200) for x in scene(40, 50, seed=7))
    one = torch.corrcoef(torch.stack(((f - a).flatten(), (f + 40).flatten())).double())[0, 1]
    assert float(build("SCD")(f, a, f + 40)) == pytest.approx(float(one), rel=1e-5)


@pytest.mark.parametrize(("profile", "name"), PAIRS)
def test_a_profile_gives_nan_only_where_it_says_so(profile: str, name: str) -> None:
    metric = build(name, profile)
    settings = describe(metric)
    says_so = any(value == "nan" or (isinstance(value, float) and math.isnan(value)) for value in settings.values())
    says_so = says_so or "nan" in metric.info.undefined
    # The settings under which the toolbox's own NaN comes through.
    says_so = says_so or settings.get("drop_undefined") is True or settings.get("finite") is False
    size = least_size(metric)
    for kind, images in degenerate(size, size + 2).items():
        value = float(values_of(name, images, profile))
        assert says_so or not math.isnan(value), kind


@pytest.mark.parametrize("name", NAMES)
def test_float32_is_close_to_float64(name: str) -> None:
    size = max(least_size(build(name)), 48)
    images = scene(size, size + 16, seed=4, batch=2)
    double = values_of(name, images)
    single = values_of(name, tuple(x.float() for x in images))
    assert single.dtype == torch.float32
    # Thresholds (Nabf, Labf) and a quotient of two filters (QCB) magnify rounding.
    tolerance = {"Qabf": 1e-3, "Nabf": 1e-3, "Labf": 1e-3, "QCB": 1e-2}.get(name, 1e-4)
    assert torch.allclose(single.double(), double, rtol=tolerance, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_differentiable_metrics_pass_gradcheck(name: str) -> None:
    metric = build(name)
    if not metric.info.differentiable:
        pytest.skip("not differentiable")
    size = least_size(metric)
    f, a, b = scene(size, size + 1, seed=6)
    draw = torch.Generator().manual_seed(0)
    # Fractions keep clear of the kinks at equal pixels and flat windows.
    f, a, b = (x + torch.rand(x.shape, generator=draw, dtype=torch.float64) for x in (f, a, b))
    f.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: call(metric, (x, a, b)), (f,), fast_mode=True, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_on_flat_images(name: str) -> None:
    metric = build(name)
    if not metric.info.differentiable:
        pytest.skip("not differentiable")
    size = least_size(metric)
    for kind, (fused, a, b) in degenerate(size, size).items():
        f = fused.clone().requires_grad_()
        value = call(metric, (f, a, b))
        if not torch.isfinite(value).all():
            continue
        value.sum().backward()
        assert f.grad is not None
        assert torch.isfinite(f.grad).all(), kind


@pytest.mark.parametrize("name", NAMES)
def test_too_small_images_are_refused_in_one_line(name: str) -> None:
    metric = build(name)
    size = int(getattr(metric, "min_size", 1))
    if size == 1:
        value = values_of(name, (torch.full((1, 1, 1, 1), 7.0),) * 3)
        assert not value.isnan().any()
        return
    images = (torch.zeros(1, 1, size - 1, size + 5),) * 3
    with pytest.raises(DataError, match=f"at least {size}x{size} pixels, these are {size - 1}x{size + 5}"):
        call(metric, images)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_what_the_cpu_gives(name: str) -> None:
    size = max(least_size(build(name)), 48)
    images = scene(size, size + 5, seed=8, batch=2)
    there = values_of(name, tuple(x.cuda() for x in images))
    assert there.is_cuda
    assert torch.allclose(there.cpu(), values_of(name, images), rtol=1e-8, atol=1e-10)
