"""Capabilities of a fusion method, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from fusionkit.errors import UsageError

__all__ = ["Capabilities"]

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""The types that images and weights may have."""


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """Capabilities of a fuser. The toolkit converts what it can and refuses the rest before any work.

    Attributes:
        dtypes: the types of sources and weights in which its results are right. Sources of another type are converted
            and the result is converted back.
        min_size: smallest height and width, in pixels. Smaller images are refused.
        multiple: height and width have to be a multiple of this number of pixels. Images of other sizes are extended
            at the right and at the bottom by repeating the last pixel, and the result is cropped.
        min_sources: the smallest number of sources of one call, 2 or more.
        max_sources: the largest number of sources of one call; None for any number. More are folded in order:
            ((a, b), c).
        halo: number of pixels around a tile that decide the result inside it: tiles that are cut with a halo this
            wide, at multiples of :attr:`grid`, give the result of the whole image. The toolkit fuses large images in
            tiles, and any that does not fit into memory. None where a pixel may depend on the whole image.
        grid: tiles start at multiples of this number of pixels, and their height and width leave the same remainder
            by it as those of the whole image: ``2 ** levels`` for a pyramid. A multiple of :attr:`multiple`; where
            None, that.
        needs_cuda: whether it runs on a CUDA device only.
        square: whether images have to be as wide as they are high. Others are refused.

    Raises:
        fusionkit.errors.UsageError: a value that is not possible.
    """

    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    min_size: int = 1
    multiple: int = 1
    min_sources: int = 2
    max_sources: int | None = 2
    halo: int | None = None
    grid: int | None = None
    needs_cuda: bool = False
    square: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.dtypes, tuple) or not self.dtypes or not set(self.dtypes) <= set(DTYPES):
            names = ", ".join(str(dtype) for dtype in DTYPES)
            raise UsageError(f"Capabilities: dtypes is {self.dtypes!r}: give a tuple of some of {names}")
        least: tuple[tuple[str, int | None, int], ...] = (
            ("min_size", self.min_size, 1),
            ("multiple", self.multiple, 1),
            ("min_sources", self.min_sources, 2),
            ("max_sources", self.max_sources, self.min_sources),
            ("halo", self.halo, 0),
            ("grid", self.grid, self.multiple),
        )
        for name, value, smallest in least:
            if value is not None and (not isinstance(value, int) or value < smallest):
                raise UsageError(f"Capabilities: {name} is {value!r}: give a whole number, {smallest} or more")
        if self.grid is not None and self.grid % self.multiple:
            raise UsageError(f"Capabilities: grid is {self.grid}: give a multiple of multiple, {self.multiple}")

    def as_dict(self) -> dict[str, Any]:
        """The capabilities as plain values, for JSON."""
        return {**vars(self), "dtypes": [str(dtype).removeprefix("torch.") for dtype in self.dtypes]}
