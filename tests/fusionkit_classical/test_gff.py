"""Guided filtering fusion against the paper's steps in numpy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate, uniform_filter

from fusionkit.errors import UsageError
from fusionkit_classical.gff import Gff, GffConfig, laplacian_saliency

Image = NDArray[np.float64]
LAPLACIAN = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=float)


def slow_saliency(image: Image, window: int, sigma: float) -> Image:
    offset = np.arange(window) - window // 2
    gaussian = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * sigma**2))
    return correlate(np.abs(correlate(image, LAPLACIAN, mode="nearest")), gaussian / gaussian.sum(), mode="nearest")


def slow_mean(image: Image, radius: int) -> Image:
    """Mean over the part of the window inside the image, from sums over zeros outside."""
    ones = np.ones((2 * radius + 1, 2 * radius + 1))
    total, count = (correlate(x, ones, mode="constant") for x in (image, np.ones_like(image)))
    return total / count


def slow_guided(guide: Image, image: Image, radius: int, epsilon: float) -> Image:
    mean_g, mean_p = slow_mean(guide, radius), slow_mean(image, radius)
    covariance = slow_mean(guide * image, radius) - mean_g * mean_p
    slope = covariance / (slow_mean(guide * guide, radius) - mean_g**2 + epsilon)
    return slow_mean(slope, radius) * guide + slow_mean(mean_p - slope * mean_g, radius)


def slow_gff(images: list[Image], c: GffConfig) -> Image:
    saliency = np.stack([slow_saliency(i, c.saliency_window, c.saliency_sigma) for i in images])
    chosen = saliency.argmax(0)
    fused = np.zeros_like(images[0])
    for radius, epsilon, detail in (
        (c.base_radius, c.base_epsilon, False),
        (c.detail_radius, c.detail_epsilon, True),
    ):
        weights = [
            slow_guided(i, (chosen == n).astype(float), radius, epsilon).clip(0, 1) + 1e-12
            for n, i in enumerate(images)
        ]
        for image, weight in zip(images, weights, strict=True):
            base = uniform_filter(image, c.base_window, mode="nearest")
            fused += weight / np.sum(weights, 0) * (image - base if detail else base)
    return fused.clip(0, 1)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (20, 31)])
def test_saliency_is_a_smoothed_absolute_laplacian(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(size)
    ours = laplacian_saliency(torch.from_numpy(image)[None, None], window=11, sigma=5.0)
    np.testing.assert_allclose(ours[0, 0].numpy(), slow_saliency(image, 11, 5.0), atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_fusion_follows_the_papers_steps(count: int) -> None:
    rng = np.random.default_rng(1)
    images = [rng.random((40, 29)) for _ in range(count)]
    config = GffConfig(base_radius=12, detail_radius=3, base_window=9)
    ours = Gff(config)(*(torch.from_numpy(i)[None, None] for i in images))
    np.testing.assert_allclose(ours[0, 0].numpy(), slow_gff(images, config), atol=1e-7)


def test_the_sharper_source_wins() -> None:
    rng = np.random.default_rng(2)
    sharp = torch.from_numpy(0.5 + 0.3 * rng.standard_normal((1, 1, 64, 64))).clamp(0, 1)
    dull = torch.full_like(sharp, 0.5)
    assert (Gff()(sharp, dull) - sharp).abs().max() < 0.02
    assert (Gff()(dull, sharp) - sharp).abs().max() < 0.02


def test_wrong_options_name_themselves() -> None:
    with pytest.raises(UsageError, match="base_window=30 is not valid: a window is an odd number of pixels"):
        Gff(GffConfig(base_window=30))
    with pytest.raises(UsageError, match="detail_epsilon=0 is not valid"):
        Gff(GffConfig(detail_epsilon=0))
