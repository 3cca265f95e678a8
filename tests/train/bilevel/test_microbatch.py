"""A batch in shares gives what the whole batch gives: gradients, losses, noise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from benchmarks.paper.schemes import joint_gradients
from fusionkit.contracts import Batch
from fusionkit.train.bilevel import closed_form_meta_gradient, meta_gradient
from fusionkit.train.bilevel.fusion_step import FusionRule, fusion_gradients, separate_gradients
from fusionkit.train.bilevel.meta_steps import Networks, StepContext
from fusionkit.train.bilevel.microbatch import split_batch
from fusionkit.train.bilevel.noise import contrast
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import ProposerOptions, ReFusionProposer
from fusionkit_refusion.reconstructor import ReconstructorOptions, ReFusionReconstructor
from fusionkit_restormer.fuser import FuserOptions


def _networks() -> tuple[ReFusionFuser, ReFusionProposer, ReFusionReconstructor]:
    return (
        ReFusionFuser(FuserOptions(dim=4, heads=2, blocks=1)).double(),
        ReFusionProposer(ProposerOptions(dim=4, heads=2, blocks=1)).double(),
        ReFusionReconstructor(ReconstructorOptions(dim=4, heads=2, blocks=1)).double(),
    )


def _batch() -> Batch:
    return Batch(tuple(torch.rand(2, 3, 1, 10, 12, dtype=torch.float64)))


def _noise(image: Tensor, sources: Sequence[Tensor]) -> Tensor:
    return contrast(sources) * torch.randn(image.shape, dtype=image.dtype, generator=torch.Generator().manual_seed(4))


def _agree(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] - value).norm() <= 1e-12 * value.norm(), name


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_the_hypergradient_of_a_batch_in_shares_is_that_of_the_whole(micro_batch: int) -> None:
    networks, mtr, mts = _networks(), _batch(), _batch()
    settings = {"eta_fuser": 0.1, "eta_outer_loss": 0.1, "weight_map_kl": 0.2, "noise": _noise}
    whole = meta_gradient(*networks, mtr, mts, **settings)  # type: ignore[arg-type]
    shares = meta_gradient(*networks, mtr, mts, micro_batch=micro_batch, **settings)  # type: ignore[arg-type]
    for part in ("proposer", "fuser", "outer_loss", "inner", "outer"):
        _agree(getattr(shares, part), getattr(whole, part))


@pytest.mark.parametrize("micro_batch", [1, 2])
def test_the_gradients_at_the_optimum_in_shares_are_those_of_the_whole(micro_batch: int) -> None:
    (_, *networks), batch = _networks(), _batch()
    whole = closed_form_meta_gradient(*networks, batch, weight_map_kl=0.2, noise=_noise)
    shares = closed_form_meta_gradient(*networks, batch, weight_map_kl=0.2, noise=_noise, micro_batch=micro_batch)
    for part in ("proposer", "outer_loss", "inner", "outer"):
        _agree(getattr(shares, part), getattr(whole, part))


@pytest.mark.parametrize("rule", [separate_gradients, joint_gradients])
def test_the_gradients_of_a_fusion_step_in_shares_are_those_of_the_whole(rule: FusionRule) -> None:
    fuser, proposer, outer_loss = _networks()
    networks, batch = Networks(fuser, proposer, outer_loss), _batch()
    whole = fusion_gradients(networks, batch, batch, StepContext(_noise), rule)
    shares = fusion_gradients(networks, batch, batch, StepContext(_noise, micro_batch=2), rule)
    for part in ("fuser", "outer_loss", "terms"):
        _agree(getattr(shares, part), getattr(whole, part))


def test_an_outer_loss_that_sees_the_pairs_otherwise_is_shared_out_alike() -> None:
    networks, mtr, mts = _networks(), _batch(), _batch()
    other = Batch(tuple(torch.rand(2, 3, 1, 14, 9, dtype=torch.float64)))
    settings = {"eta_fuser": 0.1, "eta_outer_loss": 0.1, "mtr_outer_loss": other}
    whole = meta_gradient(*networks, mtr, mts, **settings)  # type: ignore[arg-type]
    shares = meta_gradient(*networks, mtr, mts, micro_batch=1, **settings)  # type: ignore[arg-type]
    _agree(shares.proposer, whole.proposer)


def test_targets_go_with_their_samples() -> None:
    sources = tuple(torch.rand(2, 5, 1, 4, 4))
    for targets in (torch.arange(5), tuple(range(5)), None):
        parts = split_batch(Batch(sources, targets), 2)
        assert [len(part.sources[0]) for part, _ in parts] == [2, 2, 1]
        assert sum(weight for _, weight in parts) == pytest.approx(1)
        if targets is not None:
            assert [int(t) for part, _ in parts for t in part.targets] == list(range(5))
    with pytest.raises(TypeError, match="targets are a dict"):
        split_batch(Batch(sources, {"classes": targets}), 2)
