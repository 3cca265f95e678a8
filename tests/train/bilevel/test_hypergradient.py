"""The hypergradient against double backward, finite differences and hand-made cases, in float64."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from fusionkit.contracts import Batch, Fuser, LossProposer, OuterLoss, Proposal, Terms
from fusionkit.train.bilevel import (
    closed_form_meta_gradient,
    image_space_meta_gradient,
    meta_gradient,
    supports_forward_mode,
)
from fusionkit.train.bilevel.hypergradient import derivative_along, evidence, fused_tangent, leaning
from fusionkit.train.bilevel.noise import Noise
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import ProposerOptions, ReFusionProposer
from fusionkit_refusion.reconstructor import ReconstructorOptions, ReFusionReconstructor
from fusionkit_restormer.fuser import FuserOptions
from fusionkit_restormer.losses import weighted_fusion_minimiser


class Blend(Fuser):
    """I_f = s I_a + t I_b: small enough to differentiate on paper."""

    def __init__(self) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
        self.t = nn.Parameter(torch.tensor(0.6, dtype=torch.float64))

    def forward(self, *sources: Tensor) -> Tensor:
        return self.s * sources[0] + self.t * sources[1]


class Share(LossProposer):
    """One weight p for source a everywhere; the loss is not quadratic, so its curvature matters."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(0.2, dtype=torch.float64))

    def forward(self, *sources: Tensor) -> Proposal:
        w = torch.sigmoid(self.p) * torch.ones_like(sources[0])
        return {"w": torch.cat((w, 1 - w), 1)}

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        error = (torch.cat(tuple(sources), 1) - fused).pow(4) + (torch.cat(tuple(sources), 1) - fused).square()
        return {"total": (proposal["w"] * error).sum(1).mean()}


class Rectifier(torch.autograd.Function):
    """A function with a first derivative and, on purpose, no second one."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


class OnceOnly(OuterLoss):
    """A downstream network that can be differentiated once only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1).double()

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": (Rectifier.apply(self.conv(fused)) - batch.targets).square().mean()}


def _batch(size: int = 12, *, targets: bool = False) -> Batch:
    sources = tuple(torch.rand(2, 1, size, size, dtype=torch.float64) for _ in range(2))
    return Batch(sources, torch.rand(2, 2, size, size, dtype=torch.float64) if targets else None)


def _refusion() -> tuple[Fuser, LossProposer, OuterLoss]:
    torch.manual_seed(3)
    return (
        ReFusionFuser(FuserOptions(dim=4, heads=2, blocks=1)).double(),
        ReFusionProposer(ProposerOptions(dim=4, heads=2, blocks=1)).double(),
        ReFusionReconstructor(ReconstructorOptions(dim=4, heads=2, blocks=1)).double(),
    )


