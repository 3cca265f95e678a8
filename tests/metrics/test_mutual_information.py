"""MI and NMI against their formulas in plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.measure
import skimage.metrics
import torch
from torch import Tensor

from fusionkit.metrics import build
from fusionkit.metrics.mutual_information import mutual_information, normalized_mutual_information
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close, scene


def test_mutual_information_is_summed_over_any_number_of_sources(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    assert_close(mutual_information(*images), plain.mutual_information(a, f) + plain.mutual_information(b, f))
    assert_close(
        mutual_information(*images, base=math.e), math.log(2) * sum(plain.mutual_information(s, f) for s in (a, b))
    )
    assert_close(mutual_information(images[0], *images), sum(plain.mutual_information(s, f) for s in (f, a, b)))


def test_saturated_mutual_information_differs_where_254_and_255_do() -> None:
    a = torch.tensor([[254.0, 255.0], [254.0, 10.0]]).double()[None, None]
    # Joint entropy of the merged pairs 3/4, 1/4; marginals of the unmerged 1/2, 1/4, 1/4.
    merged = -(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25))
    assert_close(mutual_information(a, a, saturated=True), 2 * 1.5 - merged)
    assert_close(mutual_information(a, a), 1.5)


def test_normalized_mutual_information_divides_by_the_entropies(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    h = [plain.entropy(plain.histogram(x)) for x in (f, a, b)]
    shared = [plain.mutual_information(s, f) for s in (a, b)]
    assert_close(normalized_mutual_information(*images), 2 * (shared[0] / (h[1] + h[0]) + shared[1] / (h[2] + h[0])))
    assert_close(normalized_mutual_information(*images, by="sources"), 2 * sum(shared) / (h[1] + h[2]))


@pytest.fixture(scope="module")
def large() -> tuple[Tensor, ...]:
    return scene(97, 120, seed=11)


def test_normalized_mutual_information_of_one_source_is_skimages(large: tuple[Tensor, ...]) -> None:
    f, a, _ = arrays(*large)
    # skimage has (H(X) + H(Y)) / H(X, Y), which is 1 at least.
    theirs = skimage.metrics.normalized_mutual_information(f, a, bins=[np.arange(257) - 0.5] * 2)
    assert float(build("NMI")(large[0], large[1])) == pytest.approx(2 * (1 - 1 / theirs), rel=1e-9)
