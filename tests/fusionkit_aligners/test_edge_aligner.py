"""Alignment of images whose true transform is known, and refusal of what has none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data

from fusionkit.contracts import CONFIDENT, Alignment
from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.aligning import find_alignment, offset
from fusionkit.fuse.transforms import apply_to_points, corner_distance, resample, scaling
from fusionkit.io.images import Image
from fusionkit_aligners.edge_aligner import EdgeAligner

SHAPE = (240, 300)
PHOTOGRAPH = skimage.data.camera().astype(np.float32) / 255
MIDDLE = np.array([[1, 0, SHAPE[1] / 2], [0, 1, SHAPE[0] / 2], [0, 0, 1.0]])


def align(moved: list[np.ndarray], fixed: list[np.ndarray], kind: str = "affine") -> Alignment:
    return find_alignment(EdgeAligner, moved, fixed, kind)  # type: ignore[arg-type]


def similarity(x: float = 0, y: float = 0, degrees: float = 0, scale: float = 1) -> np.ndarray:
    """Turn and scale about the centre of the image, then shift."""
    c, s = scale * np.cos(np.deg2rad(degrees)), scale * np.sin(np.deg2rad(degrees))
    return MIDDLE @ np.array([[c, -s, x], [s, c, y], [0, 0, 1]]) @ np.linalg.inv(MIDDLE)


def views(truth: np.ndarray, *, other: bool) -> tuple[np.ndarray, np.ndarray]:
    """A reference and a moved image, cut out of one photograph by OpenCV, so that ``truth`` maps one to the other.

    ``other``: the moved one as another modality shows it, with bright and dark exchanged, another gamma, and noise.
    """
    corner = np.array([[1, 0, 100], [0, 1, 130], [0, 0, 1.0]])
    size = (SHAPE[1], SHAPE[0])
    fixed = cv2.warpPerspective(PHOTOGRAPH, np.linalg.inv(corner), size, flags=cv2.INTER_LANCZOS4)
    moved = cv2.warpPerspective(PHOTOGRAPH, truth @ np.linalg.inv(corner), size, flags=cv2.INTER_LANCZOS4)
    if other:
        moved = (1 - moved.clip(0, 1)) ** 2 + np.random.default_rng(0).normal(0, 0.02, SHAPE)
    return moved.clip(0, 1).astype(np.float32), fixed.clip(0, 1)


@pytest.mark.parametrize(
    ("kind", "truth", "most"),
    [
        ("translation", similarity(12, -7), 0.1),
        ("rigid", similarity(-9, 14, degrees=3.4), 0.2),
        ("affine", similarity(20, 5, degrees=-4, scale=1.07), 0.4),
        ("homography", similarity(6, 4, degrees=2) @ np.array([[1, 0, 0], [0, 1, 0], [8e-5, -6e-5, 1]]), 1.0),
    ],
)
def test_a_known_transform_between_modalities_is_found(kind: str, truth: np.ndarray, most: float) -> None:
    moved, fixed = views(truth, other=True)
    found = align([moved], [fixed], kind)
    assert found.confidence >= CONFIDENT
    assert corner_distance(found.matrix, truth / truth[2, 2], SHAPE) < most
    distance, _ = offset(found, Image(moved[..., None]), Image(fixed[..., None]))
    assert distance == pytest.approx(corner_distance(truth / truth[2, 2], np.eye(3), SHAPE), abs=most)


def test_an_aligned_pair_is_hardly_moved() -> None:
    moved, fixed = views(np.eye(3), other=True)
    found = align([moved], [fixed])
    assert found.confidence >= CONFIDENT
    assert corner_distance(found.matrix, np.eye(3), SHAPE) < 0.3


def test_images_of_another_size_are_brought_to_the_grid_of_the_reference() -> None:
    truth = similarity(8, -5, degrees=1)
    moved, fixed = views(truth, other=False)
    small = cv2.resize(moved, (150, 120), interpolation=cv2.INTER_AREA)
    found = align([small], [fixed])
    assert found.confidence >= CONFIDENT
    expected = scaling((120, 150), SHAPE) @ truth
    assert corner_distance(found.matrix, expected, SHAPE) < 0.3
    on_grid, known = resample(moved, truth, SHAPE)
    error = np.abs(resample(small, found.matrix, SHAPE)[0] - on_grid)[known]
    assert np.median(error) < 0.01


@pytest.mark.parametrize(("kind", "scene"), [("translation", "coins"), ("affine", "coins"), ("translation", "blank")])
def test_images_of_two_scenes_and_images_without_edges_are_not_confident(kind: str, scene: str) -> None:
    fixed = views(np.eye(3), other=False)[1]
    coins = cv2.resize(skimage.data.coins().astype(np.float32) / 255, (SHAPE[1], SHAPE[0]))
    other = coins if scene == "coins" else np.full(SHAPE, 0.5, np.float32)
    assert align([other], [fixed], kind).confidence < CONFIDENT


def test_pairs_of_one_rig_share_a_transform_though_one_of_them_shows_nothing() -> None:
    truth = similarity(-11, 6, degrees=-2)
    moved, fixed = views(truth, other=True)
    blank = np.full(SHAPE, 0.5, np.float32)
    found = align([blank, moved], [fixed, fixed])
    assert corner_distance(found.matrix, truth, SHAPE) < 0.4


def test_images_that_cannot_be_aligned_are_refused() -> None:
    image = np.zeros(SHAPE, np.float32)
    with pytest.raises(UsageError, match="one reference per image"):
        align([image], [])
    with pytest.raises(UsageError, match="have one size, got 300x200, 300x240"):
        align([image, image[:200]], [image, image])
    with pytest.raises(DataError, match="48 pixels at least"):
        align([image[:40]], [image[:40]])


def test_resampling_follows_the_matrix_and_knows_where_the_image_ends() -> None:
    ramp = np.tile(np.arange(300, dtype=np.float32), (240, 1))
    moved, known = resample(ramp, similarity(10.25, 0), SHAPE)
    np.testing.assert_allclose(moved[:, :280], ramp[:, :280] + 10.25, atol=0.05)
    assert known[:, :288].all()
    assert not known[:, 290:].any()
    assert (moved[:, 290:] == 299).all()
    np.testing.assert_allclose(apply_to_points(similarity(10.25, 0), np.array([[3.0, 4.0]])), [[13.25, 4]])
