"""Grey levels, histograms, entropies and the min-max stretch on values known beforehand."""

from __future__ import annotations

import torch

from fusionkit.metrics.histograms import (
    entropy_of,
    grey_levels,
    histogram,
    joint_histogram,
    mutual_information_of,
    stretch,
)
from tests.support.metric_scenes import scene


def test_grey_levels_round_and_keep_to_eight_bits() -> None:
    image = torch.tensor([-3.0, 0.4, 0.6, 254.6, 300.0]).view(1, 1, 1, 5)
    assert grey_levels(image).flatten().tolist() == [0, 0, 1, 255, 255]


def test_histograms_count_every_image_of_a_batch_by_itself() -> None:
    f, a, _ = scene(13, 17, batch=3)
    p = histogram(f)
    assert torch.allclose(p.sum(1), torch.ones(3, dtype=torch.float64))
    both = joint_histogram(a, f)
    assert torch.allclose(both.sum(1), p)
    assert torch.allclose(both.sum(2), histogram(a))
    level = int(f[1, 0, 5, 5])
    assert float(p[1, level]) == int((f[1] == level).sum()) / (13 * 17)


def test_information_with_itself_is_entropy_and_with_a_constant_exactly_0() -> None:
    f, a, _ = scene(13, 17)
    assert torch.allclose(mutual_information_of(joint_histogram(f, f)), entropy_of(histogram(f)))
    assert mutual_information_of(joint_histogram(torch.full_like(a, 9.0), a)).item() == 0.0
    assert str(entropy_of(histogram(torch.full_like(a, 9.0))).item()) == "0.0"


def test_stretch_fills_the_range_and_rounds_halves_up() -> None:
    image = torch.tensor([[10.0, 11.0, 12.0], [10.0, 10.0, 10.0]]).view(2, 1, 1, 3)
    assert stretch(image).flatten(1).tolist() == [[0.0, 128.0, 255.0], [0.0, 0.0, 0.0]]
