r"""The gradient of the outer loss with respect to the loss proposer, exact and without a graph of a graph.

One inner step moves the fuser, :math:`\theta_F' = \theta_F - \eta\,\partial L_f/\partial\theta_F`, and the outer loss
is measured at :math:`\theta_F'`. With :math:`u = \partial L_{outer}/\partial\theta_F'`,

.. math:: \frac{\partial L_{outer}}{\partial\theta_P} = -\eta\,\frac{\partial}{\partial\theta_P}
          \Big\langle u, \frac{\partial L_f}{\partial\theta_F}\Big\rangle .

The bracket is the derivative of L_f along u at theta_F. L_f depends on theta_P through the proposal alone, so one
forward-mode pass of the fuser along u gives the tangent of the fused image, one forward-mode pass of the loss the
bracket, and an ordinary backward pass through the proposer the result. Everything else is first order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor, nn
from torch.func import functional_call, jvp

from fusionkit.contracts import Batch, Critic, Fuser, LossProposer, Proposal, Terms

Method = Literal["forward", "double_backward"]
Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class MetaGradient:
    """What one meta step gives.

    Attributes:
        proposer: the hypergradient, by parameter name of the proposer.
        fuser: dL_f(mtr)/dtheta_F, the inner gradient of the fuser.
        critic: dL_outer(mtr)/dtheta_R, the inner gradient of the critic; empty in image space.
        inner: the fusion loss on mtr.
        outer: the critic's loss on mts after the inner step.
    """

    proposer: Parameters
    fuser: Parameters
    critic: Parameters
    inner: Terms
    outer: Terms


def meta_gradient(
    fuser: Fuser,
    proposer: LossProposer,
    critic: Critic,
    mtr: Batch,
    mts: Batch,
    *,
    eta_fuser: float,
    eta_critic: float,
    indifference: float = 0.0,
    method: Method = "forward",
) -> MetaGradient:
    """The hypergradient through one inner step of the fuser (and one of the critic).

    No module changes. The critic is differentiated once only; the proposer's loss must be twice differentiable in
    (proposal, fused).

    Args:
        fuser: F.
        proposer: P.
        critic: R, or a downstream network.
        mtr: the batch of the inner step.
        mts: the batch of the outer loss, from other pairs.
        eta_fuser: step size of F'.
        eta_critic: step size of R'.
        indifference: weight of :func:`leaning`, added to the outer loss.
        method: ``"forward"``, the exact form above, or ``"double_backward"``, the same number by a graph of the
            gradient, for fusers that have no forward-mode AD; it takes more time and two to three times the memory.

    Reference:
        Bai et al., ReFusion, IJCV 2025, eq. (7)-(10); Bai et al., TDFusion, CVPR 2025, eq. (4)-(7).
    """
    weights = dict(fuser.named_parameters())
    second_order = method == "double_backward"
    proposal = proposer(*mtr.sources)
    fused = fuser(*mtr.sources)
    inner = proposer.loss(proposal if second_order else _detached(proposal), fused, mtr.sources)
    slope = _gradients(inner["total"], weights, create_graph=second_order)
    critic_slope = critic_gradients(critic, fused.detach(), mtr)[1]

    stepped = {name: p - eta_fuser * slope[name] for name, p in weights.items()}
    if not second_order:
        stepped = {name: p.detach().requires_grad_() for name, p in stepped.items()}
    critic_stepped = {name: p.detach() - eta_critic * critic_slope[name] for name, p in critic.named_parameters()}
    outer = _critic_loss(critic, critic_stepped, functional_call(fuser, stepped, mts.sources), mts)

    if second_order:
        objective = outer["total"] + indifference * leaning(proposal)
        hyper = _gradients(objective, dict(proposer.named_parameters()))
    else:
        u = _gradients(outer["total"], stepped)
        tangent = fused_tangent(fuser, u, mtr.sources)
        slope_along = derivative_along(proposer, proposal, fused.detach(), tangent, mtr.sources)
        objective = -eta_fuser * slope_along + indifference * leaning(proposal)
        hyper = _gradients(objective, dict(proposer.named_parameters()))
    return MetaGradient(hyper, _cut(slope), critic_slope, _cut(inner), _cut(outer))


def image_meta_gradient(
    fuser: Fuser, proposer: LossProposer, critic: Critic, batch: Batch, *, eta: float = 1.0, indifference: float = 0.0
) -> MetaGradient:
    """The same question asked of the fused image itself: the inner step moves the pixels instead of the weights.

    ``I_f' = I_f - eta dL_f/dI_f``, so the tangent is dL_outer/dI_f itself: no F', no forward-mode pass, a third of
    the cost. It is another gradient than :func:`meta_gradient`: it leaves out the smoothing by the fuser's Jacobian
    and needs no second batch. The tangent is scaled to a root mean square of 1: its size says how good the critic
    is by now, which is not the proposer's affair, and ``indifference`` keeps its meaning throughout a run.

    Args:
        fuser: F.
        proposer: P.
        critic: R, or a downstream network.
        batch: the batch that both losses see.
        eta: step size in image space, a factor of the result.
        indifference: weight of :func:`leaning`, added to the outer loss.
    """
    weights = dict(fuser.named_parameters())
    proposal = proposer(*batch.sources)
    fused = fuser(*batch.sources)
    inner = proposer.loss(_detached(proposal), fused, batch.sources)
    slope = _gradients(inner["total"], weights)
    image = fused.detach().requires_grad_()
    outer = critic.loss(image, batch)
    (tangent,) = torch.autograd.grad(outer["total"], image)
    tangent = tangent / tangent.square().mean().sqrt().clamp_min(torch.finfo(tangent.dtype).tiny)
    slope_along = derivative_along(proposer, proposal, image.detach(), tangent, batch.sources)
    objective = -eta * slope_along + indifference * leaning(proposal)
    hyper = _gradients(objective, dict(proposer.named_parameters()))
    return MetaGradient(hyper, slope, {}, _cut(inner), _cut(outer))


def fused_tangent(fuser: Fuser, direction: Mapping[str, Tensor], sources: Sequence[Tensor]) -> Tensor:
    """How the fused image moves when the fuser's parameters move along ``direction``: one forward-mode pass."""
    weights = {name: p.detach() for name, p in fuser.named_parameters()}
    with torch.no_grad():
        tangent = jvp(lambda w: functional_call(fuser, w, tuple(sources)), (weights,), (dict(direction),))[1]
    return tangent


