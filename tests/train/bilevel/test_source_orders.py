"""An outer loss that sees another view of the pairs than the fusion loss does, and outer losses made of functions."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from fusionkit.contracts import Batch, OuterLoss, Terms
from fusionkit.testing import check_outer_loss, example_sources
from fusionkit.train.bilevel import FunctionOuterLoss, image_space_meta_gradient, meta_gradient
from fusionkit.train.bilevel.source_orders import in_both_orders
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_restormer.fuser import FuserOptions
from fusionkit_tdfusion.proposer import TDFusionProposer, TDFusionProposerOptions


class PixelClasses(nn.Module):
    """A small T: classifies each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Softplus(), nn.Conv2d(4, 3, 3, padding=1))

    def forward(self, fused: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(self.body(fused), targets)


class Hinge(torch.autograd.Function):
    """A function with a first derivative and, on purpose, no second one."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        if torch.is_grad_enabled():
            raise RuntimeError("no second derivative")
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


class HingedClasses(PixelClasses):
    """The same with a loss that can be differentiated once only."""

    def forward(self, fused: Tensor, targets: Tensor) -> Tensor:
        score = self.body(fused)
        wrong = Hinge.apply(1 + score - score.gather(1, targets[:, None]))
        return wrong.mean()


def _networks(judge: type[nn.Module] = PixelClasses) -> tuple[ReFusionFuser, TDFusionProposer, OuterLoss]:
    torch.manual_seed(2)
    fuser = ReFusionFuser(FuserOptions(dim=4, heads=2, blocks=1)).double()
    proposer = TDFusionProposer(TDFusionProposerOptions(dim=4, heads=2, blocks=1)).double()
    return fuser, proposer, FunctionOuterLoss(judge().double())


def _views() -> tuple[Batch, Batch, Batch]:
    """mtr for L_f, the same pairs for the outer loss, mts for the outer loss: of two sizes."""

    def batch(height: int, width: int, seed: int, *, labelled: bool) -> Batch:
        sources = example_sources((height, width), batch=2, dtype=torch.float64, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        targets = torch.randint(0, 3, (2, height, width), generator=generator) if labelled else None
        return Batch(sources, targets)

    return batch(12, 12, 1, labelled=False), batch(10, 16, 1, labelled=True), batch(10, 16, 2, labelled=True)


def _written_out(
    fuser: nn.Module, proposer: TDFusionProposer, outer_loss: OuterLoss, eta: float
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Equations (4) to (7) of the TDFusion paper as they stand, with a graph of the gradient."""
    mtr, mtr_outer_loss, mts = _views()
    weights = dict(fuser.named_parameters())
    l_f = proposer.loss(proposer(*mtr.sources), fuser(*mtr.sources), mtr.sources)["total"]
    slopes = torch.autograd.grad(l_f, list(weights.values()), create_graph=True)
    moved = {name: p - eta * slope for (name, p), slope in zip(weights.items(), slopes, strict=True)}
    task = dict(outer_loss.named_parameters())
    l_t = outer_loss.loss(fuser(*mtr_outer_loss.sources).detach(), mtr_outer_loss)["total"]
    stepped = {
        name: p.detach() - eta * slope
        for (name, p), slope in zip(task.items(), torch.autograd.grad(l_t, list(task.values())), strict=True)
    }
    image = functional_call(fuser, moved, mts.sources)
    judge = {name.removeprefix("judge."): p for name, p in stepped.items()}
    outer = functional_call(outer_loss.judge, judge, (image, mts.targets))  # type: ignore[arg-type]
    return torch.autograd.grad(outer, list(proposer.parameters())), outer.detach()


@pytest.mark.parametrize("method", ["forward", "double_backward"])
def test_the_hypergradient_over_two_views_is_the_papers_written_out(method: str) -> None:
    networks = _networks()
    expected, outer = _written_out(*networks, eta=0.2)
    mtr, mtr_outer_loss, mts = _views()
    found = meta_gradient(
        *networks,
        mtr,
        mts,
        mtr_outer_loss=mtr_outer_loss,
        eta_fuser=0.2,
        eta_outer_loss=0.2,
        method=method,  # type: ignore[arg-type]
    )
    torch.testing.assert_close(found.outer["total"], outer, rtol=1e-12, atol=0)
    whole = torch.cat([g.flatten() for g in expected])
    got = torch.cat([g.flatten() for g in found.proposer.values()])
    assert whole.norm() > 0
    assert (got - whole).norm() <= 1e-8 * whole.norm()


def test_one_view_for_both_is_the_view_given_twice() -> None:
    networks = _networks()
    _, mtr, mts = _views()
    once = meta_gradient(*networks, mtr, mts, eta_fuser=0.1, eta_outer_loss=0.1)
    twice = meta_gradient(*networks, mtr, mts, mtr_outer_loss=mtr, eta_fuser=0.1, eta_outer_loss=0.1)
    torch.testing.assert_close(once.proposer, twice.proposer, rtol=0, atol=0)
    apart = meta_gradient(
        *networks, mtr, mts, mtr_outer_loss=Batch(mtr.sources, mtr.targets), eta_fuser=0.1, eta_outer_loss=0.1
    )
    torch.testing.assert_close(once.proposer, apart.proposer, rtol=1e-10, atol=0)


def test_a_loss_without_a_second_derivative_teaches() -> None:
    networks = _networks(HingedClasses)
    mtr, mtr_outer_loss, mts = _views()
    loss = networks[2].loss(networks[0](*mts.sources), mts)["total"]
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, list(networks[2].parameters()), create_graph=True)
    exact = meta_gradient(*networks, mtr, mts, mtr_outer_loss=mtr_outer_loss, eta_fuser=0.1, eta_outer_loss=0.1)
    image = image_space_meta_gradient(*networks, mts)
    for found in (exact, image):
        assert torch.cat([g.flatten() for g in found.proposer.values()]).norm() > 0


