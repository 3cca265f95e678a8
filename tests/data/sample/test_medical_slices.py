"""The medical sample and its head phantom."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fusionkit.data import PairSet
from fusionkit.data.sample.medical_slices import TISSUES, colour_map, draw_head
from fusionkit.io.images import read_image
from tests.support.sample_pictures import grey_of, sharpness


def test_medical_sources_hold_what_the_other_lacks(made: dict[str, PairSet]) -> None:
    for pair in made["mif"]:
        other, mri = read_image(pair.files[0]), grey_of(pair.files[1])
        if pair.name.startswith("ct"):
            bone = grey_of(pair.files[0]) > 200
            assert other.is_grey
            assert bone.mean() > 0.03, pair.name
            assert mri[ndimage.binary_erosion(bone, iterations=2)].mean() < 60, pair.name
        else:
            assert not other.is_grey
            spread = np.ptp(other.pixels.astype(int), axis=2)
            assert (spread > 60).mean() > 0.08, pair.name
            assert sharpness(mri) > 0
        assert mri.std() > 30, pair.name


def test_a_head_has_its_tissues_from_outside_in() -> None:
    tissue = draw_head(np.random.default_rng(0), ventricles=True, lesion=True).tissue
    present = {TISSUES[k] for k in np.unique(tissue)}
    assert present == set(TISSUES)
    inward = [TISSUES[k] for k in dict.fromkeys(tissue[128, :128])]
    assert inward[:4] == ["air", "scalp", "bone", "fluid"]


def test_false_colour_passes_through_its_knots() -> None:
    knots = ((0, 0, 0), (255, 0, 0), (255, 255, 0))
    shown = colour_map(np.array([[0.0, 0.5, 0.75, 1.0]], np.float32), knots)
    np.testing.assert_allclose(shown[0], [[0, 0, 0], [1, 0, 0], [1, 0.5, 0], [1, 1, 0]], atol=1e-6)
