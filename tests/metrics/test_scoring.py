"""Scores of a batch say their profile, keep the graph, and hide nothing that is undefined."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from fusionkit.errors import DataError, PluginError, UsageError
from fusionkit.metrics import Scores, build, evaluate, score
from fusionkit.metrics.inputs import MetricInputs
from fusionkit.metrics.naming import profile_metrics
from fusionkit.metrics.profiles import PROFILES
from fusionkit.metrics.spatial_frequency import SF
from fusionkit.plugins import catalogue
from tests.support.metric_scenes import scene


def test_scores_are_those_of_the_single_metrics() -> None:
    images = scene(48, 50, batch=2)
    found = score(*images, metrics=["en", "SSIM", "VIFp", "MI"], profile="cddfuse")
    assert found.profile == "cddfuse"
    assert list(found) == ["EN", "SSIM", "VIFp", "MI"]
    assert len(found) == 4
    for name in found:
        assert torch.equal(found[name], build(name, "cddfuse")(*images))
    assert found.mean()["EN"] == pytest.approx(float(found["EN"].mean()))
    assert found.rows()[1]["MI"] == float(found["MI"][1])
    assert str(found).splitlines()[0] == "profile cddfuse"


@pytest.mark.parametrize("profile", ["refusion", "tdfusion", "cddfuse", "tang", "vifb"])
def test_without_names_a_profile_gives_all_its_metrics(profile: str) -> None:
    found = score(*scene(48, 48), profile=profile)
    assert list(found) == list(profile_metrics(PROFILES[profile]))
    assert not found.skipped


def test_without_names_only_what_can_be_computed_is() -> None:
    f, a, b = scene(48, 48)
    needs = {name: build(name).info.needs for name in catalogue.metrics.names()}
    assert list(score(f)) == [name for name, needed in needs.items() if needed == "fused"]
    assert set(score(f, a, b)) == {name for name, needed in needs.items() if needed != "truth"}
    assert set(score(f, a, b, truth=a)) == set(needs)
    one = score(f, a)
    assert "SSIM" in one
    assert "SCD" not in one


def test_small_images_leave_nan_and_a_reason_unless_the_metric_was_asked_for() -> None:
    images = scene(20, 20, batch=2)
    found = score(*images)
    assert found["VIFp"].isnan().all()
    assert found["VIFp"].shape == (2,)
    assert found.skipped["VIFp"] == "VIFp needs images of at least 41x41 pixels, these are 20x20"
    assert math.isnan(found.mean()["VIFp"])
    with pytest.raises(DataError, match="VIFp needs images of at least 41x41"):
        score(*images, metrics=["VIFp"])


def test_a_mean_does_not_pass_over_an_undefined_value() -> None:
    scores = Scores("standard", {"CC": torch.tensor([0.5, math.nan])})
    assert math.isnan(scores.mean()["CC"])


def test_scores_carry_gradients() -> None:
    f, a, b = scene(24, 24)
    f.requires_grad_()
    found = score(f, a, b, metrics=["SSIM", "SCD", "EN"])
    (found["SSIM"] + found["SCD"]).sum().backward()
    assert f.grad is not None
    assert f.grad.abs().sum() > 0
    assert not found["EN"].requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x - 200, "fused: values from -200 to"),
        (lambda x: x * 2, "metrics take finite grey levels in 0..255"),
        (lambda x: x * math.nan, "fused: values from nan to nan"),
        (lambda x: x / 0.0, "finite grey levels"),
    ],
)
def test_values_that_are_no_grey_levels_are_refused(change: object, message: str) -> None:
    f, a, b = scene(12, 12)
    with pytest.raises(DataError, match=message):
        score(change(f), a, b, metrics=["EN"])  # type: ignore[operator]


def test_images_in_0_to_1_are_refused_and_black_ones_are_not() -> None:
    images = scene(12, 12)
    with pytest.raises(DataError, match=r"lie in 0\.\.1.*multiply the images by 255"):
        score(*(x / 255 for x in images), metrics=["EN"])
    black = torch.zeros(1, 1, 12, 12)
    assert score(black, black, black, metrics=["EN"])["EN"].item() == 0


def test_a_missing_truth_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="PSNR-truth compares with the true result: give the truth"):
        score(*scene(12, 12), metrics=["PSNR-truth"])


def test_a_broken_plugin_is_a_reason_and_not_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.metrics, "_registered", {})

    class Broken(SF):
        info = SF.info.__class__(**{**SF.info.__dict__, "name": "Broken"})

        def __init__(self, weights: str) -> None:
            super().__init__()

    catalogue.metrics.register("Broken", Broken)
    images = scene(12, 12)
    found = score(*images)
    assert "cannot be built" in found.skipped["Broken"]
    assert found["Broken"].isnan().all()
    assert found["EN"].isfinite().all()
    with pytest.raises(PluginError, match="Broken"):
        score(*images, metrics=["Broken"])


def test_a_plugin_that_gives_another_shape_is_named() -> None:
    class Map(SF):
        def measure(self, scene: MetricInputs) -> Tensor:
            return scene.fused

    with pytest.raises(PluginError, match=r"metric 'Map' gave shape \(2, 1, 12, 12\) for 2 images"):
        evaluate(MetricInputs(*scene(12, 12, batch=2)), {"Map": Map()}, profile="standard")
