"""CC and SCD against Pearson's correlation in plain numpy."""

from __future__ import annotations

import pytest
from torch import Tensor

from fusionkit.metrics.correlation import correlation_coefficients, sum_of_correlations_of_differences
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close


def test_correlations_are_numpys(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    assert correlation_coefficients(*images)[0].tolist() == pytest.approx([plain.pearson(f, a), plain.pearson(f, b)])


def test_scd_is_the_sum_over_both_differences(images: tuple[Tensor, ...]) -> None:
    assert_close(sum_of_correlations_of_differences(*images), plain.scd(*arrays(*images)))
