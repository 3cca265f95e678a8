"""The source photographs and gamma encoding."""

from __future__ import annotations

import numpy as np
import pytest

from fusionkit.data.sample.photographs import disparity, encode, linear, photograph


def test_gamma_encoding_is_inverted() -> None:
    values = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(encode(linear(values)), values, atol=2e-6)
    assert linear(np.array([0.5], np.float32)) == pytest.approx(0.21404114)  # by the standard's formula


def test_a_grey_photograph_has_equal_channels_and_unknown_disparity_is_filled() -> None:
    camera = photograph("camera")
    assert camera.shape == (512, 512, 3)
    assert (camera[:, :, 0] == camera[:, :, 2]).all()
    assert np.isfinite(disparity()).all()
    assert disparity().min() > 5
