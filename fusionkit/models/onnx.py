"""Writes a trained network as an ONNX file, and checks the file against PyTorch."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fusionkit.contracts import Fuser
from fusionkit.errors import PluginError, UsageError
from fusionkit.io.atomic import written_aside
from fusionkit.plugins.guard import owner

__all__ = ["Export", "Precision", "export_onnx"]

Precision = Literal["fp32", "fp16"]

_LARGEST_DIFFERENCE = {"fp32": 1e-4, "fp16": 1 / 255}
"""Largest difference from PyTorch that a written file may have, on the scale [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Export:
    """A written ONNX file.

    Attributes:
        path: the file.
        inputs: names of its inputs in the order of the task; each ``(1, C, H, W)`` float32 in [0, 1].
        difference: largest absolute difference between onnxruntime and PyTorch over the images of the check; None if
            it was not checked.
        sizes: heights and widths of the images of the check.
    """

    path: Path
    inputs: tuple[str, ...]
    difference: float | None = None
    sizes: tuple[tuple[int, int], ...] = ()


class _Graph(nn.Module):
    """A fuser as it is exported: float32 in and out, limited to [0, 1], at any precision inside."""

    def __init__(self, fuser: Fuser, dtype: torch.dtype) -> None:
        super().__init__()
        self.fuser = fuser.to(dtype)
        self.dtype = dtype

    def forward(self, *sources: Tensor) -> Tensor:
        fused: Tensor = self.fuser(*(source.to(self.dtype) for source in sources))
        return fused.float().clamp(0, 1)


def export_onnx(
    fuser: Fuser,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    precision: Precision = "fp32",
    metadata: Mapping[str, str],
    check: bool = True,
) -> Export:
    """Write a network as an ONNX file, whole or not at all.

    The file takes and gives what :meth:`fusionkit.contracts.Fuser.forward` does, in float32: luminance or RGB in
    [0, 1]. Reading colour, range stretch and writing are left to the program that runs it.

    Args:
        fuser: a fuser with weights.
        path: the file to write.
        size: height and width that the file is made for; None for any.
        precision: of weights and arithmetic. Inputs and outputs are float32 in both cases.
        metadata: strings to keep in the file. What the fuser states is added: ``space``, ``stretch``, ``min_size``,
            ``multiple`` and ``precision``.
        check: run the file in onnxruntime on seeded images before it takes its place, and compare with PyTorch.

    Raises:
        fusionkit.errors.UsageError: the packages of the extra ``export`` are missing, the fuser has no weights, or
            takes no images of that size.
        fusionkit.errors.PluginError: the fuser cannot be written as ONNX, or the file gives other values.
    """
    _check_packages()
    name = metadata.get("model") or type(fuser).__name__
    if not any(True for _ in fuser.parameters()):
        raise UsageError(f"{name} has no network to export: use it through fusionkit, or export a trained model")
    able = fuser.capabilities
    if size is not None and (min(size) < able.min_size or any(length % able.multiple for length in size)):
        raise UsageError(
            f"--size {size[0]}x{size[1]}: {name} takes height and width from {able.min_size} on, in multiples of "
            f"{able.multiple}: give another size"
        )
    inputs = tuple(ascii_lowercase[: able.min_sources])
    channels = 3 if fuser.space == "rgb" else 1
    sizes = (size,) if size is not None else _sizes(able.min_size, able.multiple)
    dtype = torch.float16 if precision == "fp16" else torch.float32
    graph = _Graph(copy.deepcopy(fuser).cpu(), dtype).eval()
    program = _convert(graph, _pictures(len(inputs), channels, sizes[0]), inputs, dynamic=size is None, fuser=fuser)
    stated = {
        "space": fuser.space,
        "stretch": fuser.stretch,
        "min_size": str(able.min_size),
        "multiple": str(able.multiple),
        "precision": precision,
    }
    program.model.metadata_props.update({**metadata, **stated})
    with written_aside(path) as aside:
        program.save(aside)
        if not check:
            return Export(path=path, inputs=inputs)
        plain = _Graph(copy.deepcopy(fuser).cpu(), torch.float32).eval()
        difference = max(_difference(aside, plain, _pictures(len(inputs), channels, each)) for each in sizes)
        if not difference <= _LARGEST_DIFFERENCE[precision]:
            raise PluginError(
                f"{owner(type(fuser))}: its ONNX file differs from PyTorch by {difference:.2g} on images in [0, 1]; "
                f"nothing was written: {'use --precision fp32' if precision == 'fp16' else 'correct the fuser'}"
            )
    return Export(path=path, inputs=inputs, difference=difference, sizes=sizes)


def _check_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UsageError(f"export needs {', '.join(missing)}: pip install 'image-fusionkit[export]'")


def _sizes(least: int, multiple: int) -> tuple[tuple[int, int], ...]:
    """Sizes to check a file of any size with: odd ones, and the smallest."""

    def fitting(length: int) -> int:
        return -(-max(length, least) // multiple) * multiple

    return tuple((fitting(h), fitting(w)) for h, w in ((37, 53), (96, 64), (1, 1)))


def _pictures(count: int, channels: int, size: tuple[int, int]) -> tuple[Tensor, ...]:
    """Seeded sources ``(1, C, H, W)`` in [0, 1]: a ramp with noise, different in each."""
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(0, 1, size[1]).expand(1, channels, *size)
    return tuple(
        (ramp if k % 2 == 0 else 1 - ramp).mul(0.7).add(0.3 * torch.rand(ramp.shape, generator=generator))
        for k in range(count)
    )


def _convert(graph: _Graph, example: Sequence[Tensor], inputs: Sequence[str], *, dynamic: bool, fuser: Fuser) -> Any:
    shapes = tuple({2: "height", 3: "width"} if dynamic else {} for _ in inputs)
    with _quiet(), torch.enable_grad():  # with gradients on, a fuser takes its plain path and not that of large images
        try:
            return torch.onnx.export(
                graph,
                tuple(example),
                dynamo=True,
                verbose=False,
                input_names=list(inputs),
                output_names=["fused"],
                dynamic_shapes=(shapes,),
            )
        except Exception as error:  # the exporter passes on whatever a network raises
            cause = " ".join(str(error.__cause__ or error).split())[:200]
            raise PluginError(f"{owner(type(fuser))} cannot be written as ONNX: {cause}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's own notes: they speak of its internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _difference(file: Path, plain: nn.Module, sources: Sequence[Tensor]) -> float:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    named = {entry.name: source.numpy() for entry, source in zip(session.get_inputs(), sources, strict=True)}
    (got,) = session.run(None, named)
    with torch.no_grad():
        wanted: NDArray[np.float32] = plain(*sources).numpy()
    return float(np.abs(got - wanted).max()) if got.shape == wanted.shape else float("inf")
