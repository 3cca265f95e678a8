"""SF against its formula in plain numpy."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from fusionkit.metrics.spatial_frequency import spatial_frequency
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close


def test_spatial_frequency_is_its_formula(images: tuple[Tensor, ...]) -> None:
    (f,) = arrays(images[0])
    height, width = f.shape
    assert_close(spatial_frequency(images[0]), plain.spatial_frequency(f))
    down, across = (np.square(np.diff(f, axis=axis)).sum() for axis in (0, 1))
    assert_close(spatial_frequency(images[0], per="pixel"), math.sqrt((down + across) / (height * width)))
