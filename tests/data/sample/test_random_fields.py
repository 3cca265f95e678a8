"""Random fields."""

from __future__ import annotations

import numpy as np

from fusionkit.data.sample.random_fields import clouds, ramp


def test_random_fields_fill_their_range() -> None:
    rng = np.random.default_rng(0)
    for field in (clouds((40, 50), rng, scale=8), ramp((40, 50), 0.7)):
        assert field.shape == (40, 50)
        assert (field.min(), field.max()) == (0, 1)
