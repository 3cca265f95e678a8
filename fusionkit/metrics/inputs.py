"""Inputs of a metric: fused images, their sources and the truth, with a cache of intermediate results.

Several metrics need the same histograms, window moments or Sobel responses of the same images. A metric function asks
for them through its ``cache`` argument; :meth:`MetricInputs.cache` computes each only once per batch of images.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor

from fusionkit.contracts import Metric
from fusionkit.errors import DataError, UsageError
from fusionkit.runtime.freed_memory import keep_freed_memory

__all__ = ["Cache", "CachingMetric", "MetricInputs", "check_inputs", "lacking", "no_cache", "unit_of"]

P = ParamSpec("P")
T = TypeVar("T")


class Cache(Protocol):
    """Call ``function`` on the arguments, or return the result of an earlier equal call."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


def no_cache(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """The :class:`Cache` that stores nothing: ``function(*args, **kwargs)``."""
    return function(*args, **kwargs)


class MetricInputs:
    """A batch of fused images with their sources and, where known, the true result.

    Args:
        fused: ``(B, 1, H, W)`` on the 0..255 scale, float32 or float64.
        sources: one tensor per source, of the same shape, dtype and device.
        truth: the true result, of the same shape, dtype and device.

    Raises:
        DataError: a tensor has another shape, dtype or device than ``fused``.
    """

    def __init__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> None:
        if fused.ndim != 4 or fused.shape[1] != 1 or fused.numel() == 0:
            raise DataError(f"fused: expected a luminance batch (B, 1, H, W), got shape {tuple(fused.shape)}")
        if fused.dtype not in (torch.float32, torch.float64):
            raise DataError(f"fused: metrics take float32 or float64 on the 0..255 scale, got {fused.dtype}")
        others = [(f"source {i + 1}", s) for i, s in enumerate(sources)]
        if truth is not None:
            others.append(("truth", truth))
        for name, image in others:
            if image.shape != fused.shape:
                raise DataError(f"{name}: shape {tuple(image.shape)} differs from fused {tuple(fused.shape)}")
            if image.dtype != fused.dtype or image.device != fused.device:
                raise DataError(
                    f"{name}: {image.dtype} on {image.device} differs from fused {fused.dtype} on {fused.device}"
                )
        keep_freed_memory()
        self.fused = fused
        self.sources = sources
        self.truth = truth
        # The arguments are kept beside the result: a key holds ids of tensors, which must not be reused.
        self._results: dict[Hashable, tuple[Any, Any]] = {}

    def cache(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(*args, **kwargs)``, computed only at the first of several equal calls.

        Tensors are equal if they are the same object; every other argument must be hashable.
        """
        key = (function, tuple(map(_key, args)), tuple((k, _key(v)) for k, v in sorted(kwargs.items())))
        if key not in self._results:
            self._results[key] = (function(*args, **kwargs), args)
        result: T = self._results[key][0]
        return result


class CachingMetric(Metric):
    """Base class of the built-in metrics, which share intermediate results through the cache of their inputs."""

    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        inputs = MetricInputs(fused, *sources, truth=truth)
        check_inputs(self, inputs)
        return self.measure(inputs)

    @property
    def min_size(self) -> int:
        """Minimum height and width of the images under this convention."""
        return self.info.min_size

    @property
    def unit(self) -> str:
        """Unit of the value under this convention."""
        return self.info.unit

    @abstractmethod
    def measure(self, inputs: MetricInputs) -> Tensor:
        """Compute the values ``(B,)``; the inputs have passed :func:`check_inputs`."""


def check_inputs(metric: Metric, inputs: MetricInputs) -> None:
    """Raise an error if a metric is not defined on these images.

    Raises:
        UsageError: the sources or the truth are missing, or there are more sources than it takes.
        DataError: the images are too small.
    """
    info = metric.info
    problem = lacking(metric, sources=len(inputs.sources), truth=inputs.truth is not None)
    if problem:
        raise UsageError(problem)
    height, width = inputs.fused.shape[-2:]
    least = metric.min_size if isinstance(metric, CachingMetric) else info.min_size
    if min(height, width) < least:
        raise DataError(f"{info.name} needs images of at least {least}x{least} pixels, these are {height}x{width}")


def lacking(metric: Metric, *, sources: int, truth: bool) -> str:
    """Say what a metric needs beside the fused image and does not have; "" where nothing is lacking.

    Args:
        metric: the metric.
        sources: number of sources.
        truth: whether the true result is known.
    """
    info = metric.info
    if info.needs == "truth" and not truth:
        return f"{info.name} compares with the true result: give the truth image"
    if info.needs == "sources" and not sources:
        return f"{info.name} compares with the sources: give at least one source image"
    if info.needs == "sources" and info.sources == "two" and sources != 2:
        return f"{info.name} is defined for two sources, got {sources}"
    return ""


def _key(value: object) -> Hashable:
    return (Tensor, id(value)) if isinstance(value, Tensor) else value


def unit_of(metric: Metric) -> str:
    """Return the unit of a metric's values, which can depend on the convention."""
    return metric.unit if isinstance(metric, CachingMetric) else metric.info.unit
