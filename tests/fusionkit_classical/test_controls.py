"""The controls, and the checks that every classical fuser makes of its sources."""

from __future__ import annotations

import pytest
import torch

from fusionkit.errors import UsageError
from fusionkit_classical.controls import Average, CopyA, CopyB, Maximum


def test_controls_do_what_their_names_say_for_any_number_of_sources() -> None:
    a, b, c = torch.rand(3, 2, 1, 5, 4, dtype=torch.float64)
    assert torch.allclose(Average()(a, b, c), (a + b + c) / 3)
    assert torch.equal(Maximum()(a, b, c), torch.maximum(torch.maximum(a, b), c))
    assert torch.equal(CopyA()(a, b, c), a)
    assert torch.equal(CopyB()(a, b, c), b)


def test_a_copy_is_a_tensor_of_its_own() -> None:
    a, b = torch.rand(2, 1, 1, 3, 3, dtype=torch.float64)
    kept = a.clone()
    CopyA()(a, b).zero_()
    assert torch.equal(a, kept)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ((), "needs two or more sources, got 0"),
        ((torch.rand(1, 1, 2, 2),), "needs two or more sources, got 1"),
        ((torch.rand(1, 1, 2, 2), torch.rand(1, 1, 2, 3)), r"source 2 has shape \(1, 1, 2, 3\), source 1 has"),
        ((torch.rand(2, 2), torch.rand(2, 2)), r"source 1 has shape \(2, 2\): give a non-empty \(B, C, H, W\)"),
        ((torch.rand(1, 1, 0, 2), torch.rand(1, 1, 0, 2)), "give a non-empty"),
        ((torch.rand(1, 1, 2, 2), torch.zeros(1, 1, 2, 2, dtype=torch.uint8)), "source 2 is torch.uint8: convert"),
    ],
)
def test_unusable_sources_are_named_with_the_remedy(sources: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Average()(*sources)
