"""Phase congruency: edges and corners found by where the Fourier components of an image agree in phase, and QP."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from fusionkit.contracts import MetricInfo
from fusionkit.metrics.arithmetic import ratio
from fusionkit.metrics.scene import Once, Scene, SceneMetric, direct
from fusionkit.metrics.windows import Window, local_moments

__all__ = ["QP", "Congruency", "phase_congruency", "zhao"]

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

WINDOW = Window(11, 1.5)


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


def zhao(
    fused: Tensor, a: Tensor, b: Tensor, *, threshold: float = 0.1, finite: bool = True, once: Once = direct
) -> Tensor:
    """How well the fused image keeps the sources' edges and corners, by phase congruency (Zhao's QP).

    For each of the maps of :func:`phase_congruency` (p, M, m) the fused map is correlated locally, 11 x 11 Gaussian
    of sigma 1.5, zeros beyond the border, ``(cov + 1e-4) / (sigma sigma_F + 1e-4)``, with the map of A, of B and of
    whichever has the greater p at the pixel. The source maps are cut to where p > 0.1. Per pixel the best of the three
    counts; the mean is over the pixels where the greater p > 0.1. ``QP`` is the product of the three means.

    Args:
        fused: ``(B, 1, H, W)``, 0..255.
        a: the first source, same shape.
        b: the second source, same shape.
        threshold: congruency from which on a pixel is a feature.
        finite: a constant fused image has the value 0, and where no source has a feature the value is 1 if the fused
            image has none either, else 0. Otherwise such values are what the formula gives: NaN for black images, near
            1 for a constant fused image.
        once: see :mod:`fusionkit.metrics.scene`.

    Returns:
        ``(B,)`` in [-1, 1]; computed in float64 whatever the dtype.

    Source: Zhao, Laganiere and Liu, Int. J. Innov. Comput. Inf. Control 3, 2007; Z. Liu's toolbox (``metricZhao``).
    """
    of_fused, of_a, of_b = (once(phase_congruency, x) for x in (fused, a, b))
    a_leads = of_a.total > of_b.total
    masks = [x > threshold for x in (of_a.total, of_b.total, torch.maximum(of_a.total, of_b.total))]
    count = masks[2].sum((1, 2, 3))
    value = torch.ones_like(of_fused.total[:, 0, 0, 0])
    for map_f, map_a, map_b in zip(of_fused, of_a, of_b, strict=True):
        maps = (map_a, map_b, torch.where(a_leads, map_a, map_b))
        best = _correlation(map_f, maps, masks).amax(1)
        value = value * (best.sum((1, 2)) / count)
    if finite:
        featureless = (fused == fused[..., :1, :1]).all(3).all(2)[:, 0]
        nothing = ~(of_fused.total > threshold).flatten(1).any(1)
        value = torch.where(count == 0, nothing.to(value.dtype), torch.where(featureless, 0.0, value))
    else:
        black = torch.stack([(x == 0).flatten(1).all(1) for x in (fused, a, b)]).any(0)
        value = torch.where(black, torch.nan, value)
    return value.to(fused.dtype)


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
    image = image.double() - image.double()[..., :1, :1]
    radial, angular, noise = _filters(image.shape[-2], image.shape[-1], image.device)
    spectrum = torch.fft.fft2(image)
    zero = torch.zeros_like(image)
    total_energy, total_amplitude, xx, yy, xy = (zero.clone() for _ in range(5))
    for n in range(ORIENTATIONS):
        response = torch.fft.ifft2(spectrum * (radial * angular[n]))
        # Faster than abs(), which guards against overflow.
        power = response.real.square() + response.imag.square()
        amplitude = power.sqrt()
        summed = response.sum(1, keepdim=True)
        direction = summed / (summed.abs() + EPSILON)
        turned = response * direction.conj()
        energy = (turned.real - turned.imag.abs()).sum(1, keepdim=True)
        # Rayleigh-distributed noise: its power follows from the median response of the finest scale.
        threshold = (_median(power[:, 0]) * noise[n]).sqrt()[:, None, None, None]
        amplitudes = amplitude.sum(1, keepdim=True)
        width = amplitudes / (amplitude.amax(1, keepdim=True) + EPSILON) / SCALES
        energy = torch.sigmoid((width - SPREAD_CUTOFF) * SPREAD_GAIN) * (energy - threshold).clamp(min=0)
        total_energy += energy
        total_amplitude += amplitudes
        congruency = ratio(energy, amplitudes)
        angle = n * math.pi / ORIENTATIONS
        x, y = congruency * math.cos(angle), congruency * math.sin(angle)
        xx += x * x
        yy += y * y
        xy += x * y
    xx, yy, xy = xx / (ORIENTATIONS / 2), yy / (ORIENTATIONS / 2), xy / ORIENTATIONS
    root = torch.sqrt(xy.square() + (xx - yy).square()) + EPSILON
    return Congruency(total_energy / (total_amplitude + EPSILON), (xx + yy + root) / 2, (xx + yy - root) / 2)


def _correlation(fused: Tensor, maps: tuple[Tensor, ...], masks: list[Tensor]) -> Tensor:
    """Local correlation of the fused map with each masked map, 0 outside the mask: ``(B, 3, H, W)``."""
    mask = torch.cat(masks, 1)
    source = torch.where(mask, torch.cat(maps, 1), 0.0)
    m = local_moments(torch.cat((fused, source), 1), WINDOW.taps(), padding="zeros")
    return torch.where(mask, (m.cov + EPSILON) / ((m.var * m.var_fused).sqrt() + EPSILON), 0.0)


def _median(planes: Tensor) -> Tensor:
    """Median over H and W, the mean of the middle two if there are two: ``(B,)`` of ``(B, H, W)``."""
    values = planes.flatten(1)
    count = values.shape[1]
    upper = values.kthvalue(count // 2 + 1).values
    return upper if count % 2 else (values.kthvalue(count // 2).values + upper) / 2


@lru_cache(maxsize=2)
def _filters(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    """Radial filters ``(SCALES, H, W)``, angular ones ``(ORIENTATIONS, H, W)``, both with frequency 0 in the corner,
    and for each orientation the square of the noise threshold over the median squared response."""
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


@dataclass(frozen=True, kw_only=True)
class QP(SceneMetric):
    """:func:`zhao` under one convention."""

    info: ClassVar[MetricInfo] = MetricInfo(
        name="QP",
        title="Zhao's phase congruency quality",
        measures="how well the edges and corners of the sources, found by phase congruency, are kept",
        higher_is_better=True,
        range=(-1.0, 1.0),
        unit="1",
        paper="Zhao, Laganiere, Liu, Performance assessment of combinative pixel-level image fusion, IJICIC 3, 2007",
        equation="P_p P_M P_m, P = mean over features of max(corr(F, A), corr(F, B), corr(F, max))",
        needs="sources",
        sources="two",
        min_size=11,
        undefined="a constant fused image: 0; sources without features: 1 if the fused image has none either, else 0",
        notes=(
            "agrees with Z. Liu's metricZhao and MEFB's Qp; there a constant fused image scores 0.997, here 0",
            "equal images score below 1: the fused map is not cut to the features, the sources' are",
        ),
    )
    threshold: float = 0.1
    finite: bool = True

    def measure(self, scene: Scene) -> Tensor:
        return zhao(scene.fused, *scene.sources, threshold=self.threshold, finite=self.finite, once=scene.once)
