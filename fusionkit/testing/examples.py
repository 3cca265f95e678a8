"""Sources and training pairs to try a plugin on: synthetic, small, the same at every call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from fusionkit.tasks import IVIF, Task

if TYPE_CHECKING:
    from fusionkit.data.store import PairStore


def example_sources(
    size: tuple[int, int],
    *,
    count: int = 2,
    batch: int = 1,
    channels: int = 1,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> tuple[Tensor, ...]:
    """Aligned sources of one scene each: a shared smooth background, detail of their own, the full range.

    Args:
        size: height and width, at least 1.
        count: sources.
        batch: samples.
        channels: 1 or 3.
        dtype: float32 or float64.
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
    return tuple(source.to(dtype) for source in sources)


def example_pairs(
    task: Task = IVIF, *, count: int = 6, size: tuple[int, int] = (136, 144), channels: int = 1, seed: int = 0
) -> PairStore:
    """Training pairs on the CPU to run a trainer's steps on.

    Args:
        task: what the sources are.
        count: pairs; meta-training needs at least two.
        size: height and width, no less than the crops that will be taken.
        channels: 1 for luminance, 3 for RGB.
        seed: of the draw.
    """
    from fusionkit.data.store import PairStore

    drawn = example_sources(size, count=len(task.sources), batch=count, channels=channels, seed=seed)
    eight_bit = [(source * 255).round().to(torch.uint8) for source in drawn]
    pairs = [[source[k] for source in eight_bit] for k in range(count)]
    return PairStore(task, pairs, device=torch.device("cpu"))
