"""MS-SSIM against its formula with scipy's filters, scale by scale."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from numpy.typing import NDArray

from fusionkit.metrics.ms_ssim import multi_scale_structural_similarity
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, scene

Image = NDArray[np.float64]


def plain_ms_ssim(f: Image, s: Image, data_range: float) -> float:
    kernel = plain.gaussian(11, 1.5)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    value = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale:
            f, s = (np.pad(x, [(n % 2, 0) for n in x.shape]) for x in (f, s))
            f, s = (x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).mean((1, 3)) for x in (f, s))
        mean_f, mean_s, ff, ss, fs = (
            scipy.signal.correlate2d(x, kernel, mode="valid") for x in (f, s, f * f, s * s, f * s)
        )
        factor = (2 * (fs - mean_f * mean_s) + c2) / (ff - mean_f**2 + ss - mean_s**2 + c2)
        if scale == 4:
            factor = factor * (2 * mean_f * mean_s + c1) / (mean_f**2 + mean_s**2 + c1)
        value *= max(factor.mean(), 0) ** weight
    return value


@pytest.mark.parametrize("data_range", [255.0, 1.0])
def test_ms_ssim_is_its_formula(data_range: float) -> None:
    # An odd side at the first scale, and further ones below.
    images = scene(163, 178, seed=6)
    f, a, b = arrays(*images)
    ours = multi_scale_structural_similarity(*images, data_range=data_range)[0].tolist()
    assert ours == pytest.approx([plain_ms_ssim(f, a, data_range), plain_ms_ssim(f, b, data_range)], rel=1e-9)


def test_a_negative_scale_counts_as_0_and_has_a_finite_gradient() -> None:
    f, a, _ = scene(161, 161, seed=7)
    fused = (255 - a).requires_grad_()
    value = multi_scale_structural_similarity(fused, a)
    value.sum().backward()
    assert value.item() == 0
    assert fused.grad is not None
    assert bool(fused.grad.isfinite().all())
    assert torch.equal(multi_scale_structural_similarity(f, f), torch.ones(1, 1, dtype=torch.float64))
