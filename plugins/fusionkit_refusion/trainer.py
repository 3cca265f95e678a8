"""ReFusion's trainer: its networks, put into the toolkit's three-stage training, and its presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from fusionkit.contracts import LossProposer, TrainingSource
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import UsageError
from fusionkit.train.bilevel import BilevelOptions, BilevelTrainer
from fusionkit_refusion.fuser import FuserOptions, ReFusionFuser
from fusionkit_refusion.proposer import EqualOptions, EqualProposer, ProposerOptions, ReFusionProposer
from fusionkit_refusion.reconstructor import ReconstructorOptions, ReFusionReconstructor

_P = "proposer."
"""What the names of P's weights begin with in a checkpoint."""


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
        "paper": {},
    }
    preset_notes = {
        "optimum": "P learns at the minimum of L_f, R through noise, F by Muon; in 20 minutes of a CPU past the "
        "average and the maximum in SCD and Qabf, over the medical test pairs together",
        "quick": "the same recipe for a first look, 800 steps; minutes on a laptop",
        "paper": "the paper's schedule and updates: 50 epochs of 600 meta and 1600 fusion steps, exact hypergradient",
    }

    def __init__(
        self,
        config: ReFusionOptions,
        source: TrainingSource,
        *,
        device: torch.device,
        precision: str = "fp32",
        seed: int = 0,
    ) -> None:
        if not isinstance(source, PairStore):
            raise UsageError(f"refusion trains on pairs of images, not on {type(source).__name__}")
        if len(source.task.sources) != 2:
            raise UsageError(f"refusion fuses two sources; task {source.task.name} has {len(source.task.sources)}")
        # One seeded stream initialises the three networks, in this order, whatever the device.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            fuser = ReFusionFuser(config.fuser)
            outer_loss = ReFusionReconstructor(config.reconstructor)
            proposer = _proposer(config)
        super().__init__(
            config,
            config.trainer,
            source,
            fuser=fuser,
            proposer=proposer,
            outer_loss=outer_loss,
            device=device,
            precision=precision,
            seed=seed,
        )

    @classmethod
    def proposer_of(cls, config: ReFusionOptions, state: Mapping[str, Tensor]) -> LossProposer | None:
        """P as a checkpoint holds it; None for fixed weights."""
        if config.proposal != "learned":
            return None
        proposer = _proposer(config)
        proposer.load_state_dict({name.removeprefix(_P): value for name, value in state.items() if name.startswith(_P)})
        return proposer


def _proposer(config: ReFusionOptions) -> LossProposer:
    if config.proposal == "learned":
        return ReFusionProposer(config.proposer)
    return EqualProposer(EqualOptions(alpha=config.proposer.alpha, gradient=config.proposer.gradient))
