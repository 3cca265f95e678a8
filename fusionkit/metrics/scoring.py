"""Score fused images by several metrics under one profile, with shared intermediate results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fusionkit.contracts import Metric
from fusionkit.errors import DataError, PluginError
from fusionkit.metrics.inputs import CachingMetric, MetricInputs, check_inputs, lacking
from fusionkit.metrics.naming import build, profile_metrics, resolve
from fusionkit.metrics.profiles import find_profile
from fusionkit.plugins.guard import PluginCallFailed, plugin_call, run_guarded
from fusionkit.runtime.precision import float32_products

__all__ = ["Scores", "applicable_metrics", "evaluate", "evaluate_each", "score"]


@dataclass(frozen=True)
class Scores:
    """Values of several metrics for a batch of images.

    Attributes:
        profile: the profile of the values.
        values: metric -> ``(B,)``.
        skipped: metric -> reason why its values are all NaN (images too small, a broken plugin). Empty where the
            metrics were requested by name, since an error is raised then.
    """

    profile: str
    values: Mapping[str, Tensor]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, metric: str) -> Tensor:
        return self.values[metric]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def mean(self) -> dict[str, float]:
        """Mean of each metric over the batch; NaN if any value is NaN, since a mean over fewer images would hide it."""
        return {name: float(values.detach().double().mean()) for name, values in self.values.items()}

    def rows(self) -> list[dict[str, float]]:
        """One mapping ``metric -> value`` per image."""
        columns = {name: values.detach().double().tolist() for name, values in self.values.items()}
        count = max((len(column) for column in columns.values()), default=0)
        return [{name: column[i] for name, column in columns.items()} for i in range(count)]

    def __str__(self) -> str:
        lines = [f"profile {self.profile}", *(f"{name:10} {value:.6g}" for name, value in self.mean().items())]
        return "\n".join(lines)


def score(
    fused: Tensor,
    *sources: Tensor,
    truth: Tensor | None = None,
    metrics: Iterable[str] | None = None,
    profile: str = "standard",
) -> Scores:
    """Score a batch of fused images.

    >>> fused = torch.arange(256.0).view(1, 1, 16, 16)
    >>> round(score(fused, fused, metrics=["EN"])["EN"].item(), 6)
    8.0

    Args:
        fused: ``(B, 1, H, W)`` luminance on the 0..255 scale, float32 or float64.
        sources: the sources, same shape, dtype and device.
        truth: the known result where there is one.
        metrics: names, in any case; None for all metrics of the profile that can be computed from the given images. If
            the images are too small for one of those, its values are NaN and ``skipped`` has the reason.
        profile: the convention, see :func:`fusionkit.metrics.profiles`.

    Returns:
        The values. They keep the graph, so that the differentiable metrics serve as losses.

    Raises:
        UsageError: an unknown metric or profile, a metric that the profile does not have, or a missing truth.
        DataError: shapes that differ, values outside 0..255 or not finite, images too small for a metric asked for.
        PluginError: a requested metric belongs to a broken plugin.
    """
    inputs = MetricInputs(fused, *sources, truth=truth)
    _check_scale(inputs)
    if metrics is not None:
        return evaluate(inputs, {name: build(name, profile) for name in resolve(metrics)}, profile=profile)
    chosen, skipped = applicable_metrics(profile, sources=len(sources), truth=truth is not None)
    return evaluate(inputs, chosen, profile=profile, skip=True, skipped=skipped)


def applicable_metrics(profile: str, *, sources: int, truth: bool) -> tuple[dict[str, Metric], dict[str, str]]:
    """Build every metric of a profile that can be computed from so many images.

    Args:
        profile: the convention.
        sources: number of sources.
        truth: whether the true result is known.

    Returns:
        Name -> metric, and name -> reason for those whose plugin cannot be used.

    Raises:
        UsageError: an unknown profile.
    """
    chosen: dict[str, Metric] = {}
    unusable: dict[str, str] = {}
    for name in profile_metrics(find_profile(profile)):
        try:
            metric = build(name, profile)
        except PluginError as error:
            unusable[name] = str(error)
            continue
        if not lacking(metric, sources=sources, truth=truth):
            chosen[name] = metric
    return chosen, unusable


def evaluate_each(
    inputs: MetricInputs, metrics: Mapping[str, Metric], *, profile: str
) -> tuple[dict[str, float], dict[str, str]]:
    """Compute metrics of one image, one by one: what fails costs its own value only.

    Args:
        inputs: one image with its sources.
        metrics: label -> metric.
        profile: the label of the result.

    Returns:
        Label -> value, NaN and infinite where the definition says so; label -> reason for those that failed.
    """
    values: dict[str, float] = {}
    reasons: dict[str, str] = {}
    for name, metric in metrics.items():
        try:
            values[name] = run_guarded(lambda n=name, m=metric: float(evaluate(inputs, {n: m}, profile=profile)[n]))  # type: ignore[misc]
        except PluginCallFailed as error:
            reasons[name] = str(error)
    return values, reasons


def evaluate(
    inputs: MetricInputs,
    metrics: Mapping[str, Metric],
    *,
    profile: str,
    skip: bool = False,
    skipped: Mapping[str, str] | None = None,
) -> Scores:
    """Compute metrics that are already built.

    Args:
        inputs: the images.
        metrics: label -> metric.
        profile: the label of the result.
        skip: where the images are too small for a metric, return NaN with a reason instead of raising an error.
        skipped: metric -> reason, for metrics that could not be built.

    Raises:
        DataError: the images are too small for a metric, unless ``skip``.
        PluginError: a metric raises, or returns anything but a tensor ``(B,)``.
    """
    values: dict[str, Tensor] = {}
    reasons = dict(skipped or {})
    count = inputs.fused.shape[0]
    for name, metric in metrics.items():
        try:
            check_inputs(metric, inputs)
        except DataError as error:
            if not skip:
                raise
            reasons[name] = str(error)
            values[name] = inputs.fused.new_full((count,), torch.nan)
            continue
        with plugin_call(type(metric), "score these images"), float32_products():
            if isinstance(metric, CachingMetric):
                values[name] = metric.measure(inputs)
            else:
                values[name] = metric(inputs.fused, *inputs.sources, truth=inputs.truth)
        if not isinstance(values[name], Tensor):
            kind = type(values[name]).__name__
            raise PluginError(f"metric {name!r} gave a {kind}: it must give a tensor ({count},)")
        shape = tuple(values[name].shape)
        if shape != (count,):
            raise PluginError(f"metric {name!r} gave shape {shape} for {count} images: it must give ({count},)")
    for name in reasons:
        values.setdefault(name, inputs.fused.new_full((count,), torch.nan))
    return Scores(profile, values, reasons)


def _check_scale(inputs: MetricInputs) -> None:
    """Raise an error for values that cannot be grey levels, such as images in [0, 1]."""
    images = [("fused", inputs.fused), *((f"source {i + 1}", s) for i, s in enumerate(inputs.sources))]
    if inputs.truth is not None:
        images.append(("truth", inputs.truth))
    greatest = 0.0
    for name, image in images:
        low, high = (float(x) for x in image.detach().aminmax())
        if not (low >= 0 and high <= 255):
            raise DataError(f"{name}: values from {low:g} to {high:g}: metrics take finite grey levels in 0..255")
        greatest = max(greatest, high)
    fractional = any(bool((image.detach() % 1 != 0).any()) for _, image in images) if 0 < greatest <= 1 else False
    if fractional:
        raise DataError("all images lie in 0..1: metrics take grey levels in 0..255: multiply the images by 255")
