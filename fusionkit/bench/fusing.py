"""Fusing one pair for a bench: written as its user would get it, with what the fuser's call cost."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from fusionkit.bench.cost import metered
from fusionkit.bench.door import attempt
from fusionkit.bench.records import Cost
from fusionkit.data.pairset import Pair
from fusionkit.fuse import FusionNote, Model
from fusionkit.imageio import Image, read_image

__all__ = ["PairFuser"]

_BITS = 8
_WARM = 64


class PairFuser:
    """Fuses pairs with one model and measures it.

    Before the first pair it warms the model up: on the CPU with a crop of that pair, on CUDA with every new size as a
    whole, since kernels are chosen by size.

    Args:
        model: what to fuse with.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._warm: set[tuple[int, ...]] = set()

    def __call__(self, pair: Pair, target: Path) -> Cost:
        """Fuse a pair into an 8-bit PNG.

        Raises:
            fusionkit.bench.door.Failed: the pair cannot be read or fused.
            fusionkit.errors.DataError: the result cannot be written.
        """
        with warnings.catch_warnings():
            # That orientations differ concerns who looks at a result; scores are of pixels as they are stored.
            warnings.simplefilter("ignore", FusionNote)
            images = attempt(lambda: [read_image(file) for file in pair.files])
            attempt(lambda: self._warm_up(images))
            with metered(self.model.fuser, self.model.device) as meter:
                fused = attempt(lambda: self.model.fuse(*images, bits=_BITS))
            fused.save(target, bits=_BITS)
        return meter.cost()

    def _warm_up(self, images: list[Image]) -> None:
        whole = self.model.device.type == "cuda"
        size = images[0].pixels.shape if whole else ()
        if size in self._warm or len({image.size for image in images}) > 1:
            return
        edge = None if whole else _WARM
        self.model.fuse(*(replace(i, pixels=np.ascontiguousarray(i.pixels[:edge, :edge])) for i in images), bits=_BITS)
        self._warm.add(size)
