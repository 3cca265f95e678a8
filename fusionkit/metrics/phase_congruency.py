"""Phase congruency: edges and corners, found where the Fourier components of an image agree in phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.tiles import row_blocks

__all__ = ["Congruency", "phase_congruency"]

SCALES = 4
ORIENTATIONS = 6
SHORTEST_WAVE = 3.0
SCALE_FACTOR = 2.1
BANDWIDTH = 0.55
ANGULAR_SPREAD = math.pi / ORIENTATIONS / 1.2
NOISE_DEVIATIONS = 2.0
SPREAD_CUTOFF = 0.5
SPREAD_GAIN = 10.0
EPSILON = 1e-4
"""The constants of Kovesi's phasecong3, as Z. Liu's toolbox has them."""


_PLANES = 12
"""Planes that one step works on: they fit into a processor's cache together."""


class Congruency(NamedTuple):
    """Phase congruency of an image, each ``(B, 1, H, W)`` float64 in about [0, 1].

    Attributes:
        total: over all orientations: 1 where all scales agree in phase.
        greatest: greatest moment of the congruency over the orientations: strength of an edge.
        least: least moment: strength of a corner.
    """

    total: Tensor
    greatest: Tensor
    least: Tensor


def phase_congruency(image: Tensor) -> Congruency:
    """Phase congruency by log-Gabor filters on 4 scales and in 6 orientations.

    For an orientation with the responses ``E_s + i O_s`` and amplitudes ``A_s`` on the scales s, the energy is
    ``sum_s A_s (cos d_s - |sin d_s|)``, d the deviation from the mean phase, less a noise threshold T from the median
    response on the finest scale; it is weighted by ``1 / (1 + exp(10 (0.5 - width)))``, width the share of scales that
    respond. p is the energy of all orientations over the sum of all amplitudes; M and m are the principal moments of
    the single orientations' quotients.

    Args:
        image: ``(B, 1, H, W)``; any unit: only the noise of rounding depends on it.

    Returns:
        The maps; 0 everywhere for a constant image.

    Source: Kovesi, Videre 1, 1999, and DICTA 2003 (``phasecong3``), without the small differences of later versions.
    """
    # The filters have no mean: taking a pixel off changes nothing but makes a constant image exactly 0.
    image = image.detach().double()
    image = image - image[..., :1, :1]
    height, width = image.shape[-2:]
    radial, angular, noise = _filters(height, width, image.device)
    spectrum = torch.fft.fft2(image)
    total_energy, total_amplitude, xx, yy, xy = (torch.zeros_like(image) for _ in range(5))
    for n in range(ORIENTATIONS):
        responses = [torch.fft.ifft2(spectrum * (scale * angular[n])) for scale in radial]
        # Rayleigh-distributed noise: its power follows from the median response of the finest scale.
        finest = responses[0].real.square().addcmul_(responses[0].imag, responses[0].imag)
        threshold = (_median(finest[:, 0]) * noise[n]).sqrt()[:, None, None, None]
        across, down = math.cos(n * math.pi / ORIENTATIONS), math.sin(n * math.pi / ORIENTATIONS)
        for rows in row_blocks(image.expand(-1, _PLANES, -1, -1)):
            parts = [(r.real[:, :, rows].contiguous(), r.imag[:, :, rows].contiguous()) for r in responses]
            energy, amplitudes = _energy(parts, threshold)
            total_energy[:, :, rows] += energy
            total_amplitude[:, :, rows] += amplitudes
            power = ratio(energy, amplitudes).square_()
            xx[:, :, rows].add_(power, alpha=across**2)
            yy[:, :, rows].add_(power, alpha=down**2)
            xy[:, :, rows].add_(power, alpha=across * down)
    xx, yy, xy = xx / (ORIENTATIONS / 2), yy / (ORIENTATIONS / 2), xy / ORIENTATIONS
    root = torch.sqrt(xy.square() + (xx - yy).square()) + EPSILON
    return Congruency(total_energy / (total_amplitude + EPSILON), (xx + yy + root) / 2, (xx + yy - root) / 2)


