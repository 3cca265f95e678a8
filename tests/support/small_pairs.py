"""Pairs of a few pixels, for tests that do not look at what is in the pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

__all__ = ["write_noise_pairs"]


def write_noise_pairs(folder: Path, count: int, sides: tuple[str, str] = ("a", "b")) -> Path:
    """Write ``count`` grey pairs of 24 x 20 random pixels, ``a/p0.png`` and ``b/p0.png``...; the same in every call."""
    rng = np.random.default_rng(5)
    for side in sides:
        (folder / side).mkdir(parents=True)
        for k in range(count):
            cv2.imwrite(str(folder / side / f"p{k}.png"), rng.integers(0, 256, (20, 24), dtype=np.uint8))
    return folder
