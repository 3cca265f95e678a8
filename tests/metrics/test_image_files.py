"""Image files become luminance as the field's evaluations take it, and score as their tensors do."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from fusionkit.errors import DataError
from fusionkit.io.images import Image
from fusionkit.metrics import build, read_luminance, score_files
from fusionkit.metrics.image_files import luminance
from tests.support.metric_scenes import arrays, scene


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    paths = tuple(tmp_path / f"{name}.png" for name in ("fused", "a", "b"))
    for path, image in zip(paths, arrays(*scene(48, 50)), strict=True):
        cv2.imwrite(str(path), image.astype(np.uint8))
    return paths  # type: ignore[return-value]


def test_colour_becomes_opencvs_rounded_luma(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    ours = read_luminance(tmp_path / "x.png")
    assert ours.shape == (1, 1, 64, 64)
    assert ours.dtype == torch.float64
    luma = pixels[..., ::-1].astype(np.float64) @ (0.299, 0.587, 0.114)
    assert np.array_equal(ours[0, 0].numpy(), np.rint(luma)) or np.abs(ours[0, 0].numpy() - luma).max() < 0.51
    assert np.array_equal(ours[0, 0].numpy(), cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb)[..., 0])


def test_equal_channels_are_the_grey_image_itself(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    cv2.imwrite(str(tmp_path / "rgb.png"), np.dstack([grey] * 3))
    assert torch.equal(read_luminance(tmp_path / "grey.png"), read_luminance(tmp_path / "rgb.png"))


def test_deeper_images_are_scaled_and_keep_their_fractions() -> None:
    deep = np.array([[0, 257, 300, 65535]], dtype=np.uint16)[..., None]
    assert luminance(Image(deep)).flatten().tolist() == pytest.approx([0, 1, 300 / 257, 255])
    real = np.array([[0.0, 0.25, 1.0]], dtype=np.float32)[..., None]
    assert luminance(Image(real)).flatten().tolist() == [0, 63.75, 255]
    colour = np.zeros((1, 1, 3), dtype=np.uint16)
    colour[0, 0] = (65535, 0, 0)
    assert luminance(Image(colour)).item() == pytest.approx(0.299 * 255)


def test_files_score_as_their_tensors_do(files: tuple[Path, Path, Path]) -> None:
    found = score_files(*files, metrics=["SSIM", "EN"], profile="cddfuse")
    images = [read_luminance(file) for file in files]
    assert found["SSIM"].item() == build("SSIM", "cddfuse")(*images).item()
    single = score_files(*files, metrics=["SSIM"], profile="cddfuse", dtype=torch.float32)
    assert single["SSIM"].item() == pytest.approx(found["SSIM"].item(), rel=1e-4)
    assert score_files(files[0], files[1], truth=files[0], metrics=["PSNR-truth"])["PSNR-truth"].item() == math.inf


def test_files_that_do_not_fit_are_named(files: tuple[Path, Path, Path], tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((9, 7), np.uint8))
    with pytest.raises(DataError, match=r"small\.png: 7x9 pixels, but .*fused\.png has 50x48"):
        score_files(files[0], small, files[2])
    with pytest.raises(DataError, match=r"small\.png: SSIM needs images of at least 11x11"):
        score_files(small, small, small, metrics=["SSIM"])
    with pytest.raises(DataError, match=r"nothing\.png"):
        score_files(tmp_path / "nothing.png")
