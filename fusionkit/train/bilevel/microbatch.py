"""Micro-batches: the gradients of the parts of a batch, weighted by their samples, sum to those of the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from fusionkit.contracts import Batch
from fusionkit.train.bilevel.noise import Noise

__all__ = ["Mean", "WeightedSum", "cached_samples", "split_batch", "split_noise", "under"]

Mean = Callable[[Mapping[str, Tensor]], dict[str, Tensor]]
"""Averages named tensors over the processes of a training; ``dict`` for a single one."""

_CACHED_PIXELS = 128 * 128


def cached_samples(crop: int) -> int:
    """Number of square crops of a side whose features fit in a processor's cache together, 1 or more."""
    return max(_CACHED_PIXELS // crop**2, 1)


def split_batch(batch: Batch, micro_batch: int) -> list[tuple[Batch, float]]:
    """Shares of at most ``micro_batch`` samples, each with its part of the batch; 0 leaves it whole.

    Raises:
        TypeError: targets of which the entries of a sample are not known.
    """
    samples = len(batch.sources[0])
    if micro_batch <= 0 or micro_batch >= samples:
        return [(batch, 1.0)]
    shares = []
    for start in range(0, samples, micro_batch):
        cut = slice(start, start + micro_batch)
        part = Batch(tuple(source[cut] for source in batch.sources), _cut(batch.targets, cut))
        shares.append((part, len(part.sources[0]) / samples))
    return shares


def split_noise(noise: Noise | None, batch: Batch, micro_batch: int) -> list[Noise | None]:
    """The noise of a whole batch, in the shares of :func:`split_batch`: the same for every sample as in the whole."""
    samples = len(batch.sources[0])
    if noise is None or micro_batch <= 0 or micro_batch >= samples:
        return [noise] * (-(-samples // micro_batch) if 0 < micro_batch < samples else 1)
    drawn = noise(batch.sources[0], batch.sources)
    return [_constant(part) for part in drawn.split(micro_batch)]


class WeightedSum:
    """Sums named tensors under group names, each times a weight, without their graphs."""

    def __init__(self) -> None:
        self._total: dict[str, Tensor] = {}

    def add(self, group: str, tensors: Mapping[str, Tensor], weight: float) -> None:
        """Add ``weight`` times every one of ``tensors`` to its sum."""
        for name, tensor in tensors.items():
            key, value = f"{group}.{name}", tensor.detach() if weight == 1 else tensor.detach() * weight
            self._total[key] = self._total[key] + value if key in self._total else value

    def of(self, *groups: str) -> dict[str, Tensor]:
        """The sums of some groups, as ``group.name``."""
        return {key: value for key, value in self._total.items() if key.partition(".")[0] in groups}


def under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Select the tensors whose names begin with ``prefix``, and take the prefix off."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _constant(drawn: Tensor) -> Noise:
    return lambda _image, _sources: drawn


def _cut(targets: Any, cut: slice) -> Any:
    if targets is None or isinstance(targets, Tensor | tuple | list):
        return None if targets is None else targets[cut]
    raise TypeError(f"targets are a {type(targets).__name__}: give a tensor or a sequence, one entry a sample")
