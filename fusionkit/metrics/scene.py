"""A scene: fused images with their sources, and whatever several metrics need of them, computed once.

How a metric is written
-----------------------
1. A pure function of ``(B, 1, H, W)`` tensors on the 0..255 scale that returns ``(B,)``. Options are typed and
   keyword-only. What other metrics need as well (histograms, window moments, Sobel responses) it asks for through
   ``once``, which by default just calls::

       def entropy(fused: Tensor, *, base: float = 2.0, once: Once = direct) -> Tensor:
           p = once(histogram, fused)
           ...

2. A frozen dataclass whose fields are the convention, with defaults as the metric's own paper defines it, bug-free
   and defined on every image::

       @dataclass(frozen=True, kw_only=True)
       class EN(SceneMetric):
           info: ClassVar[MetricInfo] = MetricInfo(name="EN", ...)
           base: float = 2.0

           def measure(self, scene: Scene) -> Tensor:
               return entropy(scene.fused, base=self.base, once=scene.once)

3. An entry point in the group ``fusionkit.metrics``, and one line in every published profile of
   :mod:`fusionkit.metrics.profiles` that has the metric: its name and the fields that differ from the defaults.

Shared pieces: :mod:`~fusionkit.metrics.histograms` (grey levels, 256-bin histograms, min-max stretch),
:mod:`~fusionkit.metrics.windows` (separable filters, Gaussian and uniform window moments),
:mod:`~fusionkit.metrics.gradients` (Sobel, central differences), :mod:`~fusionkit.metrics.arithmetic` (0/0, roots,
correlation, sum or mean over the sources). A field named ``undefined`` is the value where the formula is 0/0:
a documented finite number by default, ``nan`` in profiles that stand for published code.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Hashable
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor

from fusionkit.contracts import Metric
from fusionkit.errors import DataError, UsageError
from fusionkit.metrics.tiles import keep_freed_memory

__all__ = ["Once", "Scene", "SceneMetric", "check", "direct", "unit_of"]

P = ParamSpec("P")
T = TypeVar("T")


class Once(Protocol):
    """Calls ``function`` on the arguments; may give back what an earlier equal call returned."""

    def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...


def direct(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """The :class:`Once` that remembers nothing: ``function(*args, **kwargs)``."""
    return function(*args, **kwargs)


class Scene:
    """A batch of fused images with their sources and, where known, the truth.

    Args:
        fused: ``(B, 1, H, W)`` on the 0..255 scale, float32 or float64.
        sources: tensors of the same shape, dtype and device.
        truth: the known result, same again.

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
        self._known: dict[Hashable, tuple[Any, Any]] = {}

    def once(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``function(*args, **kwargs)``, computed at the first of several equal calls.

        Tensors are equal if they are the same object; every other argument must be hashable.
        """
        key = (function, tuple(map(_key, args)), tuple((k, _key(v)) for k, v in sorted(kwargs.items())))
        if key not in self._known:
            self._known[key] = (function(*args, **kwargs), args)
        result: T = self._known[key][0]
        return result


class SceneMetric(Metric):
    """A metric that shares intermediates with others: every built-in one."""

    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        scene = Scene(fused, *sources, truth=truth)
        check(self, scene)
        return self.measure(scene)

    @property
    def min_size(self) -> int:
        """Least height and width under this convention."""
        return self.info.min_size

    @property
    def unit(self) -> str:
        """Of the value under this convention."""
        return self.info.unit

    @abstractmethod
    def measure(self, scene: Scene) -> Tensor:
        """Values ``(B,)`` of a scene that :func:`check` has passed."""


def check(metric: Metric, scene: Scene) -> None:
    """Refuse a scene that a metric is not defined on.

    Raises:
        UsageError: the sources or the truth are missing, or there are more sources than it takes.
        DataError: the images are too small.
    """
    info = metric.info
    if info.needs == "truth" and scene.truth is None:
        raise UsageError(f"{info.name} compares with the true result: give the truth image")
    if info.needs == "sources" and not scene.sources:
        raise UsageError(f"{info.name} compares with the sources: give at least one source image")
    if info.needs == "sources" and info.sources == "two" and len(scene.sources) != 2:
        raise UsageError(f"{info.name} is defined for two sources, got {len(scene.sources)}")
    height, width = scene.fused.shape[-2:]
    least = metric.min_size if isinstance(metric, SceneMetric) else info.min_size
    if min(height, width) < least:
        raise DataError(f"{info.name} needs images of at least {least}x{least} pixels, these are {height}x{width}")


def _key(value: object) -> Hashable:
    return (Tensor, id(value)) if isinstance(value, Tensor) else value


def unit_of(metric: Metric) -> str:
    """The unit of a metric's values, which can depend on the convention."""
    return metric.unit if isinstance(metric, SceneMetric) else metric.info.unit
