"""Exposure fusion against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fusionkit.errors import UsageError
from fusionkit_classical.mertens import Mertens, MertensConfig

SIZES = [(1, 1), (1, 6), (2, 3), (5, 7), (32, 32), (47, 60)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("exponents", [(1.0, 1.0, 1.0), (1.0, 1.0, 0.0), (0.0, 0.0, 1.0), (2.0, 1.0, 0.5)])
def test_fusion_is_opencvs(size: tuple[int, int], channels: int, exponents: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(0)
    images = [rng.random((*size, channels), dtype=np.float32) for _ in range(3)]
    merged = cv2.createMergeMertens(*exponents).process([255 * (i[..., 0] if channels == 1 else i) for i in images])
    expected = merged.reshape(*size, channels).clip(0, 1)
    fused = Mertens(MertensConfig(*exponents))(*(torch.from_numpy(i).permute(2, 0, 1)[None] for i in images))
    np.testing.assert_allclose(fused[0].permute(1, 2, 0).numpy(), expected, atol=1e-4)


def test_each_half_comes_from_the_exposure_that_shows_it() -> None:
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    scene = (0.5 + 0.2 * torch.sin(columns) * torch.cos(rows)).expand(1, 3, 64, 64) * torch.tensor([1, 0.8, 0.6]).view(
        3, 1, 1
    )
    under, over = scene.clone(), scene.clone()
    under[..., :32] *= 0.05
    over[..., 32:] = 1.0
    fused = Mertens()(under, over)
    for half in (slice(0, 24), slice(40, 64)):
        pair = torch.stack((fused[..., half].mean(1).flatten(), scene[..., half].mean(1).flatten()))
        assert torch.corrcoef(pair)[0, 1] > 0.95
        assert pair[0].std() > 0.5 * pair[1].std()


def test_grey_exposures_are_fused_alike_with_one_channel_and_with_three() -> None:
    grey = torch.rand(2, 2, 1, 20, 17, dtype=torch.float64)
    colour = torch.rand(2, 1, 3, 20, 17, dtype=torch.float64)
    mixed = [torch.cat((grey[k].expand(-1, 3, -1, -1), colour[k])) for k in range(2)]
    fused = Mertens()(*mixed)
    assert torch.allclose(fused[:2], Mertens()(*grey).expand(-1, 3, -1, -1), atol=1e-9)
    assert torch.allclose(fused[2:], Mertens()(*colour))


def test_two_channels_are_refused() -> None:
    x = torch.rand(1, 2, 4, 4)
    with pytest.raises(UsageError, match=r"3 channels \(RGB\) or 1 \(grey\), got 2"):
        Mertens()(x, x)
