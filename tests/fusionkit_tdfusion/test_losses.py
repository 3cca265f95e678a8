"""TDFusion's fusion loss against the formula written slowly, its proposers and its fuser."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fusionkit.errors import UsageError
from fusionkit.testing import check_fuser, check_loss_proposer, example_sources
from fusionkit_restormer.fuser import FuserOptions
from fusionkit_tdfusion.fuser import TDFusionFuser
from fusionkit_tdfusion.losses import strongest, task_fusion_loss
from fusionkit_tdfusion.proposer import EvenProposer, TDFusionProposer, TDFusionProposerOptions


def _sobel(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], dtype=np.float64)
    padded = np.pad(image, 1)
    responses = []
    for k in (kernel, kernel.T):
        out = np.zeros_like(image)
        for y in range(image.shape[0]):
            for x in range(image.shape[1]):
                out[y, x] = (k * padded[y : y + 3, x : x + 3]).sum()
        responses.append(out)
    return responses[0], responses[1]


def _slowly(fused: np.ndarray, a: np.ndarray, b: np.ndarray, w: np.ndarray, alpha: float, inside: bool) -> float:
    gradients = [_sobel(image) for image in (fused, a, b)]
    total = 0.0
    for y in range(fused.shape[0]):
        for x in range(fused.shape[1]):
            for share, source in ((w[y, x], a), (1 - w[y, x], b)):
                difference = fused[y, x] - source[y, x]
                total += (share * difference) ** 2 if inside else share * difference**2
            for direction in range(2):
                found, first, second = (each[direction][y, x] for each in gradients)
                total += alpha * abs(found - (first if abs(first) >= abs(second) else second))
    return total / fused.size


@pytest.mark.parametrize("weighting", ["outside", "inside"])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 2.5])
def test_the_loss_is_the_papers_written_slowly(weighting: str, alpha: float) -> None:
    fused, a, b, w = torch.rand(4, 2, 1, 6, 5, dtype=torch.float64)
    found = task_fusion_loss(fused, (a, b), torch.cat((w, 1 - w), 1), alpha=alpha, weighting=weighting)  # type: ignore[arg-type]
    expected = np.mean(
        [_slowly(*(each[k, 0].numpy() for each in (fused, a, b, w)), alpha, weighting == "inside") for k in range(2)]
    )
    assert float(found["total"]) == pytest.approx(expected, rel=1e-12)
    assert float(found["intensity"] + alpha * found["gradient"]) == pytest.approx(expected, rel=1e-12)


def test_the_strongest_response_keeps_its_sign_and_of_equals_the_first() -> None:
    a, b = torch.tensor([-3.0, 1.0, -2.0]), torch.tensor([2.0, -1.5, 2.0])
    assert strongest((a, b)).tolist() == [-3.0, -1.5, -2.0]


def test_a_small_g_and_its_control_keep_the_contract() -> None:
    sizes = ((1, 1), (5, 6))
    check_loss_proposer(TDFusionProposer(TDFusionProposerOptions(dim=4, heads=2, blocks=1, logit_cap=3.0)), sizes=sizes)
    check_loss_proposer(EvenProposer, sizes=sizes)


def test_g_proposes_intensity_alone_and_the_control_one_half() -> None:
    sources = example_sources((6, 7))
    assert set(TDFusionProposer(TDFusionProposerOptions(dim=4, heads=2, blocks=1))(*sources)) == {"w"}
    assert torch.equal(EvenProposer()(*sources)["w"], torch.full((1, 2, 6, 7), 0.5))


def test_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UsageError, match=r"proposer\.heads=3 does not divide proposer\.dim=16"):
        TDFusionProposer(TDFusionProposerOptions(heads=3))


def test_f_is_refusions_network() -> None:
    assert sum(p.numel() for p in TDFusionFuser().parameters()) == 59_856
    check_fuser(TDFusionFuser(FuserOptions(dim=4, heads=2, blocks=1)), sizes=((1, 1), (9, 7)))
