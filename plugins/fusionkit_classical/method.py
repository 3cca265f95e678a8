"""The base class of the classical methods: checks sources, computes in float64, clips the range."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import overload

import torch
from torch import Tensor

from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import UsageError

__all__ = ["FLOATING", "ClassicalFuser", "StreamingFuser", "check_sources", "lettered", "stack_sources"]

FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types in which the results are right: every type is computed in float64."""


def check_sources(sources: Sequence[Tensor], *, limit: int | None = None) -> None:
    """Check that sources are two or more float tensors of one shape.

    Args:
        sources: tensors ``(B, C, H, W)``.
        limit: the greatest number of sources that the method takes; None for any number.

    Raises:
        UsageError: fewer than two sources, more than ``limit``, not float, not 4-D, empty, or unlike shapes.
    """
    if len(sources) < 2:
        raise UsageError(f"fusion needs two or more sources, got {len(sources)}: give at least two aligned images")
    if limit is not None and len(sources) > limit:
        raise UsageError(f"this method takes {limit} sources at a time, got {len(sources)}: fold them, ((a, b), c)")
    first = sources[0]
    for number, source in enumerate(sources, start=1):
        if not source.is_floating_point():
            raise UsageError(f"source {number} is {source.dtype}: convert it to float in [0, 1] first")
        if source.ndim != 4 or source.numel() == 0:
            raise UsageError(f"source {number} has shape {tuple(source.shape)}: give a non-empty (B, C, H, W)")
        if source.shape != first.shape:
            raise UsageError(
                f"source {number} has shape {tuple(source.shape)}, source 1 has {tuple(first.shape)}: "
                "sources must be aligned and of one size"
            )


def stack_sources(sources: tuple[Tensor, ...], *, limit: int | None = None) -> Tensor:
    """Check aligned sources and stack them in float64.

    Args:
        sources: two or more float tensors ``(B, C, H, W)`` of one shape, on one device.
        limit: the greatest number of sources that the method takes; None for any number.

    Returns:
        ``(S, B, C, H, W)`` float64, a copy. On devices without float64 (Apple's MPS) it lies on the CPU.

    Raises:
        UsageError: fewer than two sources, more than ``limit``, not float, not 4-D, empty, or unlike shapes.
    """
    check_sources(sources, limit=limit)
    return _doubled(torch.stack(sources))


def _doubled(image: Tensor) -> Tensor:
    return (image.cpu() if image.device.type == "mps" else image).to(torch.float64)


class _DoubledSources(Sequence[Tensor]):
    """Sources that are converted to float64 when they are looked up; ``like`` has the type and device of the first."""

    def __init__(self, sources: Sequence[Tensor]) -> None:
        self._sources = sources
        self.like = torch.empty(0)

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, k: int) -> Tensor: ...

    @overload
    def __getitem__(self, k: slice) -> list[Tensor]: ...

    def __getitem__(self, k: int | slice) -> Tensor | list[Tensor]:
        if isinstance(k, slice):
            return [self[place] for place in range(len(self))[k]]
        source = self._sources[k]
        if k == 0:
            self.like = source.new_empty(0)
        return _doubled(source)


def lettered(name: str, weights: Tensor) -> dict[str, Tensor]:
    """Name weights ``(S, B, C, H, W)`` that sum to 1 over S ``name_a``, ``name_b``...; of two, only the first."""
    shown = weights[:1] if len(weights) == 2 else weights
    return {f"{name}_{chr(ord('a') + k)}": weight for k, weight in enumerate(shown[:26])}


class ClassicalFuser(Fuser):
    """A fuser without parameters, defined by :meth:`fuse` on a stack of sources.

    Everything is computed in float64: choices between nearly equal coefficients are then the same in every batch, and
    running sums lose no precision. Each channel is fused by itself unless a method says otherwise; the result is
    clipped to [0, 1] and has the type and device of the first source.
    """

    capabilities = Capabilities(dtypes=FLOATING, max_sources=None)

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse sources ``(B, C, H, W)`` in [0, 1] into one image of the same shape."""
        fused = self.fuse(stack_sources(sources, limit=self.capabilities.max_sources))
        return fused.clamp(0, 1).to(sources[0])

    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        """Compute the maps of :meth:`weigh`, averaged over the channels: ``(B, 1, H, W)``."""
        weights = self.weigh(stack_sources(sources, limit=self.capabilities.max_sources))
        return {name: weight.mean(1, keepdim=True).clamp(0, 1).to(sources[0]) for name, weight in weights.items()}

    def weigh(self, stack: Tensor) -> Mapping[str, Tensor]:
        """Compute the weights of a stack ``(S, B, C, H, W)`` as named maps ``(B, C, H, W)``; {} for constants."""
        return {}

    @abstractmethod
    def fuse(self, stack: Tensor) -> Tensor:
        """Fuse a float64 stack ``(S, B, C, H, W)`` into ``(B, C, H, W)``; the caller clips the range."""


class StreamingFuser(ClassicalFuser):
    """A classical fuser that also takes sources one at a time, so that memory does not grow with their number."""

    def fuse_stream(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse sources that are read when they are looked up; each is looked up twice, in order, and none is kept."""
        doubled = _DoubledSources(sources)
        return self.stream(doubled).clamp(0, 1).to(doubled.like)

    @abstractmethod
    def stream(self, sources: Sequence[Tensor]) -> Tensor:
        """Fuse float64 sources ``(B, C, H, W)``: up to rounding, what :meth:`fuse` gives of their stack."""
