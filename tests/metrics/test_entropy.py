"""EN and CE against their formulas in plain numpy."""

from __future__ import annotations

import math

import pytest
import skimage.measure
import skimage.metrics
from torch import Tensor

from fusionkit.metrics import build
from fusionkit.metrics.entropy import cross_entropy, entropy
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close, scene


def test_entropy_is_shannons_in_the_base_asked_for(images: tuple[Tensor, ...]) -> None:
    f = images[0]
    bits = plain.entropy(plain.histogram(*arrays(f)))
    assert_close(entropy(f), bits)
    assert_close(entropy(f, base=math.e), bits * math.log(2))
    assert_close(entropy(f, base=10.0), bits * math.log10(2))


def test_cross_entropy_counts_levels_that_both_have(images: tuple[Tensor, ...]) -> None:
    assert_close(cross_entropy(*images), plain.cross_entropy(*arrays(*images)))


@pytest.fixture(scope="module")
def large() -> tuple[Tensor, ...]:
    return scene(97, 120, seed=11)


def test_entropy_is_skimages(large: tuple[Tensor, ...]) -> None:
    assert float(build("EN")(large[0])) == pytest.approx(skimage.measure.shannon_entropy(arrays(large[0])[0]))
