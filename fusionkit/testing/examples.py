"""Sources and training pairs to try a plugin on: synthetic, small, the same at every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.contracts.label_types import IGNORE, Boxes, LabelKind, LabelSpec
from fusionkit.tasks import IVIF, Task

if TYPE_CHECKING:
    from fusionkit.data.labels.labelled_store import LabelledStore
    from fusionkit.data.pair_store import PairStore


def example_sources(
    size: tuple[int, int],
    *,
    count: int = 2,
    batch: int = 1,
    channels: int = 1,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> tuple[Tensor, ...]:
    """Make aligned sources of synthetic scenes: a shared smooth background, detail of their own, the full range [0, 1].

    Args:
        size: height and width, at least 1.
        count: sources.
        batch: samples.
        channels: 1 or 3.
        dtype: any floating-point type.
        device: where they are to lie; the values are the same on every device.
        seed: of the draw.

    Returns:
        ``count`` tensors ``(batch, channels, *size)`` in [0, 1].
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(height: int, width: int) -> Tensor:
        return torch.rand(batch, channels, height, width, generator=generator, dtype=torch.float64)

    coarse = (max(1, size[0] // 8), max(1, size[1] // 8))
    background = F.interpolate(noise(*coarse), size, mode="bilinear", align_corners=False)
    detail = [F.interpolate(noise(*coarse), size, mode="nearest") for _ in range(count)]
    sources = (0.4 * background + 0.3 * each + 0.3 * noise(*size) for each in detail)
    return tuple(source.to(dtype).to(device) for source in sources)


EXAMPLE_CLASSES = ("ground", "person", "car")
"""Names of the classes of the example labels."""


def example_labels(
    kind: LabelKind,
    size: tuple[int, int],
    *,
    batch: int = 1,
    classes: int = len(EXAMPLE_CLASSES),
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> tuple[Tensor, ...] | tuple[Boxes, ...]:
    """Labels of as many images: a mask with two rectangles, a border that does not count, or the rectangles as boxes.

    Args:
        kind: masks or boxes.
        size: height and width, at least 8.
        batch: samples.
        classes: number of classes.
        device: where they are to lie.
        seed: of the draw.

    Returns:
        Class ids ``(H, W)`` int64, or boxes, one per sample.
    """
    generator = torch.Generator().manual_seed(seed)
    height, width = size
    masks, boxes = [], []
    for _ in range(batch):
        share = torch.rand(2, 4, generator=generator, dtype=torch.float64)
        top, left = share[:, 0] * height / 2, share[:, 1] * width / 2
        bottom, right = top + (0.25 + share[:, 2] / 4) * height, left + (0.25 + share[:, 3] / 4) * width
        corners = torch.stack((left, top, right, bottom), 1).round()
        ids = torch.randint(0, classes, (2,), generator=generator)
        mask = torch.zeros(size, dtype=torch.int64)
        for (x0, y0, x1, y1), number in zip(corners.int().tolist(), ids.tolist(), strict=True):
            mask[y0:y1, x0:x1] = number
        mask[0], mask[:, 0] = IGNORE, IGNORE
        masks.append(mask.to(device))
        boxes.append(Boxes(corners.float().to(device), ids.to(device)))
    return tuple(masks) if kind == "segmentation" else tuple(boxes)


def example_labelled_pairs(
    kind: LabelKind,
    task: Task = IVIF,
    *,
    count: int = 6,
    size: tuple[int, int] = (136, 144),
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> LabelledStore:
    """Labelled training pairs to run a trainer's steps on.

    Args:
        kind: masks or boxes, of :data:`EXAMPLE_CLASSES`.
        task: what the sources are.
        count: pairs; meta-training needs at least two.
        size: height and width, no less than the crops that will be taken.
        device: where the trainer runs.
        seed: of the draw.
    """
    from fusionkit.data.labels.labelled_store import LabelledStore

    pairs = _eight_bit(size, len(task.sources), count, 1, seed)
    labels = example_labels(kind, size, batch=count, seed=seed)
    return LabelledStore(task, pairs, labels, LabelSpec(kind, EXAMPLE_CLASSES), device=torch.device(device))


def example_pairs(
    task: Task = IVIF,
    *,
    count: int = 6,
    size: tuple[int, int] = (136, 144),
    channels: int = 1,
    device: torch.device | str = "cpu",
    seed: int = 0,
) -> PairStore:
    """Training pairs to run a trainer's steps on.

    Args:
        task: what the sources are.
        count: pairs; meta-training needs at least two.
        size: height and width, no less than the crops that will be taken.
        channels: 1 for luminance, 3 for RGB.
        device: where the trainer runs.
        seed: of the draw.
    """
    from fusionkit.data.pair_store import PairStore

    return PairStore(task, _eight_bit(size, len(task.sources), count, channels, seed), device=torch.device(device))


def _eight_bit(size: tuple[int, int], sources: int, count: int, channels: int, seed: int) -> list[list[Tensor]]:
    drawn = example_sources(size, count=sources, batch=count, channels=channels, seed=seed)
    stored = [(source * 255).round().to(torch.uint8) for source in drawn]
    return [[source[k] for source in stored] for k in range(count)]
