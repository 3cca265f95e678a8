"""The infrared-visible sample: what only one of both sources shows."""

from __future__ import annotations

from scipy import ndimage

from fusionkit.data import PairSet
from fusionkit.io.images import read_image
from tests.support.sample_pictures import grey_of, sharpness


def test_warm_bodies_stand_out_in_the_infrared_and_not_in_the_visible(made: dict[str, PairSet]) -> None:
    for pair in made["ivif"]:
        warm, seen = grey_of(pair.files[0]), grey_of(pair.files[1])
        body = ndimage.binary_opening(warm > 140, iterations=2)
        around = ndimage.binary_dilation(body, iterations=14) & ~ndimage.binary_dilation(body, iterations=5)
        assert 0.01 < body.mean() < 0.25, pair.name
        infrared = warm[body].mean() - warm[around].mean()
        visible = abs(seen[body].mean() - seen[around].mean())
        assert infrared > 80, pair.name
        assert visible < infrared / 2.5, pair.name


def test_visible_images_have_texture_and_colour_that_the_infrared_lacks(made: dict[str, PairSet]) -> None:
    richer = 0
    for pair in made["ivif"]:
        warm, seen = grey_of(pair.files[0]), grey_of(pair.files[1])
        cold = ~ndimage.binary_dilation(warm > 140, iterations=8)
        # Detail relative to contrast: haze and night scale both.
        detail = [sharpness(image, cold) / image[cold].var() for image in (warm, seen)]
        richer += detail[1] > detail[0]
        assert read_image(pair.files[0]).pixels.shape[2] == 1
    assert richer >= 10
    colourful = [not read_image(pair.files[1]).is_grey for pair in made["ivif"]]
    assert sum(colourful) >= 8
