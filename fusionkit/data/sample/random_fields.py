"""Random fields drawn from a seeded generator, and blurring."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from fusionkit.data.sample.photographs import Floats, floats

__all__ = ["clouds", "ramp", "smooth"]


def smooth(image: Floats, sigma: float) -> Floats:
    """Gaussian blur with standard deviation ``sigma`` in pixels, borders reflected."""
    return floats(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT))


def clouds(shape: tuple[int, int], rng: Generator, *, scale: float, octaves: int = 4) -> Floats:
    """Fractal noise in [0, 1]: octaves of blurred white noise, each half as wide and half as strong.

    Args:
        shape: height and width.
        rng: source of randomness.
        scale: standard deviation of the widest blur, pixels.
        octaves: how many are added.
    """
    total = np.zeros(shape, np.float32)
    for octave in range(octaves):
        layer = smooth(rng.standard_normal(shape, dtype=np.float32), max(scale / 2**octave, 0.6))
        total += layer / layer.std() / 2**octave
    return floats((total - total.min()) / (total.max() - total.min()))


def ramp(shape: tuple[int, int], angle: float) -> Floats:
    """An affine field in [0, 1] that grows along ``angle`` (radians, 0 to the right, pi/2 down)."""
    rows, columns = floats(np.mgrid[: shape[0], : shape[1]])
    field = np.cos(angle) * columns + np.sin(angle) * rows
    return floats((field - field.min()) / (field.max() - field.min()))