def test_frozen_parameters_of_an_outer_loss_act_and_are_left_alone() -> None:
    """As if they were constants: the same hypergradient, and no gradient of their own."""

    class Frozen(PixelClasses):
        def __init__(self) -> None:
            super().__init__()
            self.body[0].requires_grad_(False)

    def found(judge: type[nn.Module], eta_outer_loss: float, method: Literal["forward", "double_backward"]) -> Any:
        mtr, whole, mts = _views()
        return meta_gradient(
            *_networks(judge),
            mtr,
            mts,
            mtr_outer_loss=whole,
            eta_fuser=0.1,
            eta_outer_loss=eta_outer_loss,
            method=method,
        )

    # Without an inner step of the outer loss it makes no difference which of its parameters could have moved.
    learned, frozen = (found(judge, 0.0, "forward") for judge in (PixelClasses, Frozen))
    assert set(frozen.outer_loss) == {"judge.body.2.weight", "judge.body.2.bias"}
    for name, value in frozen.proposer.items():
        torch.testing.assert_close(value, learned.proposer[name])
    once, twice = (found(Frozen, 0.1, method) for method in ("forward", "double_backward"))
    for name, value in once.proposer.items():
        torch.testing.assert_close(value, twice.proposer[name])


def test_a_function_is_an_outer_loss_that_keeps_the_contract() -> None:
    def judge(fused: Tensor, targets: Tensor) -> Terms:
        error = (fused - targets).square().mean()
        return {"total": 2 * error, "error": error}

    batch = Batch(example_sources((6, 7), batch=2), torch.rand(2, 1, 6, 7, dtype=torch.float64))
    outer_loss = FunctionOuterLoss(judge)
    assert set(outer_loss.loss(batch.sources[0], batch)) == {"total", "error"}

    class Toward(FunctionOuterLoss):
        def __init__(self, config: object = None) -> None:
            super().__init__(judge)

    assert check_outer_loss(Toward, batch=batch) == ()


def test_a_module_lends_its_parameters_and_takes_others() -> None:
    outer_loss = FunctionOuterLoss(PixelClasses())
    assert {name for name, _ in outer_loss.named_parameters()} == {
        f"judge.body.{k}.{part}" for k in (0, 2) for part in ("weight", "bias")
    }


@pytest.mark.parametrize("targets", [None, torch.arange(6).reshape(2, 3), ("first", "second")])
def test_both_orders_are_the_pairs_and_then_the_pairs_swapped(targets: object) -> None:
    first, second, third = example_sources((3, 4), count=3, batch=2)
    doubled = in_both_orders(Batch((first, second, third), targets))
    torch.testing.assert_close(doubled.sources[0], torch.cat((first, second)), rtol=0, atol=0)
    torch.testing.assert_close(doubled.sources[1], torch.cat((second, first)), rtol=0, atol=0)
    torch.testing.assert_close(doubled.sources[2], torch.cat((third, third)), rtol=0, atol=0)
    for k in range(4):
        if isinstance(targets, Tensor):
            assert torch.equal(doubled.targets[k], targets[k % 2])
        elif targets is not None:
            assert doubled.targets[k] == targets[k % 2]  # type: ignore[index]


def test_targets_that_cannot_be_doubled_are_refused() -> None:
    with pytest.raises(TypeError, match="targets are a dict"):
        in_both_orders(Batch(example_sources((3, 4)), {"a": 1}))
