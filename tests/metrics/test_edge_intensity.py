"""EI against its formula in plain numpy."""

from __future__ import annotations

from torch import Tensor

from fusionkit.metrics.edge_intensity import edge_intensity
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close


def test_edge_intensity_is_its_formula(images: tuple[Tensor, ...]) -> None:
    (f,) = arrays(images[0])
    assert_close(edge_intensity(images[0]), plain.edge_intensity(f))
