"""The gradients of a fusion step: of the fusion loss for the fuser, of the outer loss for its own parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fusionkit.contracts import Batch
from fusionkit.runtime.parameters import trainable
from fusionkit.train.bilevel.hypergradient import gradients_by_name, outer_loss_gradients
from fusionkit.train.bilevel.meta_steps import Networks, StepContext
from fusionkit.train.bilevel.microbatch import WeightedSum, split_batch, split_noise, under
from fusionkit.train.bilevel.noise import Noise, through

__all__ = ["FusionGradients", "FusionRule", "fusion_gradients", "separate_gradients"]


@dataclass(frozen=True)
class FusionGradients:
    """Gradients and losses of a fusion step.

    Attributes:
        fuser: gradient by parameter name of the fuser.
        outer_loss: gradient of the outer loss by parameter name; empty where it is frozen.
        terms: the parts of L_f and, unless it is frozen, ``outer``, the outer loss.
    """

    fuser: dict[str, Tensor]
    outer_loss: dict[str, Tensor]
    terms: dict[str, Tensor]


FusionRule = Callable[[Networks, Batch, Batch | None, Noise | None], FusionGradients]
"""Gradients of a micro-batch: as the fusion loss sees it, as the outer loss sees it (None where that is frozen)."""


def separate_gradients(networks: Networks, batch: Batch, seen: Batch | None, noise: Noise | None) -> FusionGradients:
    """Gradients of L_f with the proposer fixed, and of the outer loss with the fused image fixed.

    Args:
        networks: F, P and R (or a downstream network).
        batch: what the fusion loss sees.
        seen: the same pairs as the outer loss sees them, ``batch`` itself if the same; None where it is frozen.
        noise: on the fused image as the outer loss sees it.

    Reference:
        Bai et al., ReFusion, IJCV 2025, eq. (11), (12).
    """
    fuser, proposer = networks.fuser, networks.proposer
    with torch.no_grad():
        proposal = proposer(*batch.sources)
    fused = fuser(*batch.sources)
    loss = dict(proposer.loss(proposal, fused, batch.sources))
    slopes = gradients_by_name(loss["total"], trainable(fuser))
    if seen is None:
        return FusionGradients(slopes, {}, loss)
    with torch.no_grad():
        image = fused.detach() if seen is batch else fuser(*seen.sources)
    outer, outer_slopes = outer_loss_gradients(networks.outer_loss, through(noise, image, seen), seen)
    return FusionGradients(slopes, outer_slopes, {**loss, "outer": outer["total"]})


def fusion_gradients(
    networks: Networks,
    batch: Batch,
    seen: Batch | None,
    context: StepContext,
    rule: FusionRule = separate_gradients,
) -> FusionGradients:
    """Sum the gradients of a fusion step over micro-batches, and average them over the processes.

    Args:
        networks: F, P and R (or a downstream network).
        batch: what the fusion loss sees.
        seen: the same pairs as the outer loss sees them, ``batch`` itself if the same; None where it is frozen.
        context: noise, micro-batch and processes.
        rule: gradients of one micro-batch.
    """
    found = WeightedSum()
    parts = split_batch(batch, context.micro_batch)
    judged = parts if seen is None or seen is batch else split_batch(seen, context.micro_batch)
    noises = split_noise(context.noise, batch if seen is None else seen, context.micro_batch)
    for (part, weight), (seen_part, _), noise in zip(parts, judged, noises, strict=True):
        gradients = rule(networks, part, None if seen is None else seen_part, noise)
        for group, tensors in vars(gradients).items():
            found.add(group, tensors, weight)
    slopes = context.mean(found.of("fuser", "outer_loss"))
    return FusionGradients(under(slopes, "fuser."), under(slopes, "outer_loss."), under(found.of("terms"), "terms."))