def derivative_along(
    proposer: LossProposer, proposal: Proposal, fused: Tensor, tangent: Tensor, sources: Sequence[Tensor]
) -> Tensor:
    """The derivative of L_f with respect to the fused image along ``tangent``, with its graph to the proposal.

    Args:
        proposer: P.
        proposal: ``proposer(*sources)``, with its graph.
        fused: where L_f is differentiated, ``(B, C, H, W)``, without a graph.
        tangent: the direction, same shape.
        sources: as ``proposal`` was made from.
    """
    with forward_ad.dual_level():
        total = proposer.loss(proposal, forward_ad.make_dual(fused, tangent), sources)["total"]
        slope = forward_ad.unpack_dual(total).tangent
        if slope is None:
            raise RuntimeError(f"{type(proposer).__name__}.loss does not depend on the fused image")
        return slope


def leaning(proposal: Proposal) -> Tensor:
    r"""How far the proposed maps lean to one source: the mean divergence of the maps from equal shares.

    .. math:: \sum_{maps} \mathrm{mean}\,\mathrm{KL}(1/S, p)
              = -\sum_{maps}\mathrm{mean}\,\frac{1}{S}\sum_s \log(S p_s)

    As a small part of the outer loss it lets every pixel follow its own evidence and stops the whole map from
    running to one source, which a critic that has given up on the other one would never correct. Its slope in the
    logits is p - 1/S: unlike that of (p - 1/S)^2, it does not vanish where a softmax has saturated.
    """
    divergences = [
        -(maps.clamp_min(torch.finfo(maps.dtype).tiny) * maps.shape[1]).log().mean() for maps in proposal.values()
    ]
    return torch.stack(divergences).sum()


def critic_gradients(critic: Critic, fused: Tensor, batch: Batch) -> tuple[Terms, Parameters]:
    """The critic's loss on a fused image without a graph, and its gradient by parameter name."""
    terms = critic.loss(fused, batch)
    return _cut(terms), _gradients(terms["total"], dict(critic.named_parameters()))


def supports_forward_mode(fuser: Fuser, sources: Sequence[Tensor]) -> bool:
    """Whether every operation of ``fuser`` has a forward-mode derivative; tried on ``sources`` (small ones will do)."""
    try:
        fused_tangent(fuser, {n: torch.ones_like(p) for n, p in fuser.named_parameters()}, sources)
    except (NotImplementedError, RuntimeError):
        return False
    return True


class _Loss(nn.Module):
    """``critic.loss`` as a forward, so that ``functional_call`` can run it with other weights."""

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, fused: Tensor, batch: Batch) -> Terms:
        return self.critic.loss(fused, batch)


def _critic_loss(critic: Critic, weights: Parameters, fused: Tensor, batch: Batch) -> Terms:
    named = {f"critic.{name}": p for name, p in weights.items()}
    return functional_call(_Loss(critic), named, (fused, batch))


def _gradients(total: Tensor, weights: Mapping[str, Tensor], *, create_graph: bool = False) -> Parameters:
    if not weights:
        return {}
    found = torch.autograd.grad(total, list(weights.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(weights.items(), found, strict=True)}


def _detached(proposal: Proposal) -> Proposal:
    return {name: value.detach() for name, value in proposal.items()}


def _cut(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in terms.items()}