def _flat(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([g.flatten() for g in gradients.values()])


@pytest.mark.parametrize("eta", [1e-4, 0.3])
def test_the_exact_form_equals_double_backward_on_refusion(eta: float) -> None:
    networks, mtr, mts = _refusion(), _batch(), _batch()
    forward = meta_gradient(*networks, mtr, mts, eta_fuser=eta, eta_outer_loss=eta)
    double = meta_gradient(*networks, mtr, mts, eta_fuser=eta, eta_outer_loss=eta, method="double_backward")
    expected = _flat(double.proposer)
    assert expected.norm() > 0
    assert (_flat(forward.proposer) - expected).norm() <= 1e-8 * expected.norm()
    torch.testing.assert_close(forward.fuser, double.fuser, rtol=1e-10, atol=0)
    torch.testing.assert_close(forward.outer, double.outer, rtol=1e-12, atol=0)


def test_the_exact_form_equals_double_backward_on_another_fuser_and_loss() -> None:
    fuser, proposer, outer_loss = Blend(), Share(), _refusion()[2]
    mtr, mts = _batch(), _batch()
    forward = meta_gradient(fuser, proposer, outer_loss, mtr, mts, eta_fuser=0.5, eta_outer_loss=0.1)
    double = meta_gradient(
        fuser, proposer, outer_loss, mtr, mts, eta_fuser=0.5, eta_outer_loss=0.1, method="double_backward"
    )
    torch.testing.assert_close(forward.proposer, double.proposer, rtol=1e-8, atol=0)


def test_the_exact_form_equals_central_differences_through_a_real_inner_step() -> None:
    fuser, proposer, outer_loss = Blend(), Share(), _refusion()[2]
    mtr, mts = _batch(), _batch()
    eta = 0.5
    for parameter in outer_loss.parameters():
        parameter.requires_grad_(False)

    def outer_after_inner(p: float) -> float:
        proposer.p.data.fill_(p)
        loss = proposer.loss(proposer(*mtr.sources), fuser(*mtr.sources), mtr.sources)["total"]
        slopes = torch.autograd.grad(loss, list(fuser.parameters()))
        moved = Blend()
        for parameter, old, slope in zip(moved.parameters(), fuser.parameters(), slopes, strict=True):
            parameter.data = old.data - eta * slope
        return float(outer_loss.loss(moved(*mts.sources), mts)["total"].detach())

    step = 1e-4
    slope = (outer_after_inner(0.2 + step) - outer_after_inner(0.2 - step)) / (2 * step)
    for parameter in outer_loss.parameters():
        parameter.requires_grad_(True)
    proposer.p.data.fill_(0.2)
    # eta_outer_loss is tiny: the differences above leave the outer loss as it is.
    found = meta_gradient(fuser, proposer, outer_loss, mtr, mts, eta_fuser=eta, eta_outer_loss=1e-12)
    assert float(found.proposer["p"]) == pytest.approx(slope, rel=1e-6)


def test_an_outer_loss_without_second_derivatives_serves() -> None:
    fuser, proposer, _ = _refusion()
    found = meta_gradient(
        fuser, proposer, OnceOnly(), _batch(targets=True), _batch(targets=True), eta_fuser=0.1, eta_outer_loss=0.1
    )
    assert _flat(found.proposer).norm() > 0


def test_no_module_changes() -> None:
    networks = _refusion()
    before = [p.detach().clone() for network in networks for p in network.parameters()]
    meta_gradient(*networks, _batch(), _batch(), eta_fuser=0.1, eta_outer_loss=0.1)
    image_space_meta_gradient(*networks, _batch(), eta=1.0)
    after = [p for network in networks for p in network.parameters()]
    assert all(torch.equal(x, y) for x, y in zip(before, after, strict=True))
    assert all(p.grad is None for p in after)


def test_evidence_is_the_mixed_derivative_written_with_a_graph_of_the_loss() -> None:
    fuser, proposer, outer_loss = _refusion()
    batch = _batch()
    image = fuser(*batch.sources).detach().requires_grad_()
    (pull,) = torch.autograd.grad(outer_loss.loss(image, batch)["total"], image)
    maps = {name: value.detach().requires_grad_() for name, value in proposer(*batch.sources).items()}
    loss = proposer.loss(maps, image, batch.sources)["total"]
    (slope,) = torch.autograd.grad(loss, image, create_graph=True)
    found = evidence(proposer, maps, image.detach(), pull, batch.sources)
    for name, of_map in maps.items():
        (expected,) = torch.autograd.grad(-(slope * pull).sum(), of_map, retain_graph=True)
        expected = expected - expected.mean(1, keepdim=True)
        torch.testing.assert_close(found[name], expected / expected.square().mean().sqrt(), rtol=1e-9, atol=1e-12)


def test_the_image_form_passes_evidence_and_leaning_on_to_the_proposer() -> None:
    fuser, proposer, outer_loss = _refusion()
    batch = _batch()
    found = image_space_meta_gradient(fuser, proposer, outer_loss, batch, eta=0.7, weight_map_kl=0.2)
    image = fuser(*batch.sources).detach().requires_grad_()
    (pull,) = torch.autograd.grad(outer_loss.loss(image, batch)["total"], image)
    proposal = proposer(*batch.sources)
    told = evidence(proposer, proposal, image.detach(), 3 * pull, batch.sources)
    objective = 0.2 * leaning(proposal)
    for name, of_map in proposal.items():
        pixels = of_map.shape[0] * of_map.shape[2] * of_map.shape[3]
        objective = objective + 0.7 * (told[name] * of_map).sum() / pixels
    expected = torch.autograd.grad(objective, list(proposer.parameters()))
    for (name, gradient), reference in zip(found.proposer.items(), expected, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-9, atol=1e-15, msg=name)


@pytest.mark.parametrize("form", ["image", "forward", "double_backward"])
def test_the_outer_loss_sees_the_fused_image_through_the_noise(form: str) -> None:
    class Brightness(OuterLoss):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.ones((), dtype=torch.float64))

        def loss(self, fused: Tensor, batch: Batch) -> Terms:
            return {"total": self.gain.detach() * fused.mean() + 0 * self.gain}

    networks, mtr, mts = (Blend(), Share(), Brightness()), _batch(), _batch()

    def outer(noise: Noise | None) -> float:
        if form == "image":
            return float(image_space_meta_gradient(*networks, mts, noise=noise).outer["total"])
        found = meta_gradient(*networks, mtr, mts, eta_fuser=0.1, eta_outer_loss=0.1, method=form, noise=noise)  # type: ignore[arg-type]
        return float(found.outer["total"])

    assert outer(lambda fused, _: torch.full_like(fused, 0.25)) == pytest.approx(outer(None) + 0.25)


