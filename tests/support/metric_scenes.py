"""Images for the tests of metrics: small, seeded, and of every kind that a formula could stumble over."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor


def scene(height: int, width: int, *, seed: int = 0, batch: int = 1, smooth: bool = True) -> tuple[Tensor, ...]:
    """Fused image and two sources of integer grey levels: correlated, noisy, with flat and saturated areas."""
    draw = np.random.default_rng(seed)

    def image() -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        waves = sum(
            draw.uniform(10, 50)
            * np.sin(draw.uniform(0.05, 0.6) * x + draw.uniform(0.05, 0.6) * y + draw.uniform(0, 6))
            for _ in range(4)
        )
        return 120 + waves + (draw.normal(0, 8, (height, width)) if smooth else draw.uniform(-99, 99, (height, width)))

    def grey(x: np.ndarray) -> Tensor:
        return torch.from_numpy(np.rint(np.clip(x, 0, 255))).double()[None, None]

    samples = []
    for _ in range(batch):
        a, b = image(), image()
        a[: height // 4, : width // 4] = 0
        b[-(height // 4) :, : width // 3] = 255
        fused = 0.6 * a + 0.4 * b + draw.normal(0, 3, a.shape)
        fused[: height // 5, : width // 5] = 0
        samples.append((grey(fused), grey(a), grey(b)))
    return tuple(torch.cat(part) for part in zip(*samples, strict=True))


def degenerate(height: int, width: int) -> dict[str, tuple[Tensor, Tensor, Tensor]]:
    """The images on which formulas become 0/0: name -> fused, first, second."""
    f, a, b = scene(height, width, seed=5)
    grey, black = torch.full_like(f, 128.0), torch.zeros_like(f)
    return {
        "fused is a copy of a": (a, a, b),
        "all equal": (a, a, a),
        "a constant": (f, grey, b),
        "b constant": (f, a, grey),
        "a black": (f, black, b),
        "fused constant": (grey, a, b),
        "all constant": (grey, grey, grey),
        "all black": (black, black, black),
        "constants differ": (grey, black, torch.full_like(f, 255.0)),
        "fused constant and so is a": (grey, grey, b),
        "fused inverts": (255 - a, a, b),
        "two levels": ((f > 120) * 255.0, (a > 100) * 255.0, (b > 130) * 255.0),
    }


def arrays(*images: Tensor) -> list[np.ndarray]:
    return [image[0, 0].double().numpy() for image in images]


def assert_close(ours: Tensor, expected: float, tolerance: float = 1e-10) -> None:
    """Compare a metric's value of one image with a number."""
    assert ours.shape == (1,)
    assert float(ours) == pytest.approx(expected, rel=tolerance, abs=1e-12)
