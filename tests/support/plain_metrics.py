"""The metrics' formulas in plain numpy, float64, one image at a time: slow, and obvious enough to be believed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float64]


def histogram(x: Image) -> Image:
    counts = np.zeros(256)
    for level in np.rint(x).astype(int).flat:
        counts[level] += 1
    return counts / x.size


def joint(x: Image, y: Image) -> Image:
    counts = np.zeros((256, 256))
    for i, j in zip(np.rint(x).astype(int).flat, np.rint(y).astype(int).flat, strict=True):
        counts[i, j] += 1
    return counts / x.size


def entropy(p: Image) -> float:
    return float(-sum(q * math.log2(q) for q in p.flat if q > 0))


def mutual_information(x: Image, y: Image) -> float:
    h = joint(x, y)
    px, py = h.sum(1), h.sum(0)
    return float(sum(h[i, j] * math.log2(h[i, j] / (px[i] * py[j])) for i, j in np.argwhere(h > 0)))


def tsallis(x: Image, y: Image, q: float) -> float:
    h = joint(x, y)
    px, py = h.sum(1), h.sum(0)
    total = sum(h[i, j] ** q / (px[i] * py[j]) ** (q - 1) for i, j in np.argwhere(h > 0))
    return float((1 - total) / (1 - q))


def cross_entropy(f: Image, *sources: Image) -> float:
    q = histogram(f)
    values = []
    for s in sources:
        p = histogram(s)
        values.append(sum(p[k] * math.log2(p[k] / q[k]) for k in range(256) if p[k] > 0 and q[k] > 0))
    return float(np.mean(values))


def qncie(f: Image, a: Image, b: Image) -> float:
    images = (a, b, f)
    matrix = np.eye(3)
    for i in range(3):
        for j in range(3):
            if i != j:
                matrix[i, j] = mutual_information(images[i], images[j]) / 8
    return float(1 + sum(v / 3 * math.log2(v / 3) / 8 for v in np.linalg.eigvalsh(matrix) if v > 0))


def pearson(x: Image, y: Image) -> float:
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])


def scd(f: Image, a: Image, b: Image) -> float:
    return pearson(f - b, a) + pearson(f - a, b)


def spatial_frequency(f: Image) -> float:
    return math.sqrt(np.mean(np.diff(f, axis=0) ** 2) + np.mean(np.diff(f, axis=1) ** 2))


def average_gradient(f: Image) -> float:
    gy, gx = np.gradient(f)
    return float(np.mean(np.sqrt((gx**2 + gy**2) / 2)))


def sobel(x: Image, mode: str) -> tuple[Image, Image]:
    """Right minus left and below minus above, with weights 1 2 1; ``mode`` of :func:`numpy.pad`."""
    p = np.pad(x, 1, mode=mode)  # type: ignore[call-overload]
    gx, gy = np.zeros_like(x), np.zeros_like(x)
    weights = (1, 2, 1)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            gx[i, j] = sum(w * (p[i + k, j + 2] - p[i + k, j]) for k, w in enumerate(weights))
            gy[i, j] = sum(w * (p[i + 2, j + k] - p[i, j + k]) for k, w in enumerate(weights))
    return gx, gy


def edge_intensity(f: Image) -> float:
    gx, gy = sobel(f, "edge")
    return float(np.mean(np.hypot(gx, gy)))


def qabf(f: Image, *sources: Image) -> float:
    def strength_and_angle(x: Image) -> tuple[Image, Image]:
        gx, gy = sobel(x, "constant")
        angle = np.full(x.shape, math.pi / 2)
        # The kernels of the published code point left and down.
        angle[gx != 0] = np.arctan(gy[gx != 0] / -gx[gx != 0])
        return np.hypot(gx, gy), angle

    gf, af = strength_and_angle(f)
    above, below = 0.0, 0.0
    for s in sources:
        gs, angle = strength_and_angle(s)
        for i, j in np.ndindex(f.shape):
            x, y = gs[i, j], gf[i, j]
            relative = y if x == y else min(x, y) / max(x, y)
            turned = 1 - abs(angle[i, j] - af[i, j]) / (math.pi / 2)
            qg = 0.9994 / (1 + math.exp(-15 * (relative - 0.5)))
            qa = 0.9879 / (1 + math.exp(-22 * (turned - 0.8)))
            above += qg * qa * x
            below += x
    return above / below


def petrovic(f: Image, a: Image, b: Image) -> tuple[float, float]:
    """Nabf and Labf."""

    def strength_and_angle(x: Image) -> tuple[Image, Image]:
        gx, gy = sobel(x / 8, "reflect")
        angle = np.zeros(x.shape)
        for i, j in np.ndindex(x.shape):
            if gx[i, j] != 0 or gy[i, j] != 0:
                angle[i, j] = math.atan(gx[i, j] / gy[i, j]) if gy[i, j] else math.copysign(math.pi / 2, gx[i, j])
        return np.hypot(gx, gy), angle

    gf, af = strength_and_angle(f)
    parts = [strength_and_angle(s) for s in (a, b)]
    made_up, lost, total = 0.0, 0.0, 0.0
    for i, j in np.ndindex(f.shape):
        missing = 0.0
        for gs, angle in parts:
            x, y = gs[i, j], gf[i, j]
            relative = min(x, y) / max(x, y) if x and y else 0.0
            turned = abs(abs(angle[i, j] - af[i, j]) - math.pi / 2) * 2 / math.pi
            qg = 0.9999 / (1 + math.exp(-19 * (relative - 0.5)))
            qa = 0.9995 / (1 + math.exp(-22 * (turned - 0.5)))
            weight = x**1.5 if x >= 2 else 0.001
            missing += (1 - math.sqrt(qg * qa)) * weight
            total += weight
        if all(gf[i, j] > gs[i, j] for gs, _ in parts):
            made_up += missing
        else:
            lost += missing
    return made_up / total, lost / total


def gaussian(size: int, sigma: float) -> Image:
    middle = (size - 1) / 2
    y, x = np.mgrid[:size, :size] - middle
    kernel = np.exp(-(x**2 + y**2) / (2 * sigma**2))
    return np.asarray(kernel / kernel.sum())


def windows(x: Image, kernel: Image) -> Image:
    """The weighted sum under the kernel at every place where it fits."""
    height, width = (n - k + 1 for n, k in zip(x.shape, kernel.shape, strict=True))
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            out[i, j] = (x[i : i + kernel.shape[0], j : j + kernel.shape[1]] * kernel).sum()
    return out


def local_moments(x: Image, y: Image, kernel: Image) -> tuple[Image, Image, Image, Image, Image]:
    mx, my = windows(x, kernel), windows(y, kernel)
    vx, vy = windows(x * x, kernel) - mx**2, windows(y * y, kernel) - my**2
    return mx, my, vx, vy, windows(x * y, kernel) - mx * my


def ssim(f: Image, s: Image, data_range: float = 255.0) -> float:
    mx, my, vx, vy, cov = local_moments(f, s, gaussian(11, 1.5))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    return float(np.mean((2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))))


def channels(f: Image, s: Image) -> list[tuple[Image, Image, Image]]:
    """Gain, noise variance and source variance at the four scales of VIFp."""
    found = []
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        kernel = gaussian(size, size / 5)
        if scale > 1:
            f, s = windows(f, kernel)[::2, ::2], windows(s, kernel)[::2, ::2]
        _, _, vf, vs, cov = local_moments(f, s, kernel)
        vf, vs = np.maximum(vf, 0), np.maximum(vs, 0)
        g = cov / (vs + 1e-10)
        v = vf - g * cov
        g[vs < 1e-10], v[vs < 1e-10] = 0, vf[vs < 1e-10]
        vs[vs < 1e-10] = 0
        g[vf < 1e-10], v[vf < 1e-10] = 0, 0
        v[g < 0] = vf[g < 0]
        g[g < 0] = 0
        found.append((g, np.maximum(v, 1e-10), vs))
    return found


def vifp(f: Image, s: Image) -> float:
    parts = channels(f, s)
    above = sum(np.log10(1 + g * g * vs / (v + 2)).sum() for g, v, vs in parts)
    return float(above / sum(np.log10(1 + vs / 2).sum() for _, _, vs in parts))


def viff(f: Image, a: Image, b: Image) -> float:
    noise = 0.005 * 255 * 255
    total = 0.0
    for weight, (ga, va, sa), (gb, vb, sb) in zip(
        (1 / 2.15, 0, 0.15 / 2.15, 1 / 2.15), channels(f, a), channels(f, b), strict=True
    ):
        first = ga < gb
        g, v, s = np.where(first, ga, gb), np.where(first, va, vb), np.where(first, sa, sb)
        above = (np.log10(1 + g * g * s / (v + noise)) + 1e-7).sum()
        total += weight * above / (np.log10(1 + s / noise) + 1e-7).sum()
    return float(total)
