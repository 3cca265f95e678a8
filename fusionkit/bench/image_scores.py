"""Scores of fused images, metric by metric: one that fails does not stop the others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from fusionkit.bench.records import MetricUse
from fusionkit.contracts import Metric
from fusionkit.errors import FusionkitError, UsageError
from fusionkit.metrics.image_files import read_inputs
from fusionkit.metrics.inputs import MetricInputs, unit_of
from fusionkit.metrics.naming import build, resolve, settings_of
from fusionkit.metrics.profiles import find_profile
from fusionkit.metrics.scoring import evaluate_each
from fusionkit.plugins import catalogue
from fusionkit.plugins.guard import run_guarded
from fusionkit.tasks import Task

__all__ = [
    "INFINITE",
    "UNDEFINED",
    "ImageScores",
    "choose_metrics",
    "metric_use",
    "present_use",
    "score_image",
    "score_inputs",
    "use_key",
]

UNDEFINED = "not defined on this image"
"""Reason for a value that is not a number: by the convention the formula is 0/0 there. Nothing failed."""

INFINITE = "infinite on this image"
"""Reason for a value that is infinite, as the PSNR of equal images. Nothing failed."""


@dataclass(frozen=True)
class ImageScores:
    """The scores of one image.

    Attributes:
        height: in pixels.
        width: in pixels.
        scores: metric -> value, None where there is none.
        reasons: metric -> why there is none.
    """

    height: int
    width: int
    scores: Mapping[str, float | None]
    reasons: Mapping[str, str]


def choose_metrics(task: Task, names: Sequence[str] | None, profile: str) -> dict[str, Metric]:
    """The metrics to compare methods by, built under a profile.

    Args:
        task: whose metrics are taken where none are named: those of them that the profile has.
        names: what is asked for, in any case.
        profile: the convention.

    Raises:
        fusionkit.errors.UsageError: an unknown name or profile, or a metric that the profile does not have.
        fusionkit.errors.PluginError: a metric's plugin cannot be used.
    """
    chosen = find_profile(profile)
    if names is not None:
        return {name: build(name, profile) for name in resolve(names)}
    default: dict[str, Metric] = {}
    for name in task.metrics:
        try:
            settings_of(name, chosen)
        except UsageError:
            continue
        default[name] = build(name, profile)
    if not default:
        raise UsageError(f"profile {profile!r} has none of {', '.join(task.metrics)}: name metrics with --metric")
    return default


@cache
def metric_use(name: str, profile: str) -> MetricUse:
    """Describe how a metric is computed now: the version of its distribution, and what the profile sets.

    Raises:
        fusionkit.errors.FusionkitError: it cannot be built.
    """
    metric = build(name, profile)
    info = metric.info
    return MetricUse(
        version=catalogue.metrics.entry(name).origin,
        settings={field: str(value) for field, value in settings_of(name, find_profile(profile)).items()},
        higher_is_better=info.higher_is_better,
        unit=unit_of(metric),
    )


def present_use(name: str, profile: str) -> MetricUse | None:
    """As :func:`metric_use`; None for a metric that cannot be computed here, such as one of a plugin that is gone."""
    try:
        return metric_use(name, profile)
    except FusionkitError:
        return None


def use_key(use: MetricUse) -> str:
    """A short digest of how a metric is computed: equal keys give comparable values."""
    return hashlib.sha256(use.model_dump_json(include={"version", "settings"}).encode()).hexdigest()[:16]


def score_image(
    fused: Path,
    sources: Sequence[Path],
    metrics: Mapping[str, Metric],
    *,
    truth: Path | None,
    profile: str,
    device: torch.device,
) -> ImageScores:
    """Score a saved image by the 8-bit luminance of its file.

    Raises:
        fusionkit.plugins.guard.PluginCallFailed: a file cannot be read, or is of another size than the fused image.
    """
    return score_inputs(run_guarded(lambda: read_inputs(fused, *sources, truth=truth, device=device)), metrics, profile)


def score_inputs(inputs: MetricInputs, metrics: Mapping[str, Metric], profile: str) -> ImageScores:
    """Score an image that is read already."""
    values, reasons = evaluate_each(inputs, metrics, profile=profile)
    for name, value in values.items():
        if not math.isfinite(value):
            reasons[name] = UNDEFINED if math.isnan(value) else INFINITE
    scores = {name: None if name in reasons else values[name] for name in metrics}
    height, width = inputs.fused.shape[2:]
    return ImageScores(height, width, scores, reasons)
