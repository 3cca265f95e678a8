"""Classical fusers on real pairs: what each is for shows in the numbers."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import pytest
import torch
from torch import Tensor

DETAILED = [
    "laplacian:Laplacian",
    "rolp:Rolp",
    "dwt:Dwt",
    "dtcwt:Dtcwt",
    "gff:Gff",
    "cbf:Cbf",
    "tsvs:Tsvs",
    "focus:FocusGf",
]


def pairs(folder: Path, dataset: str, count: int, *, colour: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
    with (folder / "MANIFEST.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == dataset]
    if not rows:
        pytest.skip(f"the data folder has no pairs of {dataset}")
    flag = cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE
    for row in islice(rows, count):
        yield tuple(  # type: ignore[misc]
            torch.from_numpy(image[..., ::-1].copy() if colour else image[..., None]).permute(2, 0, 1)[None] / 255
            for image in (cv2.imread(str(folder / row[key]), flag) for key in ("file_a", "file_b"))
        )


def fuse(place: str, *sources: Tensor) -> Tensor:
    module, _, name = place.partition(":")
    fused: Tensor = getattr(importlib.import_module(f"fusionkit_classical.{module}"), name)()(*sources)
    assert torch.isfinite(fused).all()
    assert 0 <= fused.min() <= fused.max() <= 1
    return fused


def sharpness(image: Tensor) -> float:
    return float(image.diff(dim=-1).abs().mean() + image.diff(dim=-2).abs().mean())


@pytest.mark.parametrize("place", DETAILED)
def test_multi_focus_results_are_sharper_than_either_source_and_no_brighter(place: str, data_dir: Path) -> None:
    for near, far in pairs(data_dir, "Lytro", 2):
        fused = fuse(place, near, far)
        assert sharpness(fused) > 0.97 * max(sharpness(near), sharpness(far))
        assert sharpness(fused) < 1.6 * max(sharpness(near), sharpness(far))
        assert fused.mean().item() == pytest.approx(((near + far) / 2).mean().item(), abs=0.02)


def test_gradient_transfer_keeps_infrared_brightness_and_visible_detail(data_dir: Path) -> None:
    for infrared, visible in pairs(data_dir, "TNO", 2):
        fused = fuse("gtf:Gtf", infrared, visible)
        assert (fused - infrared).abs().mean() < (visible - infrared).abs().mean()
        assert sharpness(fused - visible) < 0.5 * sharpness(infrared - visible)


def test_exposure_fusion_brings_back_what_the_worse_exposure_lost(data_dir: Path) -> None:
    for under, over in pairs(data_dir, "MEFB", 2, colour=True):
        fused = fuse("mertens:Mertens", under, over)
        lost = [float(((x < 0.03) | (x > 0.97)).all(1).float().mean()) for x in (fused, under, over)]
        assert lost[0] < 0.6 * max(lost[1:])
        assert under.mean() < fused.mean() < over.mean()


def test_medical_fusion_keeps_the_skull_of_ct_and_the_tissue_of_mri(data_dir: Path) -> None:
    for ct, mri in pairs(data_dir, "Harvard_MRI_CT", 2):
        bone, tissue = ct > 0.95, (ct < 0.05) & (mri > 0.4)
        for place in ("laplacian:Laplacian", "gff:Gff", "tsvs:Tsvs"):
            fused = fuse(place, ct, mri)
            assert fused[bone].mean() > 0.6
            if tissue.any():
                assert fused[tissue].mean() > 0.33 * mri[tissue].mean()
