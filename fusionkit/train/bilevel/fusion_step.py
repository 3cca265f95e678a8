"""What a fusion step learns from: the fusion loss's gradient for the fuser, the outer loss's for the outer loss."""

from __future__ import annotations

import torch
from torch import Tensor

from fusionkit.contracts import Batch, Fuser, LossProposer, OuterLoss
from fusionkit.train.bilevel.hypergradient import gradients_by_name, outer_loss_gradients
from fusionkit.train.bilevel.microbatch import Mean, WeightedSum, split_batch, split_noise, under
from fusionkit.train.bilevel.noise import Noise, through

__all__ = ["fusion_gradients"]


def fusion_gradients(
    fuser: Fuser,
    proposer: LossProposer,
    outer_loss: OuterLoss | None,
    batch: Batch,
    *,
    shown: Batch | None = None,
    heard: bool = False,
    noise: Noise | None = None,
    micro_batch: int = 0,
    mean: Mean = dict,
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of L_f with the proposer fixed, and of the outer loss with the fused image fixed.

    Args:
        fuser: F.
        proposer: P.
        outer_loss: R, or a downstream network; None leaves it as it is.
        batch: what the fusion loss sees.
        shown: the same pairs as the outer loss sees them; None shows it ``batch`` itself.
        heard: whether the outer loss moves the fuser, too.
        noise: see :func:`fusionkit.train.bilevel.meta_gradient`.
        micro_batch: see :func:`fusionkit.train.bilevel.meta_gradient`.
        mean: see :func:`fusionkit.train.bilevel.meta_gradient`.

    Returns:
        Gradients of the fuser and of the outer loss by parameter name, and the parts of L_f with ``outer``, the outer
        loss.

    Reference:
        Bai et al., ReFusion, IJCV 2025, eq. (11), (12).
    """
    shown = batch if shown is None else shown
    weights = dict(fuser.named_parameters())
    found = WeightedSum()
    shares = zip(
        split_batch(batch, micro_batch),
        split_batch(shown, micro_batch),
        split_noise(noise, shown, micro_batch),
        strict=True,
    )
    for (part, weight), (judged_part, _), drawn in shares:
        with torch.no_grad():
            proposal = proposer(*part.sources)
        fused = fuser(*part.sources)
        loss = proposer.loss(proposal, fused, part.sources)
        terms = dict(loss)
        if heard and outer_loss is not None:
            image = fused if shown is batch else fuser(*judged_part.sources)
            judged = outer_loss.loss(through(drawn, image, judged_part), judged_part)
            both = {f"fuser.{name}": p for name, p in weights.items()}
            both |= {f"outer_loss.{name}": p for name, p in outer_loss.named_parameters()}
            slopes = gradients_by_name(loss["total"] + judged["total"], both)
            terms["outer"] = judged["total"]
        else:
            slopes = {f"fuser.{n}": g for n, g in gradients_by_name(loss["total"], weights).items()}
        if outer_loss is not None and not heard:
            seen = fused.detach() if shown is batch else _fused(fuser, judged_part)
            judged, outer_loss_slopes = outer_loss_gradients(outer_loss, through(drawn, seen, judged_part), judged_part)
            slopes |= {f"outer_loss.{name}": slope for name, slope in outer_loss_slopes.items()}
            terms["outer"] = judged["total"]
        found.add("slope", slopes, weight)
        found.add("term", terms, weight)
        del fused, loss, terms
    slopes = under(mean(found.of("slope")), "slope.")
    return under(slopes, "fuser."), under(slopes, "outer_loss."), under(found.of("term"), "term.")


def _fused(fuser: Fuser, batch: Batch) -> Tensor:
    with torch.no_grad():
        return fuser(*batch.sources)
