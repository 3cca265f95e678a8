"""PSNR under every published convention against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.measure
import skimage.metrics
from torch import Tensor

from fusionkit.metrics import build, score
from fusionkit.metrics.psnr import peak_signal_to_noise_ratio
from tests.support.metric_scenes import arrays, assert_close, scene


def test_decibels_of_every_convention(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    first, second = float(np.mean((f - a) ** 2)), float(np.mean((f - b) ** 2))
    mean = (first + second) / 2
    assert_close(peak_signal_to_noise_ratio(*images), 10 * math.log10(255**2 / mean))
    assert_close(peak_signal_to_noise_ratio(*images, peak="fused"), 10 * math.log10(f.max() ** 2 / mean))
    unit = peak_signal_to_noise_ratio(*images, error="unit_mse")
    assert_close(unit, 20 * math.log10(255 / math.sqrt(mean / 255**2)))
    assert_close(
        peak_signal_to_noise_ratio(*images, pooled=False),
        (10 * math.log10(255**2 / first) + 10 * math.log10(255**2 / second)) / 2,
    )


@pytest.fixture(scope="module")
def large() -> tuple[Tensor, ...]:
    return scene(97, 120, seed=11)


def test_psnr_and_mse_of_one_source_are_skimages(large: tuple[Tensor, ...]) -> None:
    f, a, _ = arrays(*large)
    assert float(build("PSNR")(*large[:2])) == pytest.approx(
        skimage.metrics.peak_signal_noise_ratio(a, f, data_range=255)
    )
    assert float(build("MSE")(*large[:2])) == pytest.approx(skimage.metrics.mean_squared_error(a, f))


def test_full_reference_metrics_take_the_truth(large: tuple[Tensor, ...]) -> None:
    f, a, b = large
    found = score(f, a, truth=b, metrics=["PSNR-truth", "SSIM-truth", "VIFp-truth"])
    theirs = skimage.metrics.structural_similarity(
        *arrays(f, b), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert float(found["SSIM-truth"]) == pytest.approx(theirs, rel=1e-9)
    assert float(found["PSNR-truth"]) == pytest.approx(float(build("PSNR")(f, b)))
    assert float(found["VIFp-truth"]) == pytest.approx(float(build("VIFp")(f, b)))
