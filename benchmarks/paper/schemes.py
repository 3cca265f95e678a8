"""The papers' ablations of the training scheme: ReFusion's and TDFusion's trainers with other updates.

They are registered as methods of their own when this module is imported, and trained by it as by ``fusionkit train``::

    python -m benchmarks.paper.schemes refusion-joint --task ivif --set proposal=equal
"""

from __future__ import annotations

import torch

from fusionkit.cli import main
from fusionkit.contracts import Batch, Terms
from fusionkit.errors import UsageError
from fusionkit.plugins import catalogue
from fusionkit.train.bilevel import BilevelOptions
from fusionkit.train.bilevel.cuda_graphs import Rates
from fusionkit.train.bilevel.fusion_step import FusionGradients
from fusionkit.train.bilevel.hypergradient import gradients_by_name
from fusionkit.train.bilevel.meta_steps import MetaBatches, MetaStep, Networks, StepContext
from fusionkit.train.bilevel.microbatch import under
from fusionkit.train.bilevel.noise import Noise, through
from fusionkit.train.bilevel.trainer import BilevelTrainer
from fusionkit_refusion.trainer import ReFusionTrainer
from fusionkit_tdfusion.trainer import TDFusionTrainer

__all__ = ["Guided", "InnerUpdates", "Joint", "joint_gradients"]


def joint_gradients(networks: Networks, batch: Batch, seen: Batch | None, noise: Noise | None) -> FusionGradients:
    """Gradients of L_f plus the outer loss, with the proposer fixed, for the fuser and the outer loss.

    Args:
        networks: F, P and R (or a downstream network).
        batch: what the fusion loss sees.
        seen: the same pairs as the outer loss sees them, ``batch`` itself if the same.
        noise: on the fused image as the outer loss sees it.
    """
    assert seen is not None
    fuser, proposer, outer_loss = networks.fuser, networks.proposer, networks.outer_loss
    weights = {f"fuser.{name}": p for name, p in fuser.named_parameters()}
    weights |= {f"outer_loss.{name}": p for name, p in outer_loss.named_parameters()}
    with torch.no_grad():
        proposal = proposer(*batch.sources)
    fused = fuser(*batch.sources)
    loss = proposer.loss(proposal, fused, batch.sources)
    image = fused if seen is batch else fuser(*seen.sources)
    outer = outer_loss.loss(through(noise, image, seen), seen)
    slopes = gradients_by_name(loss["total"] + outer["total"], weights)
    return FusionGradients(under(slopes, "fuser."), under(slopes, "outer_loss."), {**loss, "outer": outer["total"]})


class _FuserLearnsFromOuterLoss(BilevelTrainer):
    fusion_rule = staticmethod(joint_gradients)

    def schedule_options(self) -> BilevelOptions:
        options = super().schedule_options()
        if options.freeze_fraction:
            raise UsageError("F learns from the outer loss to the end: set trainer.freeze_fraction=0")
        return options


class Guided(_FuserLearnsFromOuterLoss):
    """The meta steps of Algorithm 1, and fusion steps in which the outer loss moves F, too."""

    def schedule_options(self) -> BilevelOptions:
        """The method's, with a hypergradient in which F takes part."""
        options = super().schedule_options()
        if options.hypergradient == "closed_form":
            raise UsageError("F takes part in this scheme's meta steps: set trainer.hypergradient=one_step")
        return options


class Joint(_FuserLearnsFromOuterLoss):
    """No meta steps: the fusion loss and the outer loss train everything together."""

    def steps_per_epoch(self) -> dict[str, int]:
        """Fusion steps alone."""
        return super().steps_per_epoch() | {"meta_steps": 0}


class InnerUpdates(BilevelTrainer):
    """No fusion steps: the inner updates of the meta steps change F and the outer loss."""

    def schedule_options(self) -> BilevelOptions:
        """The method's, which must have the inner steps of F and R and nothing beside them."""
        o = super().schedule_options()
        if o.hypergradient != "one_step" or o.warmup or o.freeze_fraction or o.image_space.epochs or not o.meta_steps:
            raise UsageError(
                "this scheme trains by the inner steps of F and R: set trainer.hypergradient=one_step, "
                "trainer.meta_steps above 0, and trainer.warmup, trainer.freeze_fraction and "
                "trainer.image_space.epochs to 0"
            )
        return o

    def steps_per_epoch(self) -> dict[str, int]:
        """Meta steps alone, whether or not P learns."""
        return {"meta_steps": self.options.meta_steps, "fusion_steps": 0}

    def meta_step(self, way: MetaStep, batches: MetaBatches, rates: Rates, context: StepContext) -> Terms:
        """Update P by the hypergradient, F and the outer loss by their inner gradients."""
        found = way.gradient(self.parts, batches, context)
        self.updates.proposer(found.proposer, rates[1])
        self.updates.fuser(found.fuser, rates[0])
        self.updates.outer_loss(found.outer_loss, rates[1])
        return {"total": found.outer["total"], "outer": found.outer["total"], "inner": found.inner["total"]}


class JointReFusion(Joint, ReFusionTrainer):
    """ReFusion without meta-learning (Table 5, II)."""


class InnerReFusion(InnerUpdates, ReFusionTrainer):
    """ReFusion without the fusion and reconstruction update (Table 5, III)."""


class GuidedTDFusion(Guided, TDFusionTrainer):
    """TDFusion whose F learns from L_t, too (Table 3, III)."""


class InnerTDFusion(InnerUpdates, TDFusionTrainer):
    """TDFusion without fusion steps (Table 3, IV)."""


for _name, _kind in {
    "refusion-joint": JointReFusion,
    "refusion-inner": InnerReFusion,
    "tdfusion-guided": GuidedTDFusion,
    "tdfusion-inner": InnerTDFusion,
}.items():
    catalogue.trainers.register(_name, _kind)

if __name__ == "__main__":
    import sys

    main(["train", *sys.argv[1:]])
