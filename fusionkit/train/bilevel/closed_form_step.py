"""The meta-gradient at the minimiser of the fusion loss: the inner problem is solved exactly, not by one step."""

from __future__ import annotations

import torch

from fusionkit.contracts import Batch, LossProposer, OuterLoss
from fusionkit.runtime.parameters import trainable
from fusionkit.train.bilevel.hypergradient import MetaGradient, gradients_by_name, leaning
from fusionkit.train.bilevel.microbatch import Mean, WeightedSum, split_batch, split_noise, under
from fusionkit.train.bilevel.noise import Noise, through

__all__ = ["closed_form_meta_gradient"]


def closed_form_meta_gradient(
    proposer: LossProposer,
    outer_loss: OuterLoss,
    batch: Batch,
    *,
    weight_map_kl: float = 0.0,
    noise: Noise | None = None,
    micro_batch: int = 0,
    mean: Mean = dict,
) -> MetaGradient:
    r"""The gradient of the outer loss for the proposer, through the image that minimises the fusion loss.

    Where :func:`fusionkit.train.bilevel.meta_gradient` takes one step of F down L_f, here L_f is minimised over all
    images, in closed form:

    .. math:: I^*(\theta_P) = \arg\min_I L_f(I; P(I_a, I_b)), \qquad
              \min_{\theta_P, \theta_R} L_{outer}(I^*(\theta_P); \theta_R) + \lambda\,\mathrm{leaning}

    An ordinary backward pass through the solution gives the gradients of both, at full strength and with all that a
    change of a weight does to the image, near and far. F's current output is not needed, because the gradient is taken
    at the minimiser of its loss.

    Args:
        proposer: P, with a :meth:`~fusionkit.contracts.LossProposer.minimiser`.
        outer_loss: R, or a downstream network.
        batch: the batch that both losses see.
        weight_map_kl: weight of :func:`fusionkit.train.bilevel.hypergradient.leaning`, lambda.
        noise: what stands between the image and the outer loss, see :func:`fusionkit.train.bilevel.meta_gradient`.
        micro_batch: see :func:`fusionkit.train.bilevel.meta_gradient`.
        mean: see :func:`fusionkit.train.bilevel.meta_gradient`.

    Returns:
        Gradients of the proposer and of the outer loss; none of a fuser.

    Raises:
        ValueError: the proposer's loss has no minimiser in closed form.
    """
    learned = {f"proposer.{name}": p for name, p in trainable(proposer).items()}
    learned |= {f"outer_loss.{name}": p for name, p in trainable(outer_loss).items()}
    found = WeightedSum()
    for (part, weight), drawn in zip(
        split_batch(batch, micro_batch), split_noise(noise, batch, micro_batch), strict=True
    ):
        proposal = proposer(*part.sources)
        image = proposer.minimiser(proposal, part.sources)
        if image is None:
            raise ValueError(f"{type(proposer).__name__}'s loss has no minimiser in closed form")
        outer = outer_loss.loss(through(drawn, image, part), part)
        found.add("slope", gradients_by_name(outer["total"] + weight_map_kl * leaning(proposal), learned), weight)
        found.add("outer", outer, weight)
        with torch.no_grad():
            found.add("inner", proposer.loss(proposal, image, part.sources), weight)
    slopes = under(mean(found.of("slope")), "slope.")
    return MetaGradient(
        under(slopes, "proposer."),
        {},
        under(slopes, "outer_loss."),
        under(found.of("inner"), "inner."),
        under(found.of("outer"), "outer."),
    )
