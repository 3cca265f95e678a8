"""Mutual information: a blob that shares no edges with its reference is found; what says nothing is not sure."""

from __future__ import annotations

import sys

import cv2
import numpy as np
import pytest

from fusionkit.contracts import CONFIDENT, Alignment
from fusionkit.errors import UsageError
from fusionkit.fuse.aligning import find_alignment
from fusionkit.fuse.transforms import corner_distance, resample
from fusionkit_aligners.mutual_information import MutualInformationAligner

SHAPE = (128, 128)


@pytest.fixture
def sitk() -> None:
    pytest.importorskip("SimpleITK")


def head() -> tuple[np.ndarray, np.ndarray]:
    """A drawn head as MRI shows it, tissues and skull, and as PET does, blurred tissue alone."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] - 63.5
    rng = np.random.default_rng(1)
    noise = cv2.GaussianBlur(rng.standard_normal(SHAPE), (0, 0), 5)
    inside = (x / 40) ** 2 + (y / 50) ** 2 < 1
    skull = ((x / 46) ** 2 + (y / 56) ** 2 < 1) & ~inside
    tissue = inside * (1 + (noise > 0) + ((x - 12) ** 2 / 60 + (y + 9) ** 2 / 250 < 1))
    mri = np.choose(tissue, [0.02, 0.8, 0.45, 0.15]) + 0.9 * skull
    pet = cv2.GaussianBlur(np.choose(tissue, [0.0, 0.3, 0.9, 0.05]), (0, 0), 2)
    return pet.astype(np.float32), mri.astype(np.float32).clip(0, 1)


def rigid(x: float, y: float, degrees: float) -> np.ndarray:
    turn = np.vstack([cv2.getRotationMatrix2D((63.5, 63.5), degrees, 1), [0, 0, 1]])
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]) @ turn


def align(moved: np.ndarray, fixed: np.ndarray) -> Alignment:
    return find_alignment(MutualInformationAligner, [moved], [fixed])


@pytest.mark.parametrize("truth", [rigid(9, -6, 3), rigid(-12, 4, -4)])
def test_a_blurred_view_of_the_tissue_is_brought_onto_the_whole(sitk: None, truth: np.ndarray) -> None:
    pet, mri = head()
    moved, _ = resample(pet, np.linalg.inv(truth), SHAPE)
    found = align(moved, mri)
    assert found.confidence >= CONFIDENT
    assert corner_distance(found.matrix, truth, SHAPE) < 1.5


def test_images_that_say_nothing_of_each_other_are_not_sure(sitk: None) -> None:
    _, mri = head()
    noise = cv2.GaussianBlur(np.random.default_rng(5).standard_normal(SHAPE), (0, 0), 3).astype(np.float32)
    assert align((noise - noise.min()) / np.ptp(noise), mri).confidence < CONFIDENT
    assert align(np.full(SHAPE, 0.5, np.float32), mri).confidence == 0


def test_without_simpleitk_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    pet, mri = head()
    with pytest.raises(UsageError, match=r"needs SimpleITK: pip install 'image-fusionkit\[registration\]'"):
        align(pet, mri)
