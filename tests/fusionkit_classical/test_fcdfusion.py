"""FCDFusion against its integer arithmetic, and the properties that it is made for."""

from __future__ import annotations

import numpy as np
import torch

from fusionkit.metrics.color_deviation import color_deviation
from fusionkit_classical.fcdfusion import FcdFusion


def in_levels(infrared: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Algorithm 1 of the paper on levels of 8 bits: ``(H, W)`` and ``(H, W, 3)``."""
    brightest = np.maximum(visible.max(2).astype(int), 1)
    share = (infrared / 255.0) ** 2
    factor = share * ((brightest + 255) // 2) / brightest + 0.5
    return np.minimum(visible * factor[..., None], 255).astype(int)


def tensors(infrared: np.ndarray, visible: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    grey = torch.from_numpy(np.repeat(infrared[None, None], 3, 1)).double() / 255
    return grey, torch.from_numpy(visible.transpose(2, 0, 1).copy())[None].double() / 255


def test_it_agrees_with_integer_arithmetic_to_the_rounding() -> None:
    random = np.random.default_rng(0)
    infrared = random.integers(0, 256, (60, 80))
    visible = random.integers(0, 256, (60, 80, 3)) // random.integers(1, 40, (60, 80, 1))
    fused = FcdFusion()(*tensors(infrared, visible))[0].permute(1, 2, 0).numpy() * 255
    gap = fused - in_levels(infrared, visible)
    # Half a level of the brightest channel is cut off before the factor, and the fraction of a level after it.
    assert gap.min() > -1e-9
    assert gap.max() < 1.51


def test_white_infrared_adds_half_of_white_to_the_brightest_channel_and_black_halves_the_colour() -> None:
    visible = np.random.default_rng(1).integers(1, 256, (20, 30, 3))
    white, colour = tensors(np.full((20, 30), 255), visible)
    assert torch.allclose(FcdFusion()(white, colour).amax(1), (colour.amax(1) + 0.5).clamp(max=1))
    grey = torch.zeros_like(colour)
    assert torch.allclose(FcdFusion()(grey, colour), colour / 2)


def test_colours_that_are_not_clipped_keep_their_direction() -> None:
    random = np.random.default_rng(2)
    grey, colour = tensors(random.integers(0, 128, (40, 40)), random.integers(20, 256, (40, 40, 3)))
    fused = FcdFusion()(grey, colour)
    assert (fused.amax(1) < 1).all()
    assert color_deviation(fused, colour).item() < 1e-6
