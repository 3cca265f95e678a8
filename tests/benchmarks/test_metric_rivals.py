"""The same numbers as other people's code that is installed here, on larger images."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import skimage.measure
import skimage.metrics
import torch
from torch import Tensor

from fusionkit.metrics import build, score
from fusionkit.metrics.gradients import central_differences, sobel
from fusionkit.metrics.ssim import structural_similarity
from fusionkit.metrics.windows import Window, filter_planes
from tests.support.metric_scenes import arrays, scene


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, ...]:
    return scene(97, 120, seed=11)


def test_entropy_is_skimages(images: tuple[Tensor, ...]) -> None:
    assert float(build("EN")(images[0])) == pytest.approx(skimage.measure.shannon_entropy(arrays(images[0])[0]))


def test_normalized_mutual_information_of_one_source_is_skimages(images: tuple[Tensor, ...]) -> None:
    f, a, _ = arrays(*images)
    # skimage has (H(X) + H(Y)) / H(X, Y), which is 1 at least.
    theirs = skimage.metrics.normalized_mutual_information(f, a, bins=[np.arange(257) - 0.5] * 2)
    assert float(build("NMI")(images[0], images[1])) == pytest.approx(2 * (1 - 1 / theirs), rel=1e-9)


def test_ssim_is_skimages_with_gaussian_weights(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    theirs = [
        skimage.metrics.structural_similarity(
            f, s, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        for s in (a, b)
    ]
    assert structural_similarity(*images)[0].tolist() == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize(
    ("profile", "data_range", "dtype", "reduce"),
    # The tables' code ran on float32 images with the range of 2 that scikit-image then took, or on bytes.
    [
        ("cddfuse", 2, np.float32, np.sum),
        ("refusion", 2, np.float32, np.mean),
        ("tdfusion", 255, np.uint8, np.mean),
    ],
)
def test_ssim_of_the_tables_is_skimages_default(
    images: tuple[Tensor, ...], profile: str, data_range: float, dtype: type, reduce: np.ufunc
) -> None:
    f, a, b = (x.astype(dtype) for x in arrays(*images))
    theirs = [skimage.metrics.structural_similarity(f, s, data_range=data_range) for s in (a, b)]
    assert float(build("SSIM", profile)(*images)) == pytest.approx(reduce(theirs), rel=1e-9)


def test_psnr_and_mse_of_one_source_are_skimages(images: tuple[Tensor, ...]) -> None:
    f, a, _ = arrays(*images)
    assert float(build("PSNR")(*images[:2])) == pytest.approx(
        skimage.metrics.peak_signal_noise_ratio(a, f, data_range=255)
    )
    assert float(build("MSE")(*images[:2])) == pytest.approx(skimage.metrics.mean_squared_error(a, f))


def test_full_reference_metrics_take_the_truth(images: tuple[Tensor, ...]) -> None:
    f, a, b = images
    found = score(f, a, truth=b, metrics=["PSNR-truth", "SSIM-truth", "VIFp-truth"])
    theirs = skimage.metrics.structural_similarity(
        *arrays(f, b), gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert float(found["SSIM-truth"]) == pytest.approx(theirs, rel=1e-9)
    assert float(found["PSNR-truth"]) == pytest.approx(float(build("PSNR")(f, b)))
    assert float(found["VIFp-truth"]) == pytest.approx(float(build("VIFp")(f, b)))


@pytest.mark.parametrize(("ours", "theirs"), [("zeros", "constant"), ("replicate", "nearest"), ("reflect", "mirror")])
def test_sobel_is_scipys_under_every_padding(images: tuple[Tensor, ...], ours: str, theirs: str) -> None:
    (f,) = arrays(images[0])
    gx, gy = sobel(images[0], padding=ours)  # type: ignore[arg-type]
    assert np.allclose(gx[0, 0], scipy.ndimage.sobel(f, axis=1, mode=theirs))
    assert np.allclose(gy[0, 0], scipy.ndimage.sobel(f, axis=0, mode=theirs))


def test_central_differences_are_numpys(images: tuple[Tensor, ...]) -> None:
    gx, gy = central_differences(images[0])
    expected = np.gradient(arrays(images[0])[0])
    assert np.allclose(gy[0, 0], expected[0])
    assert np.allclose(gx[0, 0], expected[1])
    line = images[0][:, :, :1]
    assert torch.equal(central_differences(line)[1], torch.zeros_like(line))


@pytest.mark.parametrize("window", [Window(11, 1.5), Window(7), Window(2)], ids=str)
def test_filters_are_scipys_correlation(images: tuple[Tensor, ...], window: Window) -> None:
    (f,) = arrays(images[0])
    taps = np.array(window.taps())
    assert taps.sum() == pytest.approx(1, abs=1e-15)
    expected = scipy.signal.correlate2d(f, np.outer(taps, taps), mode="valid")
    assert np.allclose(filter_planes(images[0], window.taps())[0, 0], expected, rtol=1e-12)
    strided = filter_planes(images[0], window.taps(), stride=2)[0, 0]
    assert np.allclose(strided, expected[::2, ::2], rtol=1e-12)


def test_filters_keep_the_order_of_unequal_taps(images: tuple[Tensor, ...]) -> None:
    taps = (0.5, 0.3, 0.15, 0.05)
    (f,) = arrays(images[0])
    expected = scipy.signal.correlate2d(f, np.outer(taps, taps), mode="valid")
    assert np.allclose(filter_planes(images[0], taps)[0, 0], expected)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_filters_differentiate_forwards_backwards_and_twice(stride: int) -> None:
    def filtered(planes: Tensor) -> Tensor:
        return filter_planes(planes, (0.5, 0.3, 0.15, 0.05), stride=stride)

    planes = torch.rand(2, 2, 11, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(filtered, (planes,), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: filtered(x).square(), (planes,))
    each = torch.func.vmap(lambda x: filtered(x[None])[0])(planes.detach())
    assert torch.equal(each, filtered(planes).detach())
