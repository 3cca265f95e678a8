"""Fuses one pair for a benchmark: saved as a user would get it, with the cost of the fuser's call."""

from __future__ import annotations

import warnings
from pathlib import Path

from fusionkit.bench.cost import Meter, metered
from fusionkit.bench.records import Cost
from fusionkit.data.pair_set import Pair
from fusionkit.fuse.model import Fused, FusionNote, Model
from fusionkit.io.images import Image, read_image
from fusionkit.plugins.guard import run_guarded

__all__ = ["PairFuser"]

_BITS = 8


class PairFuser:
    """Fuses pairs with one model and measures it.

    A size that is new on CUDA (kernels are chosen by size), or larger than any before, is fused once more beforehand:
    that warms the model up, and it is where memory is measured on the CPU.

    Args:
        model: what to fuse with.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._sizes: dict[tuple[int, ...], int] = {}

    def __call__(self, pair: Pair, target: Path) -> Cost:
        """Fuse a pair into an 8-bit PNG.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: the pair cannot be read or fused.
            fusionkit.errors.DataError: the result cannot be written.
        """
        with warnings.catch_warnings():
            # Scores are of the pixels as stored, so sources may differ in their orientation tags.
            warnings.simplefilter("ignore", FusionNote)
            images = run_guarded(lambda: [read_image(file) for file in pair.files])
            peak = self._warm_up(images)
            fused, meter = self._fuse(images, memory=self._on_cuda)
            fused.save(target, bits=_BITS)
        if not self._on_cuda:
            meter.peak = peak
        return meter.cost()

    @property
    def _on_cuda(self) -> bool:
        return self.model.device.type == "cuda"

    def _fuse(self, images: list[Image], *, memory: bool) -> tuple[Fused, Meter]:
        with metered(self.model.fuser, self.model.device, memory=memory) as meter:
            fused = run_guarded(lambda: self.model.fuse(*images, bits=_BITS))
        return fused, meter

    def _warm_up(self, images: list[Image]) -> int | None:
        """Fuse a size that needs it; the peak of memory, None where there was no need."""
        size = images[0].pixels.shape[:2]
        area = size[0] * size[1]
        if size in self._sizes or not (self._on_cuda or area > max(self._sizes.values(), default=0)):
            return None
        _, meter = self._fuse(images, memory=True)
        self._sizes[size] = area
        return meter.peak
