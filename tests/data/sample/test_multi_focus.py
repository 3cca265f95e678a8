"""The multi-focus sample and its lens."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fusionkit.data import PairSet
from fusionkit.data.sample.multi_focus import defocus, disc
from fusionkit.data.sample.photographs import disparity
from tests.support.sample_pictures import grey_of, sharpness


def test_multi_focus_truth_is_at_least_as_sharp_as_both_sources(made: dict[str, PairSet]) -> None:
    for pair in made["mfif"]:
        near, far, truth = (grey_of(file) for file in (*pair.files, pair.truth))
        assert sharpness(truth) > sharpness(near), pair.name
        assert sharpness(truth) > sharpness(far), pair.name


def test_each_multi_focus_source_is_the_truth_where_the_other_is_blurred(made: dict[str, PairSet]) -> None:
    for pair in made["mfif"]:
        near, far, truth = (grey_of(file) for file in (*pair.files, pair.truth))
        off_near, off_far = (ndimage.uniform_filter(np.abs(image - truth), 9) for image in (near, far))
        only_near, only_far = (off_near < 0.5) & (off_far > 4), (off_far < 0.5) & (off_near > 4)
        assert only_near.mean() > 0.01, pair.name
        assert only_far.mean() > 0.01, pair.name
        assert sharpness(near, only_near) > 1.5 * sharpness(far, only_near), pair.name
        assert sharpness(far, only_far) > 1.5 * sharpness(near, only_far), pair.name
        # What neither shows sharply is a small rest at blurred edges.
        assert (np.minimum(off_near, off_far) < 3).mean() > 0.9, pair.name


def test_the_nearer_source_is_sharp_where_disparity_is_large(made: dict[str, PairSet]) -> None:
    pair = made["mfif"].named(["motorcycle-5"])[0]
    near, far, truth = (grey_of(file) for file in (*pair.files, pair.truth))
    depth = disparity()[:256, 485:]
    close, distant = depth > np.percentile(depth, 95), depth < np.percentile(depth, 40)
    assert np.abs(near - truth)[close].mean() < 0.3 * np.abs(far - truth)[close].mean()
    assert np.abs(far - truth)[distant].mean() < 0.3 * np.abs(near - truth)[distant].mean()


@pytest.mark.parametrize("radius", [1.0, 2.5, 3.7])
def test_a_disc_is_round_and_sums_to_one(radius: float) -> None:
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(kernel, kernel.T)
    # The second moment of a disc about an axis is r^2 / 4; a pixel and a soft edge add 1/12 each.
    reach = kernel.shape[0] // 2
    moment = (kernel * (np.arange(-reach, reach + 1)[:, None] ** 2)).sum()
    assert moment == pytest.approx(radius**2 / 4 + 1 / 6, rel=0.08)


def test_a_point_out_of_focus_becomes_a_disc_of_its_light() -> None:
    light = np.zeros((65, 65, 3), np.float32)
    light[32, 32] = 1
    flat = np.full((65, 65), 0.2, np.float32)
    seen = defocus(light, flat, 0.9, aperture=8, field=0.0)
    assert seen.sum() == pytest.approx(3, rel=1e-3)
    spread = seen[:, :, 0] > 1e-4
    assert 2 * np.sqrt(spread.sum() / np.pi) == pytest.approx(2 * 8 * 0.7, rel=0.25)
    np.testing.assert_array_equal(defocus(light, flat, 0.2, aperture=8, field=0.1), light)


def test_a_sharp_foreground_does_not_bleed_into_a_blurred_background() -> None:
    light = np.full((64, 64, 3), 0.1, np.float32)
    light[:, 32:] = 0.9
    depth = np.zeros((64, 64), np.float32)
    depth[:, 32:] = 1.0
    seen = defocus(light, depth, 1.0, aperture=8, field=0.1)
    np.testing.assert_allclose(seen, light, atol=1e-5)
    # The other way round, the blurred foreground spreads over the sharp background.
    assert defocus(light, depth, 0.0, aperture=8, field=0.1)[32, 29, 0] > 0.15
