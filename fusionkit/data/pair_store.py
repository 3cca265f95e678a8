"""Training pairs, decoded once and kept on the device or the host; a batch of crops is one gather."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import Batch
from fusionkit.data.epoch_plan import FLIP_COLUMNS, FLIP_ROWS, LEFT, PAIR, SWAP, TOP
from fusionkit.data.pair_set import PairSet
from fusionkit.io.color import luminance
from fusionkit.io.images import read_image
from fusionkit.runtime.threads import in_threads
from fusionkit.tasks import Task

DEVICE_SHARE = 0.5
"""Share of the device's free memory that the pairs may take. A larger set stays on the host; its crops are copied."""


class PairStore:
    """All pairs of a set in one flat buffer per source: uint8, or float32 where a source has more bits.

    Pairs of all sizes lie in it one after the other; a crop is a gather at computed positions, so that a step on the
    device needs nothing from the host.

    Args:
        task: the fusion task, which names the sources.
        pairs: for each pair, its sources ``(C, H, W)``, uint8 or float32 in [0, 1].
        device: where training runs.
        smallest: largest side of crops; smaller pairs are reflected at their borders up to it.
    """

    def __init__(
        self, task: Task, pairs: Sequence[Sequence[Tensor]], *, device: torch.device, smallest: int = 1
    ) -> None:
        self.task = task
        grown = [[_grow(source, smallest) for source in pair] for pair in pairs]
        self.sizes = [(int(pair[0].shape[1]), int(pair[0].shape[2])) for pair in grown]
        self.channels = grown[0][0].shape[0]
        eight_bit = all(source.dtype == torch.uint8 for pair in grown for source in pair)
        kind = torch.uint8 if eight_bit else torch.float32
        self._flat = [
            torch.cat([_as(pair[k], kind).reshape(self.channels, -1) for pair in grown], 1)
            for k in range(len(grown[0]))
        ]
        areas = torch.tensor([h * w for h, w in self.sizes])
        self._start = areas.cumsum(0) - areas
        self._width = torch.tensor([w for _, w in self.sizes])
        self.device = device
        self.home = device if self._fits(device) else torch.device("cpu")
        self._flat = [flat.to(self.home) for flat in self._flat]
        self._start, self._width = self._start.to(self.home), self._width.to(self.home)

    @property
    def sources(self) -> int:
        """Number of sources of every pair."""
        return len(self._flat)

    @classmethod
    def from_pairs(
        cls, pairs: PairSet, *, device: torch.device, space: str = "luminance", smallest: int = 1
    ) -> PairStore:
        """Decode the files of a set of pairs.

        Args:
            pairs: checked pairs.
            device: where training runs.
            space: ``"luminance"`` or ``"rgb"``: what the fuser takes.
            smallest: side of the crops.

        Raises:
            fusionkit.errors.DataError: a file cannot be decoded, by name.
        """

        def decode(index: int) -> list[Tensor]:
            return [decode_source(file, space) for file in pairs[index].files]

        return cls(pairs.task, in_threads(decode, range(len(pairs))), device=device, smallest=smallest)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def bytes(self) -> int:
        """Memory that the pairs take, in bytes."""
        return sum(flat.numel() * flat.element_size() for flat in self._flat)

    def crops(self, rows: Tensor, side: int) -> Batch:
        """Cut out the crops that the rows of a plan describe.

        Args:
            rows: ``(B, 6)`` int64, see :mod:`fusionkit.data.epoch_plan`.
            side: height and width of the crops.

        Returns:
            Sources ``(B, C, side, side)`` in [0, 1] on the training device.
        """
        rows = rows.to(self.home)
        along = torch.arange(side, device=self.home)
        ys = torch.where(rows[:, FLIP_ROWS, None] > 0, side - 1 - along, along) + rows[:, TOP, None]
        xs = torch.where(rows[:, FLIP_COLUMNS, None] > 0, side - 1 - along, along) + rows[:, LEFT, None]
        pair = rows[:, PAIR]
        where = self._start[pair][:, None, None] + ys[:, :, None] * self._width[pair][:, None, None] + xs[:, None, :]
        sources = [self._unit(flat[:, where].transpose(0, 1)) for flat in self._flat]
        return Batch(sources=self._swapped(sources, rows))

    def whole(self, index: int) -> tuple[Tensor, ...]:
        """Return the sources of one pair at full size, ``(1, C, H, W)`` in [0, 1] on the training device."""
        start, (height, width) = int(self._start[index]), self.sizes[index]
        return tuple(
            self._unit(flat[:, start : start + height * width]).reshape(1, self.channels, height, width)
            for flat in self._flat
        )

    def _swapped(self, sources: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, ...]:
        if len(sources) < 2:
            return tuple(sources)
        swap = rows[:, SWAP, None, None, None].to(self.device) > 0
        first, second = torch.where(swap, sources[1], sources[0]), torch.where(swap, sources[0], sources[1])
        return (first, second, *sources[2:])

    def _unit(self, stored: Tensor) -> Tensor:
        moved = stored.to(self.device, non_blocking=True)
        return moved.float() / 255 if moved.dtype == torch.uint8 else moved

    def _fits(self, device: torch.device) -> bool:
        if device.type != "cuda":
            return True
        free, _ = torch.cuda.mem_get_info(device)
        return self.bytes <= DEVICE_SHARE * free


def decode_source(file: Path, space: str) -> Tensor:
    """Read one source as it is stored here: ``(C, H, W)``, uint8 for an 8-bit image, else float32 in [0, 1].

    Raises:
        fusionkit.errors.DataError: the file cannot be decoded.
    """
    image = read_image(file)
    pixels = image.tensor()
    if space == "luminance":
        pixels = luminance(pixels)
    elif pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    # Luminance of an 8-bit photograph is rounded back to 8 bits: what the published training sets hold.
    return (pixels[0] * 255).round().to(torch.uint8) if image.bits == 8 else pixels[0].clone()


def _as(source: Tensor, kind: torch.dtype) -> Tensor:
    return source.float() / 255 if source.dtype == torch.uint8 and kind == torch.float32 else source


def _grow(source: Tensor, smallest: int) -> Tensor:
    _, height, width = source.shape
    if height >= smallest and width >= smallest:
        return source
    grown = source.float()[None]
    while grown.shape[2] < smallest or grown.shape[3] < smallest:
        down = min(max(smallest - grown.shape[2], 0), max(grown.shape[2] - 1, 0))
        right = min(max(smallest - grown.shape[3], 0), max(grown.shape[3] - 1, 0))
        # A side of one pixel has nothing to reflect.
        mode = "reflect" if down + right > 0 else "replicate"
        if mode == "replicate":
            down, right = max(smallest - grown.shape[2], 0), max(smallest - grown.shape[3], 0)
        grown = F.pad(grown, (0, right, 0, down), mode=mode)
    return grown[0].to(source.dtype)
