"""TDFusion's trainer: three-stage training with a downstream network as its outer loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Batch, Companion, LabelKind, LossProposer
from fusionkit.data.epoch_plan import FLIP_ROWS
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.data.pair_store import PairStore
from fusionkit.train.bilevel import BilevelOptions, BilevelTrainer, Networks
from fusionkit.train.bilevel.downstream_loss import build_outer_loss, needed_labels, outer_loss_companion
from fusionkit_restormer.fuser import FuserOptions
from fusionkit_tdfusion.fuser import TDFusionFuser
from fusionkit_tdfusion.proposer import EvenProposer, TDFusionProposer, TDFusionProposerOptions

__all__ = ["TDFusionOptions", "TDFusionTrainer"]

_PUBLISHED = {"meta_steps": 200, "fusion_steps": 0, "crop": 256, "lr": 1e-4, "flip": False}
_Side = Annotated[int, Field(ge=1, le=16_384)]


@dataclass(frozen=True)
class TDFusionOptions:
    """Every choice of a TDFusion training.

    Attributes:
        trainer: schedule and updates; ``fusion_steps`` 0 is the number of training pairs.
        fuser: F.
        proposer: G and the fusion loss.
        downstream: registered outer loss, T.
        network: T's options, by name.
        size: height and width that whole pairs are resized to for T; None takes the pairs' own, at most ``longest``.
        longest: longer side of the resized pairs where no size is given.
        proposal: ``"learned"``, or ``"equal"``: w fixed to 1/2 (ablation I of Table 3).
    """

    trainer: BilevelOptions = field(default_factory=BilevelOptions)
    fuser: FuserOptions = field(default_factory=FuserOptions)
    proposer: TDFusionProposerOptions = field(default_factory=TDFusionProposerOptions)
    downstream: str = "segmentation"
    network: Mapping[str, Any] = field(default_factory=dict)
    size: tuple[_Side, _Side] | None = None
    longest: _Side = 320
    proposal: Literal["learned", "equal"] = "learned"

    RENAMED: ClassVar[Mapping[str, str]] = {"critic": "network"}


class TDFusionTrainer(BilevelTrainer):
    """Trains F, G and T of TDFusion on labelled pairs of luminance images.

    The fusion loss sees crops, T whole resized pairs with their labels. T sees them mirrored at most, never upside
    down.

    Args:
        source: the training pairs, with the labels that T learns from.
        outer_loss: T itself, in place of the registered one that ``config`` names.

    Reference:
        Bai et al., Task-driven Image Fusion with Learnable Fusion Loss, CVPR 2025, Algorithm 1 and section 4.1.
    """

    Config = TDFusionOptions
    config: TDFusionOptions
    fuser_name = "tdfusion"
    downstream = True
    presets = {
        "quick": {
            "trainer": {
                "epochs": 40,
                "warmup": 8,
                "meta_steps": 12,
                "fusion_steps": 12,
                "batch": 2,
                "crop": 64,
                "lr": 1e-3,
                "lr_proposer": 2e-3,
                "lr_outer_loss": 1e-3,
                "hypergradient": "image_space",
                "outer_loss_noise": {"pixel": 0.05, "patch": 0.05},
                "weight_map_kl": 0.1,
                "ema_decay": 0.98,
                "lr_schedule": "cosine",
            },
            "proposer": {"dim": 8, "blocks": 1, "logit_cap": 4.0},
            "longest": 160,
        },
        "paper": {"trainer": _PUBLISHED | {"epochs": 50, "batch": 2}},
        "public": {
            "trainer": _PUBLISHED
            | {"epochs": 40, "batch": 1, "both_orders": True}
            | {"proposer_optimizer": "normalized", "lr_schedule": "step", "lr_step_epochs": 10},
            "proposer": {"weighting": "inside"},
        },
    }
    preset_notes = {
        "quick": "T sees small, noisy images and the inner step is on the image; a quarter of an hour on a laptop",
        "paper": "the paper's schedule and updates: 50 epochs of 200 meta steps and one fusion step a pair",
        "public": "the authors' code: both source orders, normalised outer update, step decay, w inside the square",
    }

    def build_networks(self, config: TDFusionOptions, source: PairStore) -> Networks:
        """F, T and G."""
        self.labelled = source if isinstance(source, LabelledStore) else None
        self.size = None if self.labelled is None else self.labelled.fitting_size(config.size, config.longest)
        return Networks(
            fuser=TDFusionFuser(config.fuser),
            outer_loss=self.given_outer_loss or build_outer_loss(config.downstream, config.network, self.labelled),
            proposer=self.build_proposer(config),
        )

    @classmethod
    def build_proposer(cls, config: TDFusionOptions) -> LossProposer:
        """G, or its control."""
        return EvenProposer(config.proposer) if config.proposal == "equal" else TDFusionProposer(config.proposer)

    def schedule_options(self) -> BilevelOptions:
        """The options, with one fusion step per training pair where they name no number."""
        o: BilevelOptions = self.config.trainer
        return o if o.fusion_steps else replace(o, fusion_steps=len(self.source))

    @classmethod
    def label_kind(cls, config: TDFusionOptions) -> LabelKind | None:
        """The labels that T learns from; None for an outer loss that needs none."""
        return needed_labels(config.downstream)

    def outer_loss_view(self, rows: Tensor, fusion: Batch) -> Batch:
        """Whole resized pairs with their labels; the crops where the pairs have none."""
        if self.labelled is None or self.size is None:
            return fusion
        upright = rows.clone()
        upright[:, FLIP_ROWS] = 0
        return self.labelled.resized(upright, self.size)

    def capture(self, recorder: object) -> None:
        """Nothing is recorded: an image has any number of boxes, so a step has no fixed work."""

    def companions(self) -> Mapping[str, Companion]:
        """T, with the names of its classes and the size that it saw."""
        return {"downstream": outer_loss_companion(self.config.downstream, self.parts.outer_loss, self.size)}
