"""MEF-SSIM against its definition patch by patch, against the authors' code, and as a loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from fusionkit.errors import DataError, UsageError
from fusionkit.metrics.mef_ssim import MEFSSIM, mef_ssim
from tests.support.metric_scenes import arrays, scene
from tests.support.published_values import disagreements, published

Image = NDArray[np.float64]


def plain_scale(fused: Image, sources: list[Image]) -> float:
    y, x = np.mgrid[-5:6, -5:6]
    window = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    window /= window.sum()
    total = []
    for top in range(fused.shape[0] - 10):
        for left in range(fused.shape[1] - 10):
            patches = [s[top : top + 11, left : left + 11] for s in sources]
            centred = [p - p.mean() for p in patches]
            norms = [np.linalg.norm(p) for p in centred]
            agreement = np.linalg.norm(sum(centred)) / sum(norms) if sum(norms) > 0 else 1.0
            power = min(math.tan(math.pi / 2 * min(agreement, 1 - 1e-16)), 10.0)
            contrast = [n + 0.001 for n in norms]
            weights = np.array([(c / 11) ** power + 2.0**-52 for c in contrast])
            weights /= weights.sum()
            wanted = sum(w * p / c for w, p, c in zip(weights, centred, contrast, strict=True))
            if np.linalg.norm(wanted) > 0:
                wanted = wanted / np.linalg.norm(wanted) * max(contrast)
            patch = fused[top : top + 11, left : left + 11]
            wanted = wanted - (window * wanted).sum()
            patch = patch - (window * patch).sum()
            constant = (0.03 * 255) ** 2
            covariance = (window * wanted * patch).sum()
            variances = (window * wanted**2).sum() + (window * patch**2).sum()
            total.append((2 * covariance + constant) / (variances + constant))
    return float(np.mean(total))


def plain_half(x: Image) -> Image:
    x = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2)), mode="edge")
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


@pytest.mark.parametrize("seed", [0, 1])
def test_one_scale_is_the_definition_patch_by_patch(seed: int) -> None:
    images = scene(16, 19, seed=seed, smooth=seed == 0)
    f, a, b = arrays(*images)
    assert float(mef_ssim(*images, scales=1)) == pytest.approx(plain_scale(f, [a, b]), rel=1e-9)


def test_three_sources_are_compared_together() -> None:
    f, a, b = scene(15, 16, seed=2)
    c = scene(15, 16, seed=3)[1]
    fused, *sources = arrays(f, a, b, c)
    assert float(mef_ssim(f, a, b, c, scales=1)) == pytest.approx(plain_scale(fused, sources), rel=1e-9)


def test_scales_are_halved_by_means_and_odd_sides_repeat_the_last_row() -> None:
    images = scene(25, 27, seed=4)
    f, a, b = arrays(*images)
    first, second = plain_scale(f, [a, b]), plain_scale(plain_half(f), [plain_half(a), plain_half(b)])
    weights = np.array([0.0448, 0.2856]) / (0.0448 + 0.2856)
    assert float(mef_ssim(*images, scales=2)) == pytest.approx(first ** weights[0] * second ** weights[1], rel=1e-9)


def test_a_constant_added_to_any_image_changes_nothing() -> None:
    f, a, b = scene(20, 22, seed=6)
    value = mef_ssim(f, a, b, scales=1)
    assert torch.allclose(mef_ssim(f + 10, a - 20, b + 5, scales=1), value, rtol=1e-9)


def test_a_fused_image_without_contrast_is_worth_little_and_one_that_keeps_all_is_worth_one() -> None:
    f, a, _ = scene(48, 50, seed=7)
    assert float(mef_ssim(a, a, a)) == pytest.approx(1, abs=1e-9)
    assert float(mef_ssim(a, a, torch.full_like(a, 9))) > 0.99
    assert float(mef_ssim(torch.full_like(f, 90), a, a)) < 0.3


def test_constant_images_score_one() -> None:
    grey = torch.full((1, 1, 44, 44), 77.0, dtype=torch.float64)
    assert float(mef_ssim(grey, grey + 3, grey - 4)) == 1


def test_a_negative_scale_counts_as_zero_and_so_does_its_gradient() -> None:
    _, a, _ = scene(24, 24, seed=8)
    fused = (255 - a).requires_grad_()
    assert float(mef_ssim(255 - a, a, a, scales=1)) < 0
    value = mef_ssim(fused, a, a, scales=2)
    value.backward()
    assert float(value.detach()) == 0
    assert fused.grad is not None
    assert not fused.grad.any()


@pytest.mark.parametrize(("scales", "size"), [(1, 12), (2, 22)])
def test_the_gradient_in_the_fused_image_is_exact(scales: int, size: int) -> None:
    f, a, b = scene(size, size, seed=9)
    assert torch.autograd.gradcheck(lambda x: mef_ssim(x, a, b, scales=scales), (f.requires_grad_(),))


@given(st.integers(0, 2**31), st.integers(0, 6))
def test_a_batch_is_its_images_and_the_order_of_the_sources_is_free(seed: int, wider: int) -> None:
    f, a, b = scene(22, 22 + wider, seed=seed, batch=2)
    together = mef_ssim(f, a, b, scales=2)
    singles = torch.cat([mef_ssim(f[i : i + 1], a[i : i + 1], b[i : i + 1], scales=2) for i in range(2)])
    assert torch.allclose(together, singles, rtol=1e-11)
    assert torch.allclose(mef_ssim(f, b, a, scales=2), together, rtol=1e-9)
    assert bool((together <= 1 + 1e-12).all())
    assert bool((together >= 0).all())


def test_float32_gives_the_value_of_float64() -> None:
    f, a, b = scene(44, 46, seed=11)
    value = mef_ssim(f.float(), a.float(), b.float())
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(mef_ssim(f, a, b)), rel=1e-6)


def test_mistakes_are_told() -> None:
    f, a, b = scene(30, 30)
    with pytest.raises(UsageError, match="scales 4 is out of range"):
        mef_ssim(f, a, b, scales=4)
    with pytest.raises(DataError, match="needs 44x44 pixels"):
        mef_ssim(f, a, b)
    with pytest.raises(DataError, match="at least 44x44 pixels, these are 30x30"):
        MEFSSIM()(f, a, b)
    assert MEFSSIM(scales=1)(f, a, b).shape == (1,)


def one_scale(*images: Tensor) -> Tensor:
    return mef_ssim(*images, scales=1)


def test_the_authors_code_gives_the_same_on_every_triple() -> None:
    assert disagreements(one_scale, published("MEF_SSIM_1level", "mef_ssim.m"), 1e-9) == {}
    assert disagreements(mef_ssim, published("MEF_MS_SSIM", "analysis_ms_ssim.m"), 1e-9) == {}


def test_a_port_of_the_authors_code_gives_the_same_on_large_images() -> None:
    large = ["ivif710_lap", "mfif5_max", "mrict11_lap", "meifair_deg", "road_max"]
    assert disagreements(one_scale, published("MEF_SSIM_1level", "ports.py"), 1e-9, only=large) == {}
    assert disagreements(mef_ssim, published("MEF_MS_SSIM", "ports.py"), 1e-9, only=large) == {}
