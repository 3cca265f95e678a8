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


Filters = tuple[tuple[Tensor, Tensor], ...]
"""Of each filter the parts that are even and odd in frequency, half the columns of each."""

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
    half = torch.fft.rfft2(image)
    # The response to the odd part of a filter is imaginary: of the spectrum times -i it is real.
    halves = torch.view_as_real(half), torch.view_as_real(half * -1j)
    zero = torch.zeros_like(image)
    total_energy, total_amplitude, xx, yy, xy = (zero.clone() for _ in range(5))
    for n in range(ORIENTATIONS):
        responses = [_response(halves, scale, angular[n], (height, width)) for scale in radial]
        # Rayleigh-distributed noise: its power follows from the median response of the finest scale.
        finest = responses[0][0].square().addcmul_(responses[0][1], responses[0][1])
        threshold = (_median(finest[:, 0]) * noise[n]).sqrt()[:, None, None, None]
        angle = n * math.pi / ORIENTATIONS
        for rows in row_blocks(image.expand(-1, _PLANES, -1, -1)):
            parts = [(real[:, :, rows], imaginary[:, :, rows]) for real, imaginary in responses]
            energy, amplitudes = _energy(parts, threshold)
            total_energy[:, :, rows] += energy
            total_amplitude[:, :, rows] += amplitudes
            congruency = ratio(energy, amplitudes)
            x, y = congruency * math.cos(angle), congruency * math.sin(angle)
            xx[:, :, rows].addcmul_(x, x)
            yy[:, :, rows].addcmul_(y, y)
            xy[:, :, rows].addcmul_(x, y)
    xx, yy, xy = xx / (ORIENTATIONS / 2), yy / (ORIENTATIONS / 2), xy / ORIENTATIONS
    root = torch.sqrt(xy.square() + (xx - yy).square()) + EPSILON
    return Congruency(total_energy / (total_amplitude + EPSILON), (xx + yy + root) / 2, (xx + yy - root) / 2)


def _response(
    halves: tuple[Tensor, Tensor], scale: tuple[Tensor, Tensor], spread: tuple[Tensor, Tensor], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Real and imaginary part ``(B, 1, H, W)`` of an image filtered on one scale in one orientation.

    Args:
        halves: half the spectrum of the image, and the same times -i.
        scale: parts of the radial filter that are even and odd in frequency.
        spread: the same of the angular filter.
        size: height and width.
    """
    even, odd = scale[0] * spread[0], scale[0] * spread[1]
    if scale[1].count_nonzero():
        even, odd = even.addcmul(scale[1], spread[1]), odd.addcmul(scale[1], spread[0])
    real, imaginary = (_real_transform(x * part[..., None], size) for x, part in zip(halves, (even, odd), strict=True))
    return real, imaginary


def _real_transform(product: Tensor, size: tuple[int, int]) -> Tensor:
    """The real image ``(B, 1, H, W)`` of half a spectrum ``(B, 1, H, W // 2 + 1, 2)``."""
    if product.device.type != "cpu":
        return torch.fft.irfft2(torch.view_as_complex(product), size)
    from scipy import fft

    # Half the time of PyTorch's.
    return torch.from_numpy(fft.irfft2(product.numpy().view(np.complex128)[..., 0], size, overwrite_x=True))


def _energy(responses: Sequence[tuple[Tensor, Tensor]], threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Energy above the noise, weighted by the spread over the scales, and the sum of the amplitudes."""
    amplitude = [real.square().addcmul_(imaginary, imaginary).sqrt_() for real, imaginary in responses]
    even, odd = (sum(parts[1:], parts[0]) for parts in zip(*responses, strict=True))
    length = even.square().addcmul_(odd, odd).sqrt_().add_(EPSILON)
    even, odd = even / length, odd / length
    # The parts of the responses along the mean phase and across it.
    energy = torch.zeros_like(even)
    for real, imaginary in responses:
        energy.addcmul_(real, even).addcmul_(imaginary, odd)
        energy -= (imaginary * even).addcmul_(real, odd, value=-1).abs_()
    amplitudes = sum(amplitude[1:], amplitude[0])
    greatest = reduce(torch.maximum, amplitude)
    width = amplitudes / (greatest + EPSILON) / SCALES
    return torch.sigmoid((width - SPREAD_CUTOFF) * SPREAD_GAIN) * (energy - threshold).clamp(min=0), amplitudes


def _median(planes: Tensor) -> Tensor:
    """Median over H and W, the mean of the middle two if there are two: ``(B,)`` of ``(B, H, W)``."""
    values = planes.flatten(1)
    count = values.shape[1]
    upper = values.kthvalue(count // 2 + 1).values
    return upper if count % 2 else (values.kthvalue(count // 2).values + upper) / 2


@lru_cache(maxsize=2)
def _filters(height: int, width: int, device: torch.device) -> tuple[Filters, Filters, tuple[float, ...]]:
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
    return _parts(radial, device), _parts(angular, device), tuple(noise)


def _parts(filters: Tensor, device: torch.device) -> tuple[tuple[Tensor, Tensor], ...]:
    """Parts of each filter ``(H, W)`` that are even and odd in frequency, their first ``W // 2 + 1`` columns."""
    columns = filters.shape[2] // 2 + 1
    mirrored = filters.flip((1, 2)).roll((1, 1), (1, 2))
    parts = ((filters + mirrored) / 2, (filters - mirrored) / 2)
    even, odd = (part[..., :columns].contiguous().to(device) for part in parts)
    return tuple(zip(even, odd, strict=True))


def _frequencies(count: int) -> Tensor:
    """Frequencies in cycles per pixel, 0 in the middle; of an odd number the greatest is 1/2 as well."""
    frequencies = torch.arange(count, dtype=torch.float64) - count // 2
    return frequencies / (count - count % 2)
