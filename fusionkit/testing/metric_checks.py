"""Tests a Metric against its contract."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionkit.contracts import Metric, MetricInfo
from fusionkit.errors import FusionkitError
from fusionkit.runtime.precision import float32_products
from fusionkit.testing.examples import example_sources
from fusionkit.testing.module_checks import check_gradient
from fusionkit.testing.rules import Notes, fail, place_of, require, require_close, require_same

_NEEDS = ("fused", "sources", "truth")


def check_metric(
    metric: type[Metric] | Metric, *, size: tuple[int, int] = (33, 40), device: torch.device | str = "cpu"
) -> Notes:
    """Check that a metric keeps its contract.

    Its record is complete; it gives one finite value per sample in the stated range, in the dtype and on the device of
    the fused image, the same for a sample alone and in a batch and at every call; float32 and float64 agree; it takes
    the numbers of sources that it says, in any order where it says so; its least size works; constant images end in a
    value and not in an error; its gradient is right where it claims one.

    Args:
        metric: the class, tried with its default convention, or an instance with another.
        size: height and width of the images that it is tried on.
        device: where to run it, such as what the pytest fixture ``fusionkit_device`` gives.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
        unittest.SkipTest: ``device`` is a CUDA device and there is none here.
    """
    place = place_of(device)
    kind = metric if isinstance(metric, type) else type(metric)
    subject = f"Metric {kind.__name__}"
    require(issubclass(kind, Metric), subject, "it is not a Metric", "subclass Metric")
    info = getattr(kind, "info", None)
    if not isinstance(info, MetricInfo):
        fail(subject, "it has no info", "set the class attribute info to a MetricInfo")
    _check_info(subject, info)
    try:
        measure = metric() if isinstance(metric, type) else metric
    except TypeError as error:
        fail(subject, f"it cannot be built by its defaults ({error})", "give every option of __init__ a default")
    with float32_products():
        _check_behaviour(subject, measure, info, size, place)
    return ()


def _check_behaviour(
    subject: str, measure: Metric, info: MetricInfo, size: tuple[int, int], place: torch.device
) -> None:
    scale = max(1, math.ceil(info.min_size / min(size)))
    height, width = size[0] * scale, size[1] * scale
    values: dict[torch.dtype, Tensor] = {}
    for count in (2,) if info.sources == "two" else (1, 3, 2):
        for dtype in (torch.float32, torch.float64):
            values[dtype] = _check_values(subject, measure, info, _images((height, width), count, dtype, place))
    remedy = "compute in the dtype of the fused image, or in float64 throughout"
    what = "float32 and float64 images give other values"
    require_close(subject, what, values[torch.float32].double(), values[torch.float64], 1e-3, remedy)
    fused, sources, truth = _images((info.min_size, info.min_size), 2, torch.float64, place)
    _measure(subject, measure, fused, sources, truth)
    _check_constants(subject, measure, info, (height, width), place)
    if info.differentiable:
        # Whole levels tie, and a minimum or a maximum has no derivative at a tie.
        least = (max(8, info.min_size), max(9, info.min_size))
        fused, sources, truth = _images(least, 2, torch.float64, place, between=True)

        def value(leaf: Mapping[str, Tensor]) -> Tensor:
            return measure(leaf["fused image"], *sources, truth=truth)

        check_gradient(subject, "its value", value, {"fused image": fused})


def _images(
    size: tuple[int, int], count: int, dtype: torch.dtype, place: torch.device, *, between: bool = False
) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    """A fused image, its sources and the truth, of whole grey levels as files hold them, or ``between`` those."""
    drawn = example_sources(size, count=count + 2, batch=3, dtype=torch.float64, device=place, seed=5)
    levels = [image * 255 if between else (image * 255).round() for image in drawn]
    return levels[0].to(dtype), tuple(level.to(dtype) for level in levels[1:-1]), levels[-1].to(dtype)


def _check_info(subject: str, info: MetricInfo) -> None:
    for field in dataclasses.fields(info):
        value = getattr(info, field.name)
        blank = field.name not in ("aliases", "bibtex") and (
            value == () or (isinstance(value, str) and not value.strip())
        )
        require(not blank, subject, f"info.{field.name} is blank", "say it, or write that there is none")
    low, high = info.range
    require(low < high, subject, f"info.range is {info.range}", "give the least and the greatest value, in that order")
    require(info.needs in _NEEDS, subject, f"info.needs is {info.needs!r}", f"set it to one of {', '.join(_NEEDS)}")
    counts = info.sources in ("two", "any")
    require(counts, subject, f"info.sources is {info.sources!r}", 'set it to "two" or "any"')
    require(info.min_size >= 1, subject, f"info.min_size is {info.min_size}", "set it to 1 or more")


def _measure(subject: str, measure: Metric, fused: Tensor, sources: Sequence[Tensor], truth: Tensor) -> Tensor:
    kept = [image.clone() for image in (fused, *sources, truth)]
    try:
        with torch.no_grad():
            value = measure(fused, *sources, truth=truth)
    except (RuntimeError, ValueError, IndexError, TypeError, FusionkitError) as error:
        reason = " ".join(str(error).split())[:200]
        remedy = "take any size from info.min_size on, and constant images too"
        fail(subject, f"it fails on {fused.dtype} images {tuple(fused.shape)} ({reason})", remedy)
    for image, before in zip((fused, *sources, truth), kept, strict=True):
        require_same(subject, "it changes its inputs in place", image, before, "work on a copy")
    fits = isinstance(value, Tensor) and value.shape == fused.shape[:1] and value.dtype == fused.dtype
    shown = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    found = f"{fused.dtype} images {tuple(fused.shape)} give {shown}"
    require(fits, subject, found, f"return {fused.dtype} ({fused.shape[0]},): one value per sample")
    found = f"images on {fused.device} give values on {value.device}"
    require(value.device == fused.device, subject, found, "compute on the device of the fused image")
    return value


def _check_values(
    subject: str, measure: Metric, info: MetricInfo, images: tuple[Tensor, tuple[Tensor, ...], Tensor]
) -> Tensor:
    fused, sources, truth = images
    values = _measure(subject, measure, fused, sources, truth)
    require(bool(torch.isfinite(values).all()), subject, f"textured images give {values.tolist()}", "guard divisions")
    low, high = info.range
    slack = 1e-4 * max(1.0, *(abs(end) for end in (low, high) if math.isfinite(end)), 1.0)
    within = bool(((values >= low - slack) & (values <= high + slack)).all())
    require(within, subject, f"values {values.tolist()} lie outside of info.range {info.range}", "correct one of them")
    again = _measure(subject, measure, fused, sources, truth)
    require_same(subject, "two equal calls give other values", again, values, "draw nothing at random")
    tolerance = 1e-4 if fused.dtype == torch.float32 else 1e-9
    if info.symmetric:
        swapped = _measure(subject, measure, fused, sources[::-1], truth)
        what = "it says symmetric, and the sources in another order give other values"
        require_close(subject, what, swapped, values, tolerance, "set info.symmetric to False")
    singles = [
        _measure(subject, measure, fused[k : k + 1], [s[k : k + 1] for s in sources], truth[k : k + 1])
        for k in range(len(fused))
    ]
    what = "the values of a batch are not those of its samples"
    require_close(subject, what, values, torch.cat(singles), tolerance, "treat samples apart")
    return values


def _check_constants(
    subject: str, measure: Metric, info: MetricInfo, size: tuple[int, int], place: torch.device
) -> None:
    black = torch.zeros(1, 1, *size, dtype=torch.float64, device=place)
    for level in (0.0, 128.0, 255.0):
        for other in (level, 255.0 - level):
            value = _measure(subject, measure, black + level, [black + other] * 2, black + level)
            found = f"constant images of {level:g} and {other:g} give {float(value[0])}"
            fits = not math.isinf(float(value[0])) or float(value[0]) in info.range
            require(fits, subject, found, "give the limit, or NaN where there is none, or widen info.range")