def test_at_the_optimum_the_gradients_are_those_of_the_loss_of_the_minimiser_by_differences() -> None:
    _, proposer, outer_loss = _refusion()
    batch, drawn = _batch(), 0.1 * torch.randn(2, 1, 12, 12, dtype=torch.float64)
    found = closed_form_meta_gradient(proposer, outer_loss, batch, weight_map_kl=0.3, noise=lambda _, __: drawn)

    def objective() -> float:
        with torch.no_grad():
            proposal = proposer(*batch.sources)
            asked = weighted_fusion_minimiser(batch.sources, proposal["w"], proposal["v"]).clamp(0, 1)
            outer = outer_loss.loss(asked + drawn, batch)["total"]
            return float(outer + 0.3 * leaning(proposal))

    step = 1e-6
    for network, slopes in ((proposer, found.proposer), (outer_loss, found.outer_loss)):
        direction = {name: torch.randn_like(p) for name, p in network.named_parameters()}
        along = []
        for sign in (1, -1, -1, 1):
            with torch.no_grad():
                for name, p in network.named_parameters():
                    p.add_(sign * step * direction[name])
            along.append(objective())
        expected = (along[0] - along[2]) / (2 * step)
        assert sum(float((slopes[n] * d).sum()) for n, d in direction.items()) == pytest.approx(expected, rel=1e-5)
    assert float(found.inner["total"]) > 0
    assert found.fuser == {}


def test_the_minimiser_lies_below_every_image_near_it_in_what_an_image_can_be() -> None:
    _, proposer, _ = _refusion()
    batch = _batch(size=20)
    with torch.no_grad():
        proposal = proposer(*batch.sources)
        asked = proposer.minimiser(proposal, batch.sources)
    assert asked is not None
    assert 0 <= float(asked.min()) <= float(asked.max()) <= 1
    low = float(proposer.loss(proposal, asked, batch.sources)["total"])
    for source in (*batch.sources, sum(batch.sources) / 2, torch.rand_like(asked)):
        assert low < float(proposer.loss(proposal, source, batch.sources)["total"])


def test_a_loss_without_a_closed_form_has_no_optimum() -> None:
    with pytest.raises(ValueError, match="Share's loss has no minimiser in closed form"):
        closed_form_meta_gradient(Share(), OnceOnly(), _batch(targets=True))


def test_the_tangent_of_the_fused_image_is_its_directional_derivative() -> None:
    fuser = _refusion()[0]
    batch = _batch()
    direction = {name: torch.randn_like(p) for name, p in fuser.named_parameters()}
    tangent = fused_tangent(fuser, direction, batch.sources)
    step = 1e-6
    images = []
    for sign in (1, -1):
        moved = {name: p + sign * step * direction[name] for name, p in fuser.named_parameters()}
        images.append(torch.func.functional_call(fuser, moved, batch.sources))
    torch.testing.assert_close(tangent, (images[0] - images[1]) / (2 * step), rtol=1e-6, atol=1e-7)


def test_a_loss_that_ignores_the_fused_image_is_refused() -> None:
    class Deaf(Share):
        def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
            return {"total": proposal["w"].mean()}

    proposer, batch = Deaf(), _batch()
    image = torch.rand_like(batch.sources[0])
    with pytest.raises(RuntimeError, match="does not depend on the fused image"):
        derivative_along(proposer, proposer(*batch.sources), image, torch.ones_like(image), batch.sources)


@pytest.mark.parametrize("method", ["forward", "double_backward"])
def test_indifference_adds_the_gradient_of_leaning(method: str) -> None:
    networks, mtr, mts = _refusion(), _batch(), _batch()
    settings = {"eta_fuser": 0.1, "eta_outer_loss": 0.1, "method": method}
    plain = meta_gradient(*networks, mtr, mts, **settings)  # type: ignore[arg-type]
    pulled = meta_gradient(*networks, mtr, mts, weight_map_kl=0.4, **settings)  # type: ignore[arg-type]
    proposer = networks[1]
    expected = torch.autograd.grad(0.4 * leaning(proposer(*mtr.sources)), list(proposer.parameters()))
    torch.testing.assert_close(
        _flat(pulled.proposer) - _flat(plain.proposer), torch.cat([g.flatten() for g in expected])
    )


def test_leaning_is_the_divergence_from_equal_shares_and_pulls_where_a_softmax_has_saturated() -> None:
    even = torch.full((1, 2, 3, 3), 0.5)
    assert float(leaning({"w": even, "v": even})) == 0
    logits = torch.tensor([[3.0, -3.0]], dtype=torch.float64, requires_grad=True)
    p = logits.softmax(1)
    found = leaning({"w": p[:, :, None, None]})
    uniform = torch.full((2,), 0.5, dtype=torch.float64)
    torch.testing.assert_close(found, torch.nn.functional.kl_div(p[0].log(), uniform, reduction="sum"))
    (slope,) = torch.autograd.grad(found, logits)
    torch.testing.assert_close(slope[0], p[0].detach() - 0.5)


def test_a_fuser_without_forward_mode_is_recognised() -> None:
    class Stubborn(Blend):
        def forward(self, *sources: Tensor) -> Tensor:
            return Rectifier.apply(super().forward(*sources))

    sources = _batch().sources
    assert supports_forward_mode(Blend(), sources)
    assert not supports_forward_mode(Stubborn(), sources)
