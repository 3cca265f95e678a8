"""Images that the tests of single metrics share."""

from __future__ import annotations

import pytest
from torch import Tensor

from tests.support.metric_scenes import scene

SHAPES = [(23, 31), (31, 23), (16, 12)]


@pytest.fixture(params=SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def images(request: pytest.FixtureRequest) -> tuple[Tensor, ...]:
    """A fused image and two sources, of several small shapes."""
    return scene(*request.param, seed=sum(request.param))
