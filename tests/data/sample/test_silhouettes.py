"""Silhouettes."""

from __future__ import annotations

import numpy as np

from fusionkit.data.sample.silhouettes import pedestrian


def test_a_pedestrian_stands_on_its_feet() -> None:
    figure = pedestrian((200, 160), np.random.default_rng(3), height=120, foot=(180, 80))
    rows = np.flatnonzero(figure.max(axis=1) > 0.5)
    assert 56 <= rows[0] <= 66
    assert 174 <= rows[-1] <= 182
    assert 0.08 < figure.sum() / 120**2 < 0.25
