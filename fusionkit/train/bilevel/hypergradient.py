r"""The gradient of the outer loss with respect to the loss proposer, exact and without second-order graphs.

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

from fusionkit.contracts import Batch, Fuser, LossProposer, OuterLoss, Proposal, Terms
from fusionkit.runtime.parameters import trainable
from fusionkit.train.bilevel.microbatch import Mean, WeightedSum, split_batch, split_noise, under
from fusionkit.train.bilevel.noise import Noise, through

Method = Literal["forward", "double_backward"]
Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class MetaGradient:
    """Gradients and losses of one meta step.

    Attributes:
        proposer: the hypergradient, by parameter name of the proposer.
        fuser: dL_f(mtr)/dtheta_F, the inner gradient of the fuser; empty in image space and at the optimum.
        outer_loss: dL_outer(mtr)/dtheta_R, the inner gradient of the outer loss; empty in image space. At the optimum,
            that of the outer loss.
        inner: the fusion loss on mtr.
        outer: the outer loss on mts after the inner step.
    """

    proposer: Parameters
    fuser: Parameters
    outer_loss: Parameters
    inner: Terms
    outer: Terms


def meta_gradient(
    fuser: Fuser,
    proposer: LossProposer,
    outer_loss: OuterLoss,
    mtr: Batch,
    mts: Batch,
    *,
    mtr_outer_loss: Batch | None = None,
    eta_fuser: float,
    eta_outer_loss: float,
    weight_map_kl: float = 0.0,
    noise: Noise | None = None,
    method: Method = "forward",
    micro_batch: int = 0,
    mean: Mean = dict,
) -> MetaGradient:
    """The hypergradient through one inner step of the fuser (and one of the outer loss).

    No module changes. The outer loss is differentiated once only; the proposer's loss must be twice differentiable in
    (proposal, fused).

    Args:
        fuser: F.
        proposer: P.
        outer_loss: R, or a downstream network.
        mtr: the batch of the inner step.
        mts: the batch of the outer loss, from other pairs.
        mtr_outer_loss: the pairs of ``mtr`` as the outer loss's inner step sees them: at another size, with targets.
            None shows it ``mtr`` itself.
        eta_fuser: step size of F'.
        eta_outer_loss: step size of R'.
        weight_map_kl: weight of :func:`leaning`, added to the outer loss.
        noise: what stands between the fused image and the outer loss, see :mod:`fusionkit.train.bilevel.noise`; None
            for nothing.
        method: ``"forward"``, the exact form above, or ``"double_backward"``, the same number by a graph of the
            gradient, for fusers that have no forward-mode AD; it takes more time and a multiple of the memory.
        micro_batch: samples per pass of the forward form, for losses that are means over samples: fewer take less
            memory. 0 takes the whole batch.
        mean: averages named tensors over the processes that share the batch, see
            :mod:`fusionkit.runtime.processes`; of the forward form.

    Reference:
        Bai et al., ReFusion, IJCV 2025, eq. (7)-(10); Bai et al., TDFusion, CVPR 2025, eq. (4)-(7).
    """
    settings = _Settings(eta_fuser, eta_outer_loss, weight_map_kl, noise)
    if method == "double_backward":
        return _double_backward(fuser, proposer, outer_loss, mtr, mts, mtr_outer_loss or mtr, settings)
    return _forward_form(fuser, proposer, outer_loss, mtr, mts, mtr_outer_loss or mtr, settings, micro_batch, mean)


@dataclass(frozen=True)
class _Settings:
    eta_fuser: float
    eta_outer_loss: float
    weight_map_kl: float
    noise: Noise | None


def _forward_form(
    fuser: Fuser,
    proposer: LossProposer,
    outer_loss: OuterLoss,
    mtr: Batch,
    mts: Batch,
    mtr_outer_loss: Batch,
    settings: _Settings,
    micro_batch: int,
    mean: Mean,
) -> MetaGradient:
    weights, learned = trainable(fuser), trainable(proposer)
    noises = split_noise(settings.noise, mtr_outer_loss, micro_batch)
    shares = list(zip(split_batch(mtr, micro_batch), split_batch(mtr_outer_loss, micro_batch), noises, strict=True))
    # The proposer's graph is needed at the end alone: with several shares it is made anew there, one at a time.
    ahead = proposer(*mtr.sources) if len(shares) == 1 else None
    found = WeightedSum()
    images = []
    for (part, weight), (judged, _), noise in shares:
        with torch.no_grad():
            proposal = _detached(ahead or proposer(*part.sources))
        fused = fuser(*part.sources)
        inner = proposer.loss(proposal, fused, part.sources)
        found.add("fuser", gradients_by_name(inner["total"], weights), weight)
        found.add("inner", inner, weight)
        if mtr_outer_loss is mtr:
            seen = fused.detach()
        else:
            with torch.no_grad():
                seen = fuser(*judged.sources)
        found.add("outer_loss", outer_loss_gradients(outer_loss, through(noise, seen, judged), judged)[1], weight)
        images.append(fused.detach())
        del fused, inner
    slopes = mean(found.of("fuser", "outer_loss"))
    slope, outer_loss_slope = under(slopes, "fuser."), under(slopes, "outer_loss.")

    stepped = {name: (p.detach() - settings.eta_fuser * slope[name]).requires_grad_() for name, p in weights.items()}
    outer_loss_stepped = {
        n: p.detach() - settings.eta_outer_loss * outer_loss_slope[n] for n, p in trainable(outer_loss).items()
    }
    noises = split_noise(settings.noise, mts, micro_batch)
    for (part, weight), noise in zip(split_batch(mts, micro_batch), noises, strict=True):
        shown = through(noise, functional_call(fuser, stepped, part.sources), part)
        outer = _outer_loss_at(outer_loss, outer_loss_stepped, shown, part)
        found.add("direction", gradients_by_name(outer["total"], stepped), weight)
        found.add("outer", outer, weight)
        del shown, outer

    direction = under(mean(found.of("direction")), "direction.")
    for ((part, weight), _, _), image in zip(shares, images, strict=True):
        tangent = fused_tangent(fuser, direction, part.sources)
        proposal = ahead or proposer(*part.sources)
        slope_along = derivative_along(proposer, proposal, image, tangent, part.sources)
        objective = -settings.eta_fuser * slope_along + settings.weight_map_kl * leaning(proposal)
        found.add("proposer", gradients_by_name(objective, learned), weight)
    hyper = under(mean(found.of("proposer")), "proposer.")
    return MetaGradient(
        hyper, slope, outer_loss_slope, under(found.of("inner"), "inner."), under(found.of("outer"), "outer.")
    )


def _double_backward(
    fuser: Fuser,
    proposer: LossProposer,
    outer_loss: OuterLoss,
    mtr: Batch,
    mts: Batch,
    mtr_outer_loss: Batch,
    settings: _Settings,
) -> MetaGradient:
    weights = trainable(fuser)
    proposal = proposer(*mtr.sources)
    fused = fuser(*mtr.sources)
    inner = proposer.loss(proposal, fused, mtr.sources)
    slope = gradients_by_name(inner["total"], weights, create_graph=True)
    if mtr_outer_loss is mtr:
        seen = fused.detach()
    else:
        with torch.no_grad():
            seen = fuser(*mtr_outer_loss.sources)
    outer_loss_slope = outer_loss_gradients(outer_loss, through(settings.noise, seen, mtr_outer_loss), mtr_outer_loss)[
        1
    ]
    stepped = {name: p - settings.eta_fuser * slope[name] for name, p in weights.items()}
    outer_loss_stepped = {
        n: p.detach() - settings.eta_outer_loss * outer_loss_slope[n] for n, p in trainable(outer_loss).items()
    }
    shown = through(settings.noise, functional_call(fuser, stepped, mts.sources), mts)
    outer = _outer_loss_at(outer_loss, outer_loss_stepped, shown, mts)
    objective = outer["total"] + settings.weight_map_kl * leaning(proposal)
    hyper = gradients_by_name(objective, trainable(proposer))
    return MetaGradient(hyper, _cut(slope), outer_loss_slope, _cut(inner), _cut(outer))


def image_space_meta_gradient(
    fuser: Fuser,
    proposer: LossProposer,
    outer_loss: OuterLoss,
    batch: Batch,
    *,
    eta: float = 1.0,
    weight_map_kl: float = 0.0,
    noise: Noise | None = None,
    mean: Mean = dict,
) -> MetaGradient:
    r"""The hypergradient through one inner step on the pixels of the fused image instead of on the fuser's weights.

    ``I_f' = I_f - eta dL_f/dI_f``, so the tangent is dL_outer/dI_f itself: no F', no forward-mode pass, a third of
    the cost. It is another gradient than :func:`meta_gradient`: it leaves out the smoothing by the fuser's Jacobian
    and needs no second batch. What it says of each proposed map is taken as :func:`evidence`:

    .. math:: \eta \sum_{maps} \mathrm{mean} \sum_s e_s\, p_s + \lambda\,\mathrm{leaning}(p)

    Args:
        fuser: F.
        proposer: P.
        outer_loss: R, or a downstream network.
        batch: the batch that both losses see.
        eta: step size in image space, a factor of the evidence.
        weight_map_kl: weight of :func:`leaning`, lambda.
        noise: what stands between the fused image and the outer loss, see :func:`meta_gradient`.
        mean: see :func:`meta_gradient`.
    """
    proposal = proposer(*batch.sources)
    with torch.no_grad():
        fused = fuser(*batch.sources)
        inner = proposer.loss(proposal, fused, batch.sources)
    image = fused.detach().requires_grad_()
    outer = outer_loss.loss(through(noise, image, batch), batch)
    (tangent,) = torch.autograd.grad(outer["total"], image)
    found = evidence(proposer, proposal, image.detach(), tangent, batch.sources, mean=mean)
    told = [(found[name] * maps).sum(1).mean() for name, maps in proposal.items()]
    objective = eta * torch.stack(told).sum() + weight_map_kl * leaning(proposal)
    hyper = mean(gradients_by_name(objective, trainable(proposer)))
    return MetaGradient(hyper, {}, {}, _cut(inner), _cut(outer))


def evidence(
    proposer: LossProposer,
    proposal: Proposal,
    fused: Tensor,
    tangent: Tensor,
    sources: Sequence[Tensor],
    *,
    mean: Mean = dict,
) -> dict[str, Tensor]:
    """Change of the outer loss if a map gave a source more weight at a pixel, up to one factor per map.

    The sources share a sum of 1, so only differences between them count, and the mean over the sources is taken off.
    Each map is scaled to a root mean square of 1: its size says how good the outer loss is by now and what unit the
    term of the loss has (gradients weigh ten times as much as intensities), neither of which is the proposer's affair.

    Args:
        proposer: P.
        proposal: what it proposes.
        fused: the fused image, without a graph.
        tangent: dL_outer/dI_f, up to a factor.
        sources: as ``proposal`` was made from.
        mean: see :func:`meta_gradient`.

    Returns:
        A tensor a map, of its shape; negative where the outer loss would fall.
    """
    leaves = {name: maps.detach().requires_grad_() for name, maps in proposal.items()}
    slopes = gradients_by_name(-derivative_along(proposer, leaves, fused, tangent, sources), leaves)
    centred = {name: slope - slope.mean(1, keepdim=True) for name, slope in slopes.items()}
    power = mean({name: slope.square().mean() for name, slope in centred.items()})
    return {name: s / power[name].sqrt().clamp_min(torch.finfo(s.dtype).tiny) for name, s in centred.items()}


def fused_tangent(fuser: Fuser, direction: Mapping[str, Tensor], sources: Sequence[Tensor]) -> Tensor:
    """Motion of the fused image when the fuser's parameters move along ``direction``: one forward-mode pass."""
    weights = {name: p.detach() for name, p in trainable(fuser).items()}
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
    r"""Distance of the proposed maps from equal weights: the mean divergence of the maps from equal shares.

    .. math:: \sum_{maps} \mathrm{mean}\,\mathrm{KL}(1/S, p)
              = -\sum_{maps}\mathrm{mean}\,\frac{1}{S}\sum_s \log(S p_s)

    As a small part of the outer loss it lets every pixel follow its own evidence and stops the whole map from
    running to one source, which an outer loss that has given up on the other one would never correct. Its slope in the
    logits is p - 1/S: unlike that of (p - 1/S)^2, it does not vanish where a softmax has saturated.
    """
    divergences = [
        -(maps.clamp_min(torch.finfo(maps.dtype).tiny) * maps.shape[1]).log().mean() for maps in proposal.values()
    ]
    return torch.stack(divergences).sum()


