"""Rivals trained here: their contracts, and their losses and pyramid against NumPy and SciPy in float64."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from skimage.metrics import structural_similarity
from torch import Tensor

from fusionkit.errors import UsageError
from fusionkit.testing import check_fuser, check_trainer
from fusionkit_rivals.densefuse_trainer import DenseFuseLoss, DenseFuseTrainer, rebuilding_loss
from fusionkit_rivals.fixed_loss import MaximumLoss, maximum_loss
from fusionkit_rivals.hybrid_fusion import HybridFusion, HybridFusionOptions, blend
from fusionkit_rivals.hybrid_fusion_trainer import HybridFusionTrainer, HybridLoss, hybrid_loss

Plane = NDArray[np.float64]


@pytest.fixture(scope="module")
def planes() -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(3)
    return tuple(torch.rand(1, 1, 48, 64, generator=draw, dtype=torch.float64) for _ in range(3))


def array(image: Tensor) -> Plane:
    return image[0, 0].numpy()


def slopes(image: Tensor) -> tuple[Plane, Plane]:
    """Sobel responses in x and y with zeros beyond the border."""
    wide = np.pad(array(image), 1)
    x, y = (cv2.Sobel(wide, cv2.CV_64F, *order)[1:-1, 1:-1] for order in ((1, 0), (0, 1)))
    return np.abs(x), np.abs(y)


def unlike(one: Tensor, other: Tensor) -> float:
    """1 - SSIM with a Gaussian of 11 pixels; scikit-image mirrors the border in another way."""
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    _, full = structural_similarity(array(one), array(other), full=True, **options)
    return 1 - float(full.mean())


def test_hybrid_loss_is_its_formula(planes: tuple[Tensor, ...]) -> None:
    fused, a, b = planes
    weights = HybridLoss(maximum=3.0, second=5.0, first=7.0, gradient=11.0, ssim=13.0)
    terms = hybrid_loss(fused, (a, b), weights)
    f, first, second = map(array, planes)
    expected = {
        "maximum": np.abs(f - np.maximum(first, second)).mean(),
        "first": np.abs(f - first).mean(),
        "second": np.abs(f - second).mean(),
        "gradient": sum(np.abs(own - np.maximum(x, y)).mean() for own, x, y in zip(*map(slopes, planes), strict=True)),
        "ssim": unlike(fused, a) + unlike(fused, b),
    }
    for name, value in expected.items():
        assert float(terms[name]) == pytest.approx(float(value), rel=2e-3 if name == "ssim" else 1e-9), name
    total = sum(getattr(weights, name) * float(terms[name]) for name in expected)
    assert float(terms["total"]) == pytest.approx(total, rel=1e-9)


def test_rebuilding_loss_is_its_formula(planes: tuple[Tensor, ...]) -> None:
    fused, a, b = planes
    terms = rebuilding_loss([fused, a], [a, b], DenseFuseLoss(pixel=2.0, ssim=50.0))
    f, first, second = map(array, planes)
    squares = [np.square(255 * (f - first)).mean(), np.square(255 * (first - second)).mean()]
    assert float(terms["pixel"]) == pytest.approx(np.mean(squares), rel=1e-9)
    assert float(terms["ssim"]) == pytest.approx((unlike(fused, a) + unlike(a, b)) / 2, rel=2e-3)
    assert float(terms["total"]) == pytest.approx(2 * float(terms["pixel"]) + 50 * float(terms["ssim"]), rel=1e-9)


def test_maximum_loss_is_its_formula(planes: tuple[Tensor, ...]) -> None:
    fused, a, b = planes
    terms = maximum_loss(fused, (a, b), MaximumLoss(intensity=2.0, gradient=3.0))
    f, first, second = map(array, planes)
    steep = [sum(slopes(image)) for image in (fused, a, b)]
    assert float(terms["intensity"]) == pytest.approx(np.abs(f - np.maximum(first, second)).mean(), rel=1e-9)
    gap = np.abs(steep[0] - np.maximum(steep[1], steep[2])).mean()
    assert float(terms["gradient"]) == pytest.approx(gap, rel=1e-9)
    total = 2 * float(terms["intensity"]) + 3 * float(terms["gradient"])
    assert float(terms["total"]) == pytest.approx(total, rel=1e-9)


KERNEL = np.array((1, 4, 6, 4, 1)) / 16


def smoothed(image: Plane, factor: float = 1.0) -> Plane:
    for axis in (0, 1):
        image = correlate1d(image, factor * KERNEL, axis, mode="nearest")
    return image


def expanded(image: Plane) -> Plane:
    """Zeros between the samples of an image that is continued by its border, smoothed."""
    wide = np.pad(image, 2, mode="edge")
    spread = np.zeros((2 * wide.shape[0], 2 * wide.shape[1]))
    spread[::2, ::2] = wide
    return smoothed(spread, 2.0)[4:-4, 4:-4]


def pyramid(image: Plane) -> list[Plane]:
    levels, rest = [], image
    for _ in range(4):
        coarse = smoothed(rest)[::2, ::2]
        levels.append(rest - expanded(coarse))
        rest = coarse
    return [*levels, rest]


def test_blend_is_that_of_pyramids_by_scipy(planes: tuple[Tensor, ...]) -> None:
    weight, a, b = planes
    first, second = pyramid(array(a)), pyramid(array(b))
    fused = np.zeros(0)
    for level in reversed(range(5)):
        size = first[level].shape
        own = torch.nn.functional.interpolate(weight, size, mode="bilinear", align_corners=False)[0, 0].numpy()
        detail = own * first[level] + (1 - own) * second[level]
        fused = detail if level == 4 else expanded(fused) + detail
    assert np.abs(array(blend(a, b, weight)) - fused).max() < 1e-12


def test_blend_of_one_weight_is_the_weighted_mean_and_of_equal_sources_the_source(planes: tuple[Tensor, ...]) -> None:
    weight, a, b = planes
    third = torch.full_like(a, 0.3)
    assert torch.allclose(blend(a, b, third), 0.3 * a + 0.7 * b, atol=1e-12)
    assert torch.allclose(blend(a, a, weight), a, atol=1e-12)


def test_hybrid_fusion_keeps_the_contract() -> None:
    torch.manual_seed(0)
    check_fuser(HybridFusion)


def test_crops_that_the_halvings_do_not_divide_are_refused() -> None:
    options = HybridFusionTrainer.Config()
    with pytest.raises(UsageError, match="needs a multiple of 16"):
        HybridFusionTrainer.build_fuser(None, replace(options, trainer=replace(options.trainer, crop=100)))  # type: ignore[arg-type]


def test_the_trainers_keep_the_contract() -> None:
    options = HybridFusionTrainer.Config()
    small = replace(options, trainer=replace(options.trainer, crop=64, batch=2), fuser=HybridFusionOptions(width=2))
    check_trainer(HybridFusionTrainer, config=small, steps=2)
    options = DenseFuseTrainer.Config()
    check_trainer(
        DenseFuseTrainer, config=replace(options, trainer=replace(options.trainer, crop=32, batch=2)), steps=2
    )


def test_densefuse_learns_to_rebuild_whatever_its_first_weights_are() -> None:
    """Its last layer ends in a ReLU, behind which nothing is learned where every value begins below 0."""
    for seed in range(8):
        torch.manual_seed(seed)
        network = DenseFuseTrainer.build_fuser(None, None)  # type: ignore[arg-type]
        image = torch.rand(1, 1, 16, 16)
        assert float(network(image, image).detach().std()) > 0
