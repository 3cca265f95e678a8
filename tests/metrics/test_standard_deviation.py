"""SD against numpy's standard deviation."""

from __future__ import annotations

from torch import Tensor

from fusionkit.metrics.standard_deviation import standard_deviation
from tests.support.metric_scenes import arrays, assert_close


def test_standard_deviation_is_numpys(images: tuple[Tensor, ...]) -> None:
    (f,) = arrays(images[0])
    assert_close(standard_deviation(images[0]), float(f.std()))
