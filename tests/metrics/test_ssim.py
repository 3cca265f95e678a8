"""SSIM against its formula in plain numpy and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.measure
import skimage.metrics
from torch import Tensor

from fusionkit.metrics import build
from fusionkit.metrics.ssim import structural_similarity
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, scene


def test_structural_similarity_is_the_mean_of_the_map(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    for data_range in (255.0, 2.0):
        ours = structural_similarity(*images, data_range=data_range)[0].tolist()
        assert ours == pytest.approx([plain.ssim(f, a, data_range), plain.ssim(f, b, data_range)], rel=1e-8)


@pytest.fixture(scope="module")
def large() -> tuple[Tensor, ...]:
    return scene(97, 120, seed=11)


def test_ssim_is_skimages_with_gaussian_weights(large: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*large)
    theirs = [
        skimage.metrics.structural_similarity(
            f, s, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        for s in (a, b)
    ]
    assert structural_similarity(*large)[0].tolist() == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(
    ("profile", "data_range", "dtype", "reduce"),
    # The tables' code ran on float32 large with the range of 2 that scikit-image then took, or on bytes.
    [
        ("cddfuse", 2, np.float32, np.sum),
        ("refusion", 2, np.float32, np.mean),
        ("tdfusion", 255, np.uint8, np.mean),
    ],
)
def test_ssim_of_the_tables_is_skimages_default(
    large: tuple[Tensor, ...], profile: str, data_range: float, dtype: type, reduce: np.ufunc
) -> None:
    f, a, b = (x.astype(dtype) for x in arrays(*large))
    theirs = [skimage.metrics.structural_similarity(f, s, data_range=data_range) for s in (a, b)]
    assert float(build("SSIM", profile)(*large)) == pytest.approx(reduce(theirs), rel=1e-9)
