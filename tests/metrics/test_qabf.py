"""Qabf against its formula in plain numpy."""

from __future__ import annotations

from torch import Tensor

from fusionkit.metrics.qabf import edge_preservation
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close


def test_qabf_is_its_formula(images: tuple[Tensor, ...]) -> None:
    assert_close(edge_preservation(*images), plain.qabf(*arrays(*images)))
