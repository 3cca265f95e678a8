"""QNCIE against its formula in plain numpy."""

from __future__ import annotations

from torch import Tensor

from fusionkit.metrics.qncie import nonlinear_correlation_information_entropy
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close


def test_qncie_is_the_entropy_of_the_eigenvalues(images: tuple[Tensor, ...]) -> None:
    assert_close(nonlinear_correlation_information_entropy(*images), plain.qncie(*arrays(*images)))
