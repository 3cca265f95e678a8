"""ReFusion's trainer: its networks, put into the toolkit's three-stage training, and its presets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from fusionkit.contracts import LossProposer
from fusionkit.data.pair_store import PairStore
from fusionkit.train.bilevel import BilevelOptions, BilevelTrainer, Networks
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import EqualProposer, ProposerOptions, ReFusionProposer
from fusionkit_refusion.reconstructor import ReconstructorOptions, ReFusionReconstructor
from fusionkit_restormer.fuser import FuserOptions

_CLOSED_FORM = {
    "crop": 64,
    "lr": 1e-3,
    "lr_proposer": 3e-3,
    "lr_outer_loss": 3e-3,
    "hypergradient": "closed_form",
    "fuser_optimizer": "muon",
    "outer_loss_noise": {"pixel": 1.0, "patch": 1.0, "patch_size": 16, "unit": "contrast"},
    "ema_decay": 0.98,
    "lr_schedule": "cosine",
}
_SMALL = {
    "proposer": {"dim": 8, "blocks": 1, "logit_cap": 4.0, "inputs": "image+gradient+share"},
    "reconstructor": {"dim": 8, "blocks": 2},
}
_BRIGHT = _SMALL | {
    "fuser": {"inputs": "image+gradient+share"},
    "reconstructor": {
        "dim": 8,
        "blocks": 2,
        "alpha": 0.5,
        "combine": "sum",
        "brightness": "absolute",
        "brightness_power": 2.0,
    },
}


@dataclass(frozen=True)
class ReFusionOptions:
    """Every choice of a ReFusion training.

    Attributes:
        trainer: schedule and updates.
        fuser: F.
        proposer: P and the fusion loss.
        reconstructor: R and the reconstruction loss.
        proposal: ``"learned"``, or ``"equal"``: w and v fixed to 1/2 (ablation I of Table 5).
    """

    trainer: BilevelOptions = field(default_factory=BilevelOptions)
    fuser: FuserOptions = field(default_factory=FuserOptions)
    proposer: ProposerOptions = field(default_factory=ProposerOptions)
    reconstructor: ReconstructorOptions = field(default_factory=ReconstructorOptions)
    proposal: Literal["learned", "equal"] = "learned"


class ReFusionTrainer(BilevelTrainer):
    """Trains F, R and P of ReFusion on pairs of luminance images.

    Reference:
        Bai et al., ReFusion, IJCV 2025, Algorithm 1 and section 4.1.
    """

    Config = ReFusionOptions
    fuser_name = "refusion"
    presets = {
        "optimum": {
            "trainer": _CLOSED_FORM | {"epochs": 50, "freeze_fraction": 0.6, "meta_steps": 50, "fusion_steps": 80},
            **_SMALL,
        },
        "quick": {
            "trainer": _CLOSED_FORM | {"epochs": 20, "freeze_fraction": 0.5, "meta_steps": 30, "fusion_steps": 25},
            **_SMALL,
        },
        "bright": {
            "trainer": _CLOSED_FORM
            | {"outer_loss_noise": {"pixel": 2.0, "patch": 2.0, "patch_size": 16, "unit": "contrast"}}
            | {"epochs": 11, "freeze_fraction": 0.9091, "meta_steps": 300, "fusion_steps": 240},
            **_BRIGHT,
        },
        "paper": {},
    }
    preset_notes = {
        "optimum": "Default. Trains P on the closed-form minimiser, R on noisy fused images, F with Muon. About 20 CPU "
        "minutes; above average and maximum in SCD and Qabf over the medical test pairs together",
        "quick": "The same recipe with 800 steps, for a first look: minutes on a laptop",
        "bright": "Weights reconstruction errors by the square of the brightness, doubles the noise on R's input, and "
        "shows F the gradients and shares that P sees; P learns first, then F; 2,940 steps",
        "paper": "the paper's schedule and updates: 50 epochs of 600 meta and 1600 fusion steps, exact hypergradient",
    }

    def build_networks(self, config: ReFusionOptions, source: PairStore) -> Networks:
        """F, R and P."""
        return Networks(
            fuser=ReFusionFuser(config.fuser),
            outer_loss=self.given_outer_loss or ReFusionReconstructor(config.reconstructor),
            proposer=self.build_proposer(config),
        )

    @classmethod
    def build_proposer(cls, config: ReFusionOptions) -> LossProposer:
        """P, or its control."""
        return EqualProposer(config.proposer) if config.proposal == "equal" else ReFusionProposer(config.proposer)
