"""QCB and QCV in plain numpy, with explicit Fourier sums."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]


def plain_stretch(x: Image, divisor: float = 1.0) -> Image:
    x = x / divisor
    if x.max() == x.min():
        return np.zeros_like(x)
    return np.floor((x - x.min()) / (x.max() - x.min()) * 255 + 0.5)


def plain_filter(x: Image, response: Callable[[float], float], degrees: float) -> Image:
    """Filter by Fourier sums over frequencies -n/2 .. n/2, written out as matrices of complex exponentials."""
    height, width = x.shape
    rows, columns = np.arange(height) - height // 2, np.arange(width) - width // 2
    down = np.exp(-2j * np.pi * np.outer(rows, np.arange(height)) / height)
    across = np.exp(-2j * np.pi * np.outer(columns, np.arange(width)) / width)
    # The frequency (width / degrees) * (2 u / width) does not depend on the size.
    gain = np.array([[response(2 * math.hypot(u, v) / degrees) for u in columns] for v in rows])
    spectrum = down @ x @ across.T * gain
    return (down.conj().T @ spectrum @ across.conj() / x.size).real


def plain_gaussian(x: Image, sigma: float) -> Image:
    offsets = np.arange(-15, 16)
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    padded = np.pad(x, 15)
    return np.array(
        [[(padded[i : i + 31, j : j + 31] * kernel).sum() for j in range(x.shape[1])] for i in range(x.shape[0])]
    )


def plain_qcb(f: Image, a: Image, b: Image, divisor: float = 255) -> float:
    def masked(x: Image) -> Image:
        x = plain_filter(
            plain_stretch(x, divisor),
            lambda r: math.exp(-((r / 15.387) ** 2)) - 0.7622 * math.exp(-((r / 1.3456) ** 2)),
            30,
        )
        contrast = np.abs(plain_gaussian(x, 2) / plain_gaussian(x, 4) - 1)
        return contrast**3 / (contrast**2 + 1e-4)

    cf, ca, cb = masked(f), masked(a), masked(b)
    qa, qb = np.minimum(ca, cf) / np.maximum(ca, cf), np.minimum(cb, cf) / np.maximum(cb, cf)
    return float(np.mean((ca**2 * qa + cb**2 * qb) / (ca**2 + cb**2)))


def plain_qcv(f: Image, a: Image, b: Image) -> float:
    f, a, b = plain_stretch(f), plain_stretch(a), plain_stretch(b)
    height, width = f.shape
    numerator = denominator = 0.0
    for x in (a, b):
        p = np.pad(x, 1)
        edges = np.zeros_like(x)
        for i in range(height):
            for j in range(width):
                w = p[i : i + 3, j : j + 3]
                gx = w[:, 2] @ [1, 2, 1] - w[:, 0] @ [1, 2, 1]
                gy = w[2] @ [1, 2, 1] - w[0] @ [1, 2, 1]
                edges[i, j] = math.hypot(gx, gy)
        seen = plain_filter(x - f, lambda r: 2.6 * (0.0192 + 0.144 * r) * math.exp(-((0.144 * r) ** 1.1)), 8)
        for i in range(0, height, 16):
            for j in range(0, width, 16):
                saliency = (edges[i : i + 16, j : j + 16] ** 5).sum()
                numerator += saliency * (seen[i : i + 16, j : j + 16] ** 2).sum() / 256
                denominator += saliency
    return numerator / denominator
