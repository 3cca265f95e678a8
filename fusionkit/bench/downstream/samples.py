"""Samples of a split for a downstream network: fused luminance and labels, resized and mirrored together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts import Batch
from fusionkit.data.labels.label_checks import read_label
from fusionkit.data.labels.label_transforms import flip_boxes, nearest_positions, scale_boxes
from fusionkit.data.pair_set import PairSet
from fusionkit.io.color import luminance
from fusionkit.io.images import read_image
from fusionkit.label_types import Boxes
from fusionkit.runtime.threads import in_threads

__all__ = ["Samples", "load_samples", "resize_mask", "resize_picture"]


@dataclass(frozen=True)
class Samples:
    """The images of one split with what is known of them, in memory.

    Attributes:
        pictures: ``(n, 1, H, W)`` uint8.
        targets: one per picture: class ids ``(H, W)`` uint8, or boxes in its pixels.
    """

    pictures: Tensor
    targets: tuple[Tensor | Boxes, ...]

    def __len__(self) -> int:
        return len(self.targets)

    def batch(
        self, chosen: Sequence[int], flips: Tensor | None = None, *, device: torch.device
    ) -> tuple[Tensor, Batch]:
        """Some of the samples.

        Args:
            chosen: which.
            flips: ``(n, 2)`` bool, whether to mirror each left-right and top-bottom; None for never.
            device: where the network is.

        Returns:
            Pictures ``(n, 1, H, W)`` in [0, 1], and the batch with their targets.
        """
        shown: list[Tensor] = []
        targets: list[Any] = []
        for place, index in enumerate(chosen):
            across, down = (bool(flip) for flip in flips[place]) if flips is not None else (False, False)
            picture, target = _flipped(self.pictures[index], self.targets[index], across=across, down=down)
            shown.append(picture)
            targets.append(_moved(target, device))
        fused = torch.stack(shown).to(device).float() / 255
        known = torch.stack(targets) if isinstance(targets[0], Tensor) else tuple(targets)
        return fused, Batch(sources=(fused,), targets=known)


def load_samples(files: Sequence[Path], pairs: PairSet, size: tuple[int, int]) -> Samples:
    """Read fused images and labels.

    What the network sees is the luminance of the 8-bit file, rounded to 8 bits again after the resizing.

    Args:
        files: one fused image per pair.
        pairs: labelled pairs.
        size: height and width to resize to.

    Raises:
        fusionkit.errors.DataError: a file cannot be read, or a label does not fit its image; names it.
    """
    spec = pairs.labels
    assert spec is not None

    def read(index: int) -> tuple[Tensor, Tensor | Boxes]:
        picture = luminance(read_image(files[index]).tensor())
        own = (picture.shape[2], picture.shape[3])
        label = read_label(pairs[index], spec, own)
        resized = resize_mask(label, size) if isinstance(label, Tensor) else scale_boxes(label, own, size)
        return resize_picture(picture, size), resized

    found = in_threads(read, range(len(files)), workers=2)
    return Samples(torch.stack([picture for picture, _ in found]), tuple(target for _, target in found))


def resize_picture(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """``(1, 1, h, w)`` in [0, 1] as ``(1, H, W)`` uint8, bilinear with antialiasing."""
    if tuple(picture.shape[2:]) != size:
        picture = F.interpolate(picture, size=size, mode="bilinear", antialias=True, align_corners=False)
    return (picture[0] * 255).round().clamp(0, 255).to(torch.uint8)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Class ids ``(h, w)`` as ``(H, W)`` uint8, each pixel that of the nearest centre."""
    rows, columns = (nearest_positions(length, to) for length, to in zip(mask.shape, size, strict=True))
    return mask[rows][:, columns].to(torch.uint8)


def _flipped(picture: Tensor, target: Tensor | Boxes, *, across: bool, down: bool) -> tuple[Tensor, Tensor | Boxes]:
    """A picture ``(1, H, W)`` with its target, mirrored left-right (``across``) and top-bottom (``down``)."""
    dims = [place for place, flip in ((-1, across), (-2, down)) if flip]
    if isinstance(target, Tensor):
        return picture.flip(dims), target.flip(dims)
    size = (picture.shape[1], picture.shape[2])
    return picture.flip(dims), flip_boxes(target, size, rows=down, columns=across)


def _moved(target: Tensor | Boxes, device: torch.device) -> Tensor | Boxes:
    if isinstance(target, Tensor):
        return target.to(device).long()
    return Boxes(target.corners.to(device), target.classes.to(device))
