"""AG against its formula in plain numpy."""

from __future__ import annotations

from torch import Tensor

from fusionkit.metrics.average_gradient import average_gradient
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close


def test_average_gradient_is_its_formula(images: tuple[Tensor, ...]) -> None:
    (f,) = arrays(images[0])
    height, width = f.shape
    assert_close(average_gradient(images[0]), plain.average_gradient(f))
    inner = plain.average_gradient(f) * f.size / ((height - 1) * (width - 1))
    assert_close(average_gradient(images[0], per="inner"), inner)