def outer_loss_gradients(outer_loss: OuterLoss, fused: Tensor, batch: Batch) -> tuple[Terms, Parameters]:
    """The outer loss on a fused image without a graph, and its gradient by parameter name."""
    terms = outer_loss.loss(fused, batch)
    return _cut(terms), gradients_by_name(terms["total"], trainable(outer_loss))


def supports_forward_mode(fuser: Fuser, sources: Sequence[Tensor]) -> bool:
    """Return whether every operation of ``fuser`` has a forward-mode derivative, by a try on small ``sources``."""
    try:
        fused_tangent(fuser, {n: torch.ones_like(p) for n, p in trainable(fuser).items()}, sources)
    except (NotImplementedError, RuntimeError):
        return False
    return True


class _Loss(nn.Module):
    """``outer_loss.loss`` as a forward, so that ``functional_call`` can run it with other weights."""

    def __init__(self, outer_loss: OuterLoss) -> None:
        super().__init__()
        self.outer_loss = outer_loss

    def forward(self, fused: Tensor, batch: Batch) -> Terms:
        return self.outer_loss.loss(fused, batch)


def _outer_loss_at(outer_loss: OuterLoss, weights: Parameters, fused: Tensor, batch: Batch) -> Terms:
    named = {f"outer_loss.{name}": p for name, p in weights.items()}
    return functional_call(_Loss(outer_loss), named, (fused, batch))


def gradients_by_name(total: Tensor, weights: Mapping[str, Tensor], *, create_graph: bool = False) -> Parameters:
    """The gradient of ``total`` in every one of ``weights``, zero where it does not depend on one."""
    if not weights:
        return {}
    found = torch.autograd.grad(total, list(weights.values()), create_graph=create_graph, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for (name, p), g in zip(weights.items(), found, strict=True)}


def _detached(proposal: Proposal) -> Proposal:
    return {name: value.detach() for name, value in proposal.items()}


def _cut(terms: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in terms.items()}
