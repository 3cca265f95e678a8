"""Shared intermediate results are computed once, and wrong images are refused with a remedy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from fusionkit.contracts import Metric, MetricInfo
from fusionkit.errors import DataError, UsageError
from fusionkit.metrics import MetricInputs, build, evaluate
from fusionkit.metrics.inputs import check_inputs, no_cache
from tests.support.metric_scenes import scene


def test_once_calls_a_function_once_for_equal_arguments() -> None:
    calls = []

    def twice(x: Tensor, *, by: float = 2.0) -> Tensor:
        calls.append((id(x), by))
        return x * by

    f, a, _ = scene(12, 12)
    inputs = MetricInputs(f, a)
    first = inputs.cache(twice, f)
    assert inputs.cache(twice, f) is first
    assert torch.equal(inputs.cache(twice, a), a * 2)
    assert torch.equal(inputs.cache(twice, f, by=3.0), f * 3)
    assert len(calls) == 3
    assert no_cache(twice, f) is not no_cache(twice, f)


def test_once_keeps_apart_tensors_that_came_and_went() -> None:
    inputs = MetricInputs(scene(12, 12)[0])
    sums = [float(inputs.cache(torch.sum, torch.full((3,), float(i)))) for i in range(50)]
    assert sums == [3.0 * i for i in range(50)]


def test_metrics_of_the_same_inputs_share_their_intermediates(monkeypatch: pytest.MonkeyPatch) -> None:
    from fusionkit.metrics import ms_ssim, ssim

    count = 0
    plain = ssim.moments

    def counted(*images: Tensor, **settings: object) -> object:
        nonlocal count
        count += 1
        return plain(*images, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(ssim, "moments", counted)
    monkeypatch.setattr(ms_ssim, "moments", counted)
    images = scene(161, 161)
    together = evaluate(MetricInputs(*images), {n: build(n) for n in ("SSIM", "MS-SSIM")}, profile="standard")
    assert count == 1
    for name in together:
        assert torch.equal(together[name], build(name)(*images))


@pytest.mark.parametrize(
    ("fused", "source", "message"),
    [
        (torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), r"expected a luminance batch \(B, 1, H, W\), got shape"),
        (torch.zeros(8, 8), torch.zeros(8, 8), "expected a luminance batch"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, 1, 8, 8), "expected a luminance batch"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 8, 8), "float32 or float64"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 9), "source 1: shape .* differs from fused"),
        (torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 8, 8).double(), "source 1: torch.float64 on cpu differs"),
    ],
)
def test_images_that_do_not_fit_are_refused(fused: Tensor, source: Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        MetricInputs(fused, source)


def test_missing_sources_and_truth_are_named() -> None:
    f, a, b = scene(20, 20)
    with pytest.raises(UsageError, match="SCD is defined for two sources, got 1"):
        build("SCD")(f, a)
    with pytest.raises(UsageError, match="CC compares with the sources: give at least one"):
        build("CC")(f)
    with pytest.raises(UsageError, match="SSIM-truth compares with the true result"):
        build("SSIM-truth")(f, a, b)
    assert build("MI")(f, a, b, a).shape == (1,)


def test_least_size_follows_the_window_of_the_convention() -> None:
    images = scene(8, 8)
    assert build("SSIM", "cddfuse")(*images).isfinite().all()
    assert build("SSIM", "tang")(*images).isfinite().all()
    with pytest.raises(DataError, match="SSIM needs images of at least 11x11 pixels, these are 8x8"):
        build("SSIM")(*images)


def test_a_third_party_metric_needs_a_call_alone() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Darkness(Metric):
        info: ClassVar[MetricInfo] = MetricInfo(
            name="Darkness",
            title="darkness",
            measures="how dark it is",
            higher_is_better=False,
            range=(0.0, 255.0),
            unit="grey levels",
            paper="none",
            equation="255 - mean F",
            needs="fused",
            min_size=4,
        )

        def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
            return 255 - fused.mean((1, 2, 3))

    f, a, b = scene(12, 12, batch=2)
    found = evaluate(MetricInputs(f, a, b), {"Darkness": Darkness()}, profile="standard")
    assert torch.allclose(found["Darkness"], 255 - f.mean((1, 2, 3)))
    with pytest.raises(DataError, match="at least 4x4"):
        check_inputs(Darkness(), MetricInputs(f[..., :3, :]))
