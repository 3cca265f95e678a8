"""The choice of coefficients against a loop, its ties and its symmetry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fusionkit_classical.selection import leaders, select_largest, shares

Array = NDArray[np.float64]


def slow_select(coefficients: Array, window: int, consistent: bool) -> Array:
    """Li et al. 1995: argmax of the windowed maximum, then the most frequent source of the window."""
    sources, height, width = coefficients.shape
    r = window // 2
    choice = np.zeros((height, width), dtype=int)
    for y, x in np.ndindex(height, width):
        area = np.abs(coefficients[:, max(y - r, 0) : y + r + 1, max(x - r, 0) : x + r + 1])
        choice[y, x] = area.max(axis=(1, 2)).argmax()
    if consistent:
        wide = np.pad(choice, r, mode="edge")
        votes = choice.copy()
        for y, x in np.ndindex(height, width):
            counts = np.bincount(wide[y : y + window, x : x + window].ravel(), minlength=sources)
            assert (counts == counts.max()).sum() == 1, "the example has a tie: choose another seed"
            votes[y, x] = counts.argmax()
        choice = votes
    return np.take_along_axis(coefficients, choice[None], 0)[0]


@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("consistent", [False, True])
def test_selection_of_two_sources_is_the_loop(window: int, consistent: bool) -> None:
    coefficients = np.random.default_rng(0).standard_normal((2, 13, 9))
    fast = select_largest(torch.from_numpy(coefficients)[:, None, None], window=window, consistent=consistent)
    np.testing.assert_allclose(fast[0, 0].numpy(), slow_select(coefficients, window, consistent), atol=1e-12)


def test_selection_of_four_sources_is_the_loop() -> None:
    coefficients = np.random.default_rng(0).standard_normal((4, 13, 9))
    fast = select_largest(torch.from_numpy(coefficients)[:, None, None], window=3, consistent=False)
    np.testing.assert_allclose(fast[0, 0].numpy(), slow_select(coefficients, 3, False), atol=1e-12)


def test_a_lone_choice_is_outvoted_only_when_asked() -> None:
    coefficients = torch.zeros(2, 1, 1, 9, 9, dtype=torch.float64)
    coefficients[0] = 1
    coefficients[1, ..., 4, 4] = -2
    alone = select_largest(coefficients, window=1, consistent=False)
    assert alone[0, 0, 4, 4] == -2
    voted = select_largest(coefficients, window=1, consistent=True)
    assert voted[0, 0, 4, 4] == -2, "a window of one coefficient has no majority"
    lead = torch.zeros(2, 1, 1, 9, 9, dtype=torch.float64)
    lead[0] = 1
    lead[1, ..., 8, 8] = 2
    assert select_largest(lead, window=3, consistent=False)[0, 0, 7, 7] == 0
    assert select_largest(lead, window=3, consistent=True)[0, 0, 7, 7] == 1


def test_ties_are_averaged_so_that_order_does_not_matter() -> None:
    x = torch.randn(1, 1, 6, 5, dtype=torch.float64)
    assert torch.equal(select_largest(torch.stack((x, -x))), torch.zeros_like(x))
    three = torch.stack((x, -x, 0.5 * x))
    for order in itertools.permutations(range(3)):
        assert torch.allclose(select_largest(three[list(order)]), torch.zeros_like(x), atol=1e-15)


def test_rounding_does_not_break_a_tie() -> None:
    activity = torch.tensor([[1.0], [1.0 + 2e-16], [0.5]], dtype=torch.float64)
    assert leaders(activity).tolist() == [[True], [True], [False]]
    assert shares(leaders(activity), activity).tolist() == [[0.5], [0.5], [0.0]]
    assert leaders(torch.tensor([[1.0], [1.0 + 1e-6]], dtype=torch.float64)).tolist() == [[False], [True]]


def test_rank_replaces_the_magnitude() -> None:
    x = torch.tensor([3.0, 1.0], dtype=torch.float64).view(2, 1, 1, 1, 1)
    assert select_largest(x, window=1).item() == 3
    assert select_largest(x, window=1, rank=1 / x).item() == 1


def test_complex_coefficients_are_chosen_by_magnitude() -> None:
    a = torch.full((1, 1, 4, 4), 1 + 1j, dtype=torch.complex128)
    b = torch.full((1, 1, 4, 4), -1.2 + 0j, dtype=torch.complex128)
    assert torch.equal(select_largest(torch.stack((a, b))), a)
