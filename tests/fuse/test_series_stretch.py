"""Stretches of series: steady over time, and between limits as the formula says."""

from __future__ import annotations

import numpy as np
import torch

from fusionkit.fuse.series_stretch import ClipStretch, luminance_limits, stretch_between
from fusionkit.io.color import luminance


def test_a_clip_does_not_flicker_with_a_glint() -> None:
    draw = torch.Generator().manual_seed(0)
    still = 0.1 + 0.6 * torch.rand(1, 1, 32, 32, generator=draw)
    stretch = ClipStretch()
    each, clip = [], []
    for k in range(50):
        frame = still.clone()
        frame[..., 0, 0] = 0.75 + 0.25 * torch.rand((), generator=draw)
        each.append(float(((frame - frame.min()) / (frame.max() - frame.min()))[0, 0, 20, 20]))
        clip.append(float(stretch(frame, k / 25)[0, 0, 20, 20]))
    assert np.std(np.diff(clip)) < np.std(np.diff(each)) / 10


def test_a_lasting_change_is_followed() -> None:
    stretch = ClipStretch()
    dark = 0.4 * torch.rand(1, 1, 32, 32)
    stretch(dark * 2, 0.0)
    for k in range(200):
        stretch(dark, k / 25)
    assert stretch.limits is not None
    assert abs(stretch.limits[1] - float(dark.max())) < 1e-3


def test_luminance_is_stretched_and_the_colour_kept() -> None:
    image = 0.3 + 0.2 * torch.rand(1, 3, 16, 16)
    low, high = luminance_limits(image)
    stretched = stretch_between(image, low, high, "keep-luminance")
    wanted = (luminance(image) - low) / (high - low)
    torch.testing.assert_close(luminance(stretched), wanted, atol=1e-5, rtol=0)
    assert torch.equal(stretch_between(image, 0.5, 0.5, "keep-luminance"), image)
