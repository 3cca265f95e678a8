"""Trial of a plugin: one call on small images, as a command would make it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from fusionkit.contracts import Fuser, Metric
from fusionkit.errors import FusionkitError
from fusionkit.fuse.tensors import fuse_tensors
from fusionkit.metrics.inputs import MetricInputs
from fusionkit.metrics.naming import build
from fusionkit.metrics.scoring import evaluate
from fusionkit.plugins.guard import plugin_call

__all__ = ["trial_fault"]

_SIDE = 32


def trial_fault(plugin: Any, name: str) -> str:
    """Call a fuser or a metric once, and say why it fails: "" if it does not, or needs CUDA and there is none.

    Args:
        plugin: the loaded plugin; those that are neither fuser nor metric are not called.
        name: its registered name.
    """
    call: Callable[[], object]
    if isinstance(plugin, type) and issubclass(plugin, Fuser):
        if plugin.capabilities.needs_cuda:
            return ""
        call = lambda: _fuse(plugin)  # noqa: E731
    elif isinstance(plugin, type) and issubclass(plugin, Metric):
        call = lambda: _measure(name)  # noqa: E731
    else:
        return ""
    try:
        call()
    except FusionkitError as error:
        return str(error)
    return ""


def _images(count: int, side: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 1, side, side, generator=generator) for _ in range(count)]


def _fuse(kind: type[Fuser]) -> None:
    with plugin_call(kind, "be built"):
        fuser = kind().eval()
    able = fuser.capabilities
    with torch.inference_mode():
        fuse_tensors(fuser, *_images(max(2, able.min_sources), max(_SIDE, able.min_size)))


def _measure(name: str) -> None:
    metric = build(name)
    images = [image.double() * 255 for image in _images(4, max(_SIDE, metric.info.min_size))]
    truth = images[3] if metric.info.needs == "truth" else None
    evaluate(MetricInputs(*images[:3], truth=truth), {name: metric}, profile="standard")
