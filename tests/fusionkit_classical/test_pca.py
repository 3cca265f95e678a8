"""Principal-component weights against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionkit_classical.pca import Pca, principal_weights


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_weights_are_the_leading_eigenvector_of_each_sample(count: int, channels: int) -> None:
    stack = np.random.default_rng(0).random((count, 4, channels, 9, 7)) ** np.arange(1, count + 1).reshape(
        -1, 1, 1, 1, 1
    )
    weights = principal_weights(torch.from_numpy(stack)).numpy()
    for sample in range(4):
        _, vectors = np.linalg.eigh(np.cov(stack[:, sample].reshape(count, -1)))
        leading = np.abs(vectors[:, -1])
        np.testing.assert_allclose(weights[:, sample], leading / leading.sum(), atol=1e-10)


def test_fusion_is_the_weighted_sum() -> None:
    stack = torch.rand(3, 2, 1, 8, 6, dtype=torch.float64)
    weights = principal_weights(stack)
    expected = torch.stack([sum(weights[s, b] * stack[s, b] for s in range(3)) for b in range(2)])
    assert torch.allclose(Pca()(*stack), expected)


def test_the_source_with_more_variance_weighs_more() -> None:
    noise = torch.randn(1, 1, 40, 40, dtype=torch.float64)
    stack = torch.stack((0.5 + 0.2 * noise, 0.5 + 0.05 * noise))
    weights = principal_weights(stack)[:, 0]
    assert weights[0] > 0.75
    assert weights[0] / weights[1] == pytest.approx(4)


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.3, 0.7)])
def test_constant_sources_weigh_the_same(values: tuple[float, float]) -> None:
    a, b = (torch.full((1, 1, 5, 5), v, dtype=torch.float64) for v in values)
    assert torch.allclose(principal_weights(torch.stack((a, b))), torch.full((2, 1), 0.5, dtype=torch.float64))


def test_uncorrelated_sources_of_one_variance_weigh_the_same() -> None:
    a = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64).view(1, 1, 2, 2)
    b = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64).view(1, 1, 2, 2)
    assert torch.allclose(principal_weights(torch.stack((a, b))), torch.full((2, 1), 0.5, dtype=torch.float64))


def test_a_negative_image_does_not_give_negative_weights() -> None:
    a = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    assert torch.allclose(Pca()(a, 1 - a), torch.full_like(a, 0.5))
