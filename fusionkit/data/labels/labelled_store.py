"""Labelled training pairs, decoded once: whole pairs at one size, and crops, with their targets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import Batch
from fusionkit.contracts.label_types import Boxes, LabelSpec
from fusionkit.data.epoch_plan import FLIP_COLUMNS, FLIP_ROWS, PAIR
from fusionkit.data.labels.label_checks import read_label
from fusionkit.data.labels.label_transforms import crop_boxes, flip_boxes, resize_mask, scale_boxes
from fusionkit.data.pair_set import PairSet
from fusionkit.data.pair_store import PairStore, decode_source
from fusionkit.errors import DataError, UsageError
from fusionkit.runtime.threads import in_threads
from fusionkit.tasks import Task

__all__ = ["LabelledStore"]


@dataclass(frozen=True)
class _Resized:
    """Every pair at one size: sources ``(N, C, h, w)`` as stored, masks ``(N, h, w)`` uint8 or boxes."""

    sources: list[Tensor]
    masks: Tensor | None
    boxes: list[Boxes]


class LabelledStore(PairStore):
    """A :class:`PairStore` with labels: also gives whole resized pairs and crops with their targets.

    Masks lie beside the images on the device, as do boxes, in one small tensor per image.

    Args:
        task: the fusion task, which names the sources.
        pairs: for each pair, its sources ``(C, H, W)``, uint8 or float32 in [0, 1].
        labels: for each pair, its class ids ``(H, W)`` or its boxes.
        spec: kind and classes of the labels.
        device: where training runs.
        smallest: side of the crops; smaller pairs are reflected at their borders up to it for the crops only.
    """

    def __init__(
        self,
        task: Task,
        pairs: Sequence[Sequence[Tensor]],
        labels: Sequence[Tensor | Boxes],
        spec: LabelSpec,
        *,
        device: torch.device,
        smallest: int = 1,
    ) -> None:
        super().__init__(task, pairs, device=device, smallest=smallest)
        self.spec = spec
        self.whole_sizes = [(int(pair[0].shape[1]), int(pair[0].shape[2])) for pair in pairs]
        """Height and width of every pair as it was read; ``sizes`` are those that crops are drawn from."""
        self._masks = [label.to(self.home, torch.uint8) for label in labels if isinstance(label, Tensor)]
        self._boxes = [
            Boxes(label.corners.to(device), label.classes.to(device)) for label in labels if isinstance(label, Boxes)
        ]
        self._resized: dict[tuple[int, int], _Resized] = {}

    @classmethod
    def from_pairs(
        cls, pairs: PairSet, *, device: torch.device, space: str = "luminance", smallest: int = 1
    ) -> LabelledStore:
        """Decode the files and labels of a set of pairs.

        Args:
            pairs: checked pairs, with labels.
            device: where training runs.
            space: ``"luminance"`` or ``"rgb"``: what the fuser takes.
            smallest: side of the crops.

        Raises:
            fusionkit.errors.DataError: a file cannot be read, or a label does not fit, by name.
        """
        spec = pairs.labels
        if spec is None:
            raise DataError(f"{pairs.origin}: the pairs were found without labels")

        def decode(index: int) -> tuple[list[Tensor], Tensor | Boxes]:
            sources = [decode_source(file, space) for file in pairs[index].files]
            height, width = sources[0].shape[1:]
            return sources, read_label(pairs[index], spec, (height, width))

        decoded = in_threads(decode, range(len(pairs)))
        return cls(
            pairs.task,
            [sources for sources, _ in decoded],
            [label for _, label in decoded],
            spec,
            device=device,
            smallest=smallest,
        )

    def whole(self, index: int) -> tuple[Tensor, ...]:
        height, width = self.whole_sizes[index]
        return tuple(source[:, :, :height, :width] for source in super().whole(index))

    def label(self, index: int) -> Tensor | Boxes:
        """Return the label of one pair at full size, on the training device: class ids ``(H, W)`` int64, or boxes."""
        if self.spec.kind == "detection":
            return self._boxes[index]
        return self._masks[index].to(self.device).long()

    def fitting_size(self, size: tuple[int, int] | None, longest: int) -> tuple[int, int]:
        """Size at which a downstream network is shown whole pairs.

        Args:
            size: height and width where they are given; None takes the commonest size of the pairs.
            longest: longer side that the commonest size is shrunk to, in pixels.

        Raises:
            UsageError: a side is below 16 pixels.
        """
        height, width = size or Counter(self.whole_sizes).most_common(1)[0][0]
        if size is None:
            shrink = min(longest / max(height, width), 1.0)
            height, width = (max(round(side * shrink), 1) for side in (height, width))
        if min(height, width) < 16:
            given = f"size={list(size)}" if size is not None else f"longest={longest}"
            raise UsageError(f"{given} shows the downstream network {height}x{width} pixels: give sides of at least 16")
        return height, width

    def resized(self, rows: Tensor, size: tuple[int, int]) -> Batch:
        """Return whole pairs at one size, chosen, flipped and swapped by the rows of a plan.

        Images are resized by antialiased bilinear interpolation and kept as they are stored (usually 8 bits), masks
        by the nearest pixel, boxes in proportion. All pairs are resized once, at the first call with a size.

        Args:
            rows: ``(B, 6)`` int64, see :mod:`fusionkit.data.epoch_plan`; the crop's position is not used. For boxes
                keep them on the host: each sample has its own number of boxes, which the host has to know.
            size: height and width.

        Returns:
            Sources ``(B, C, h, w)`` in [0, 1] and targets, on the training device: class ids ``(B, h, w)`` int64, or
            one :class:`fusionkit.contracts.Boxes` per sample.
        """
        if min(size) < 1:
            raise UsageError(f"size: a height and a width of at least 1 are needed, got {size}")
        whole = self._resized.get(size)
        if whole is None:
            whole = self._resized[size] = self._resize_all(size)
        at_home = rows.to(self.home)
        pair = at_home[:, PAIR]
        sources = [_flipped(self._unit(stored[pair]), at_home.to(self.device)) for stored in whole.sources]
        return Batch(self._swapped(sources, rows), self._targets(whole, rows, at_home, size))

    def labelled_crops(self, rows: Tensor, side: int, *, least_visible: float = 0.25) -> Batch:
        """Cut out crops like :meth:`crops`, with the labels cropped and flipped in the same way.

        Args:
            rows: ``(B, 6)`` int64, see :mod:`fusionkit.data.epoch_plan`; on the host, as each sample is cut by itself.
            side: height and width of the crops.
            least_visible: a box of which less than this share of its area is in the crop is dropped.

        Raises:
            fusionkit.errors.DataError: a pair is smaller than the crop: its reflection has no label.
        """
        short = min(min(size) for size in self.whole_sizes)
        if short < side:
            raise DataError(f"labelled crops of {side}x{side}: the smallest pair has a side of {short} pixels")
        sources = self.crops(rows, side).sources
        masks: list[Tensor] = []
        boxes: list[Boxes] = []
        for pair, top, left, upside, mirrored, _ in rows.tolist():
            if self.spec.kind == "detection":
                cut = crop_boxes(self._boxes[pair], top=top, left=left, size=(side, side), least_visible=least_visible)
                boxes.append(flip_boxes(cut, (side, side), rows=bool(upside), columns=bool(mirrored)))
            else:
                turned = [axis for axis, flip in enumerate((upside, mirrored)) if flip]
                masks.append(self._masks[pair][top : top + side, left : left + side].flip(turned))
        return Batch(sources, torch.stack(masks).to(self.device).long() if masks else tuple(boxes))

    def _targets(self, whole: _Resized, rows: Tensor, at_home: Tensor, size: tuple[int, int]) -> object:
        if whole.masks is not None:
            chosen = whole.masks[at_home[:, PAIR]][:, None]
            return _flipped(chosen, at_home)[:, 0].to(self.device).long()
        return tuple(
            flip_boxes(whole.boxes[pair], size, rows=bool(upside), columns=bool(mirrored))
            for pair, _, _, upside, mirrored, _ in rows.tolist()
        )

    def _resize_all(self, size: tuple[int, int]) -> _Resized:
        resized: list[list[Tensor]] = [[] for _ in self._flat]
        for index in range(len(self)):
            for stored, source in zip(resized, self.whole(index), strict=True):
                stored.append(self._as_stored(_resize(source, size)).to(self.home))
        masks = [resize_mask(mask, size) for mask in self._masks]
        boxes = [scale_boxes(box, was, size) for box, was in zip(self._boxes, self.whole_sizes, strict=False)]
        return _Resized([torch.cat(parts) for parts in resized], torch.stack(masks) if masks else None, boxes)

    def _as_stored(self, unit: Tensor) -> Tensor:
        return (unit * 255).round().to(torch.uint8) if self._flat[0].dtype == torch.uint8 else unit


def _resize(source: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(source.shape[2:]) == size:
        return source
    return F.interpolate(source, size, mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def _flipped(images: Tensor, rows: Tensor) -> Tensor:
    """Reverse rows and columns of images ``(B, C, H, W)`` according to the rows of a plan."""
    upside = rows[:, FLIP_ROWS, None, None, None] > 0
    images = torch.where(upside, images.flip(2), images)
    mirrored = rows[:, FLIP_COLUMNS, None, None, None] > 0
    return torch.where(mirrored, images.flip(3), images)