def _energy(responses: Sequence[tuple[Tensor, Tensor]], threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Energy above the noise, weighted by the spread over the scales, and the sum of the amplitudes."""
    amplitude = [real.square().addcmul_(imaginary, imaginary).sqrt_() for real, imaginary in responses]
    even, odd = (sum(parts[1:], parts[0]) for parts in zip(*responses, strict=True))
    length = even.square().addcmul_(odd, odd).sqrt_().add_(EPSILON)
    # The parts of the responses along the mean phase add up to the length of their sum, those across it do not.
    energy = even.square().addcmul_(odd, odd).div_(length)
    even, odd = even.div_(length), odd.div_(length)
    for real, imaginary in responses:
        energy -= (imaginary * even).addcmul_(real, odd, value=-1).abs_()
    amplitudes = sum(amplitude[1:], amplitude[0])
    greatest = reduce(torch.maximum, amplitude)
    width = amplitudes / (greatest + EPSILON) / SCALES
    return torch.sigmoid((width - SPREAD_CUTOFF) * SPREAD_GAIN) * (energy - threshold).clamp(min=0), amplitudes


def _median(planes: Tensor) -> Tensor:
    """Median over H and W, the mean of the middle two if there are two: ``(B,)`` of ``(B, H, W)``."""
    values = planes.flatten(1)
    middle = values.shape[1] // 2
    if planes.device.type == "cpu":
        # A tenth of the time of torch's selection.
        parted = torch.from_numpy(np.partition(values.numpy(), middle, axis=1))
        upper, lower = parted[:, middle], parted[:, :middle].amax(1)
    else:
        upper, lower = (values.kthvalue(k).values for k in (middle + 1, middle))
    return upper if values.shape[1] % 2 else (lower + upper) / 2


@lru_cache(maxsize=2)
def _filters(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    """The radial filters of the scales and the angular ones of the orientations, with frequency 0 in the corner, and
    for each orientation the square of the noise threshold over the median squared response."""
    y, x = torch.meshgrid(_frequencies(height), _frequencies(width), indexing="ij")
    radius = torch.hypot(x, y)
    radius[height // 2, width // 2] = 1
    radius, angle = torch.fft.ifftshift(radius), torch.fft.ifftshift(torch.atan2(-y, x))
    # The low-pass has a grid of its own, and the published code shifts it the other way: this matters for odd sides.
    rows, columns = (torch.arange(n, dtype=torch.float64) - n // 2 for n in (height, width))
    low_pass = 1 / (1 + (torch.hypot(rows[:, None] / height, columns / width) / 0.45) ** 30)
    low_pass = torch.fft.fftshift(low_pass)
    waves = [SHORTEST_WAVE * SCALE_FACTOR**s for s in range(SCALES)]
    radial = torch.stack([torch.exp(-((radius * wave).log() ** 2) / (2 * math.log(BANDWIDTH) ** 2)) for wave in waves])
    radial = radial * low_pass
    radial[:, 0, 0] = 0
    turns = [angle - n * math.pi / ORIENTATIONS for n in range(ORIENTATIONS)]
    distances = [torch.atan2(turn.sin(), turn.cos()) for turn in turns]
    angular = torch.stack([torch.exp(-(d**2) / (2 * ANGULAR_SPREAD**2)) for d in distances])
    scale = (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / 1.7
    noise = []
    for spread in angular:
        filters = radial * spread
        # Sums over pixels of products of the filters' real parts, by Parseval from the parts even in frequency.
        even = (filters + filters.flip((1, 2)).roll((1, 1), (1, 2))) / 2
        products = torch.einsum("shw,thw->st", even, even)
        noise.append(scale**2 * products.sum().item() / filters[0].square().sum().item() / math.log(2))
    return radial.to(device), angular.to(device), tuple(noise)


def _frequencies(count: int) -> Tensor:
    """Frequencies in cycles per pixel, 0 in the middle; of an odd number the greatest is 1/2 as well."""
    frequencies = torch.arange(count, dtype=torch.float64) - count // 2
    return frequencies / (count - count % 2)
