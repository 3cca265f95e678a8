"""Pyramids against OpenCV, and the methods built on them against pyramids written out with it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusionkit.errors import UsageError
from fusionkit_classical.laplacian import Laplacian, LaplacianConfig
from fusionkit_classical.pyramid import expand, gaussian_pyramid, pyramid_depth, reduce
from fusionkit_classical.rolp import Rolp, RolpConfig

Image = NDArray[np.float64]
SIZES = [(1, 1), (1, 2), (2, 1), (2, 3), (3, 3), (4, 6), (5, 7), (16, 9), (33, 40)]


def tensor(image: Image) -> torch.Tensor:
    return torch.from_numpy(image)[None, None]


def cv_up(image: Image, like: Image) -> Image:
    return cv2.pyrUp(image, dstsize=like.shape[::-1]).reshape(like.shape)


def cv_pyramid(image: Image, levels: int) -> list[Image]:
    pyramid = [image]
    for _ in range(levels):
        last = pyramid[-1]
        pyramid.append(cv2.pyrDown(last).reshape((last.shape[0] + 1) // 2, (last.shape[1] + 1) // 2))
    return pyramid


@pytest.mark.parametrize("size", SIZES)
def test_reduce_and_expand_are_those_of_opencv(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random(size)
    down = cv_pyramid(image, 1)[1]
    np.testing.assert_allclose(reduce(tensor(image))[0, 0].numpy(), down, atol=1e-14)
    np.testing.assert_allclose(expand(tensor(down), *size)[0, 0].numpy(), cv_up(down, image), atol=1e-14)


def test_depth_leaves_the_shorter_side_a_pixel() -> None:
    assert [pyramid_depth((h, 100), 4) for h in (1, 2, 3, 4, 7, 8, 16, 500)] == [0, 1, 1, 2, 2, 3, 4, 4]


def test_gaussian_pyramid_is_opencvs() -> None:
    image = np.random.default_rng(1).random((37, 50))
    for ours, theirs in zip(gaussian_pyramid(tensor(image), 4), cv_pyramid(image, 4), strict=True):
        np.testing.assert_allclose(ours[0, 0].numpy(), theirs, atol=1e-14)


@pytest.mark.parametrize("size", [(40, 33), (16, 16), (5, 64)])
@pytest.mark.parametrize("base", ["average", "maximum"])
def test_laplacian_fusion_is_burts_rule_on_opencv_pyramids(size: tuple[int, int], base: str) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random(size), rng.random(size)
    levels = min(3, min(size).bit_length() - 1)
    pyramids = [cv_pyramid(image, levels) for image in (a, b)]
    top = [p[-1] for p in pyramids]
    fused = (top[0] + top[1]) / 2 if base == "average" else np.maximum(*top)
    for level in reversed(range(levels)):
        bands = [p[level] - cv_up(p[level + 1], p[level]) for p in pyramids]
        chosen = np.where(np.abs(bands[0]) > np.abs(bands[1]), *bands)
        fused = cv_up(fused, chosen) + chosen
    config = LaplacianConfig(levels=3, window=1, consistent=False, base=base)
    ours = Laplacian(config)(tensor(a), tensor(b))[0, 0].numpy()
    np.testing.assert_allclose(ours, fused.clip(0, 1), atol=1e-12)


@pytest.mark.parametrize("contrast", ["weber", "log"])
def test_ratio_fusion_is_toets_rule_on_opencv_pyramids(contrast: str) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.random((30, 41)), rng.random((30, 41))
    offset = 0.01
    pyramids = [cv_pyramid(image + offset, 3) for image in (a, b)]
    fused = (pyramids[0][-1] + pyramids[1][-1]) / 2
    for level in reversed(range(3)):
        ratios = [p[level] / cv_up(p[level + 1], p[level]) for p in pyramids]
        ranks = [np.abs(r - 1) if contrast == "weber" else np.abs(np.log(r)) for r in ratios]
        fused = cv_up(fused, ratios[0]) * np.where(ranks[0] > ranks[1], *ratios)
    config = RolpConfig(levels=3, window=1, consistent=False, contrast=contrast, offset=offset)
    ours = Rolp(config)(tensor(a), tensor(b))[0, 0].numpy()
    np.testing.assert_allclose(ours, (fused - offset).clip(0, 1), atol=1e-12)


def test_ratio_fusion_of_a_black_source_is_finite_and_keeps_the_other_ones_contrast() -> None:
    black = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    other = torch.rand(1, 1, 32, 32, dtype=torch.float64) * 0.5 + 0.25
    fused = Rolp()(black, other)
    assert torch.isfinite(fused).all()
    matched = torch.corrcoef(torch.stack((fused.flatten(), other.flatten())))[0, 1]
    assert matched > 0.99


def test_no_levels_fuse_by_the_base_alone() -> None:
    a, b = torch.rand(2, 1, 1, 8, 8, dtype=torch.float64)
    assert torch.allclose(Laplacian(LaplacianConfig(levels=0))(a, b), (a + b) / 2)
    assert torch.equal(Laplacian(LaplacianConfig(levels=0, base="maximum"))(a, b), torch.maximum(a, b))
    assert torch.allclose(Rolp(RolpConfig(levels=0))(a, b), (a + b) / 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Laplacian(LaplacianConfig(levels=-1)),
            "levels=-1 is not valid: Input should be greater",
        ),
        (lambda: Laplacian(LaplacianConfig(window=4)), "window=4 is not valid: a window is an odd number"),
        (lambda: Laplacian(LaplacianConfig(base="averge")), "base='averge' is not valid"),  # type: ignore[arg-type]
        (lambda: Rolp(RolpConfig(offset=0)), "offset=0 is not valid: Input should be greater than 0"),
    ],
)
def test_wrong_options_say_what_to_give(make: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()  # type: ignore[operator]
