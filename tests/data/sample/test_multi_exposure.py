"""The multi-exposure sample and its camera response."""

from __future__ import annotations

import numpy as np
import pytest

from fusionkit.data import PairSet
from fusionkit.data.sample.multi_exposure import response
from tests.support.sample_pictures import pixels_of


def test_multi_exposure_sources_bracket_the_truth(made: dict[str, PairSet]) -> None:
    for pair in made["meif"]:
        under, over, truth = (pixels_of(file) for file in (*pair.files, pair.truth))
        # Noise is a few levels at most.
        assert (under <= truth + 6).mean() > 0.999, pair.name
        assert (over >= truth - 6).mean() > 0.999, pair.name
        assert under.mean() < 0.8 * truth.mean() < truth.mean() < 0.9 * over.mean(), pair.name


def test_multi_exposure_sources_lose_what_the_truth_has(made: dict[str, PairSet]) -> None:
    clipped = [(pixels_of(pair.files[1]) == 255).mean() for pair in made["meif"]]
    kept = [(pixels_of(pair.truth) == 255).mean() for pair in made["meif"]]
    assert np.mean(clipped) > 0.1
    assert max(kept) < 0.02


def test_the_camera_response_is_monotone_from_0_to_1() -> None:
    curve = response(np.linspace(-0.5, 2, 400, dtype=np.float32), strength=0.6, power=0.9)
    assert (np.diff(curve) >= 0).all()
    assert curve[0] == 0
    assert curve[-1] == pytest.approx(1)
