"""MSE and RMSE against numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch import Tensor

from fusionkit.metrics.mse import RMSE, mean_squared_errors
from tests.support.metric_scenes import arrays, assert_close


def test_errors_are_numpys(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    first, second = float(np.mean((f - a) ** 2)), float(np.mean((f - b) ** 2))
    assert mean_squared_errors(*images)[0].tolist() == pytest.approx([first, second])
    assert_close(RMSE()(*images), (math.sqrt(first) + math.sqrt(second)) / 2)
