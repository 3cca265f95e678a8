"""Labelled images of a split for a downstream network: fused luminance and labels, resized together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts.label_types import Boxes
from fusionkit.data.labels.label_checks import read_label
from fusionkit.data.labels.label_transforms import resize_mask, scale_boxes
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.data.pair_set import PairSet
from fusionkit.io.color import luminance
from fusionkit.io.images import read_image
from fusionkit.runtime.threads import in_threads

__all__ = ["load_samples", "resize_picture"]


def load_samples(files: Sequence[Path], pairs: PairSet, size: tuple[int, int], device: torch.device) -> LabelledStore:
    """Read fused images and labels into a store that has one source, the fused image.

    What the network sees is the luminance of the 8-bit file, rounded to 8 bits again after the resizing.

    Args:
        files: one fused image per pair.
        pairs: labelled pairs.
        size: height and width to resize to.
        device: where the network is.

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
    return LabelledStore(
        pairs.task, [[image] for image, _ in found], [label for _, label in found], spec, device=device
    )


def resize_picture(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize ``(1, 1, h, w)`` in [0, 1] to ``(1, H, W)`` uint8, bilinear with antialiasing."""
    if tuple(picture.shape[2:]) != size:
        picture = F.interpolate(picture, size=size, mode="bilinear", antialias=True, align_corners=False)
    return (picture[0] * 255).round().clamp(0, 255).to(torch.uint8)
