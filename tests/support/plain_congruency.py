"""Phase congruency in plain numpy, with explicit filters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]


def plain_filters(height: int, width: int) -> list[list[Image]]:
    """Kovesi's filters by orientation and scale, one frequency after the other, frequency 0 at [0, 0]."""
    filters = [[np.zeros((height, width)) for _ in range(4)] for _ in range(6)]
    for row in range(-(height // 2), height - height // 2):
        for column in range(-(width // 2), width - width // 2):
            x, y = column / (width - width % 2), row / (height - height % 2)
            if x == y == 0:
                continue
            radius, angle = math.hypot(x, y), math.atan2(-y, x)
            # The low-pass is laid out from the middle of its own grid, which for odd sides is one step off.
            lp_row = (row + height % 2 + height // 2) % height - height // 2
            lp_column = (column + width % 2 + width // 2) % width - width // 2
            low_pass = 1 / (1 + (math.hypot(lp_row / height, lp_column / width) / 0.45) ** 30)
            for o in range(6):
                turn = angle - o * math.pi / 6
                distance = abs(math.atan2(math.sin(turn), math.cos(turn)))
                spread = math.exp(-(distance**2) / (2 * (math.pi / 6 / 1.2) ** 2))
                for s in range(4):
                    log_gabor = math.exp(-(math.log(radius * 3 * 2.1**s) ** 2) / (2 * math.log(0.55) ** 2))
                    filters[o][s][row, column] = log_gabor * low_pass * spread
    return filters


def plain_congruency(image: Image) -> tuple[Image, Image, Image]:
    spectrum = np.fft.fft2(image)
    energies, amplitudes = np.zeros_like(image), np.zeros_like(image)
    xx, yy, xy = np.zeros_like(image), np.zeros_like(image), np.zeros_like(image)
    for o, filters in enumerate(plain_filters(*image.shape)):
        responses = [np.fft.ifft2(spectrum * f) for f in filters]
        mean = sum(responses) / (np.abs(sum(responses)) + 1e-4)
        energy = sum(
            r.real * mean.real + r.imag * mean.imag - np.abs(r.real * mean.imag - r.imag * mean.real) for r in responses
        )
        # The noise of the filters' real parts, summed over pixels in space.
        spatial = [np.fft.ifft2(f).real * math.sqrt(image.size) for f in filters]
        noise_power = np.median(np.abs(responses[0]) ** 2) / math.log(2) / (filters[0] ** 2).sum()
        squares = sum((s**2).sum() for s in spatial)
        products = sum((spatial[i] * spatial[j]).sum() for i in range(4) for j in range(i + 1, 4))
        tau = math.sqrt((2 * noise_power * squares + 4 * noise_power * products) / 2)
        threshold = (tau * math.sqrt(math.pi / 2) + 2 * math.sqrt((2 - math.pi / 2) * tau**2)) / 1.7
        amplitude = sum(np.abs(r) for r in responses)
        width = amplitude / (np.max([np.abs(r) for r in responses], axis=0) + 1e-4) / 4
        energy = np.maximum(energy - threshold, 0) / (1 + np.exp((0.5 - width) * 10))
        energies += energy
        amplitudes += amplitude
        quotient = energy / amplitude
        x, y = quotient * math.cos(o * math.pi / 6), quotient * math.sin(o * math.pi / 6)
        xx, yy, xy = xx + x**2, yy + y**2, xy + x * y
    xx, yy, xy = xx / 3, yy / 3, xy / 6
    root = np.sqrt(xy**2 + (xx - yy) ** 2) + 1e-4
    return energies / (amplitudes + 1e-4), (xx + yy + root) / 2, (xx + yy - root) / 2
