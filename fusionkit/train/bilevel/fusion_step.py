"""The gradients of a fusion step: of the fusion loss for the fuser, of the outer loss for its own parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fusionkit.contracts import Batch, Fuser
from fusionkit.train.bilevel.hypergradient import gradients_by_name, outer_loss_gradients
from fusionkit.train.bilevel.meta_steps import Networks, StepContext
from fusionkit.train.bilevel.microbatch import WeightedSum, split_batch, split_noise, under
from fusionkit.train.bilevel.noise import through

__all__ = ["FusionGradients", "fusion_gradients"]


@dataclass(frozen=True)
class FusionGradients:
    """Gradients and losses of a fusion step.

    Attributes:
        fuser: gradient of L_f by parameter name of the fuser.
        outer_loss: gradient of the outer loss by parameter name; empty where it is frozen.
        terms: the parts of L_f and, unless it is frozen, ``outer``, the outer loss.
    """

    fuser: dict[str, Tensor]
    outer_loss: dict[str, Tensor]
    terms: dict[str, Tensor]


def fusion_gradients(networks: Networks, batch: Batch, seen: Batch | None, context: StepContext) -> FusionGradients:
    """Gradients of L_f with the proposer fixed, and of the outer loss with the fused image fixed.

    Args:
        networks: F, P and R (or a downstream network).
        batch: what the fusion loss sees.
        seen: the same pairs as the outer loss sees them, ``batch`` itself if the same; None where it is frozen.
        context: noise, micro-batch and processes.

    Reference:
        Bai et al., ReFusion, IJCV 2025, eq. (11), (12).
    """
    fuser, proposer = networks.fuser, networks.proposer
    weights = dict(fuser.named_parameters())
    found = WeightedSum()
    judged = batch if seen is None else seen
    shares = zip(
        split_batch(batch, context.micro_batch),
        split_batch(judged, context.micro_batch),
        split_noise(context.noise, judged, context.micro_batch),
        strict=True,
    )
    for (part, weight), (seen_part, _), noise in shares:
        with torch.no_grad():
            proposal = proposer(*part.sources)
        fused = fuser(*part.sources)
        loss = proposer.loss(proposal, fused, part.sources)
        found.add("fuser", gradients_by_name(loss["total"], weights), weight)
        found.add("term", loss, weight)
        if seen is not None:
            image = fused.detach() if seen is batch else _fused(fuser, seen_part)
            outer, slopes = outer_loss_gradients(networks.outer_loss, through(noise, image, seen_part), seen_part)
            found.add("outer_loss", slopes, weight)
            found.add("term", {"outer": outer["total"]}, weight)
        del fused, loss
    slopes = context.mean(found.of("fuser", "outer_loss"))
    return FusionGradients(under(slopes, "fuser."), under(slopes, "outer_loss."), under(found.of("term"), "term."))


def _fused(fuser: Fuser, batch: Batch) -> Tensor:
    with torch.no_grad():
        return fuser(*batch.sources)
