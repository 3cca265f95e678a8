"""F of ReFusion, trained with a loss that is written down instead of learned: the control of the learned loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from kornia.metrics import ssim
from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Batch, Fuser, Terms
from fusionkit.train.single_level import SingleLevelOptions, SingleLevelTrainer
from fusionkit_restormer.fuser import FuserOptions, RestormerFuser
from fusionkit_restormer.losses import image_gradient

__all__ = ["FixedLossFuser", "FixedLossOptions", "FixedLossTrainer", "MaximumLoss", "maximum_loss"]

Weight = Annotated[float, Field(ge=0, le=1e6)]


class FixedLossFuser(RestormerFuser):
    """The network of ReFusion under a fixed loss, so that the two differ in the loss alone.

    Reference:
        Network: Bai et al., ReFusion, IJCV 2025, section 3.4. Loss: see :func:`maximum_loss`.
    """

    reference = "F of ReFusion with the loss of Tang et al., SeAFusion, Information Fusion 2022"
    tasks: ClassVar[tuple[str, ...] | None] = None


@dataclass(frozen=True)
class MaximumLoss:
    """Weights of the terms of :func:`maximum_loss`.

    Attributes:
        intensity: of the difference from the brighter source.
        gradient: of the difference from the steeper source.
        ssim: of the structural dissimilarity from all sources.
    """

    intensity: Weight = 1.0
    gradient: Weight = 10.0
    ssim: Weight = 0.0


def maximum_loss(fused: Tensor, sources: Sequence[Tensor], weights: MaximumLoss) -> dict[str, Tensor]:
    r"""The loss of SeAFusion and SwinFusion: the brighter intensity and the steeper gradient of the sources.

    .. math:: L = \lambda_i\,\mathrm{mean}|I_f - \max_k I_k|
              + \lambda_g\,\mathrm{mean}\big||\nabla I_f| - \max_k|\nabla I_k|\big|
              + \lambda_s \big(1 - \mathrm{mean}_k\,\mathrm{SSIM}(I_f, I_k)\big)

    The gradient is the sum of the absolute Sobel responses in x and y.

    Args:
        fused: ``(B, 1, H, W)`` in [0, 1].
        sources: one tensor of the same shape per source.
        weights: of the three terms; SSIM is computed only where its weight is above 0, with a window of 11.

    Returns:
        ``total``, ``intensity``, ``gradient``, and ``ssim`` where it counts: scalars.

    Reference:
        Tang, Yuan, Ma, SeAFusion, Information Fusion 82, 2022, eq. (2)-(4): 1 and 10, no SSIM. Ma et al., SwinFusion,
        IEEE/CAA J. Autom. Sinica 9(7), 2022, eq. (12)-(16): 20, 20 and 10.
    """
    brightest = torch.stack(tuple(sources)).amax(0)
    steepest = torch.stack([image_gradient(source, "magnitude") for source in sources]).amax(0)
    terms = {
        "intensity": (fused - brightest).abs().mean(),
        "gradient": (image_gradient(fused, "magnitude") - steepest).abs().mean(),
    }
    if weights.ssim:
        alike = torch.stack([ssim(fused, source, 11).mean() for source in sources]).mean()
        terms["ssim"] = 1 - alike
    total = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
    return {"total": total, **terms}


@dataclass(frozen=True)
class FixedLossOptions:
    """Every choice of a training with :func:`maximum_loss`.

    Attributes:
        trainer: schedule and updates.
        fuser: F.
        loss: weights of the terms.
    """

    trainer: SingleLevelOptions = field(default_factory=SingleLevelOptions)
    fuser: FuserOptions = field(default_factory=FuserOptions)
    loss: MaximumLoss = field(default_factory=MaximumLoss)


_CONTROL = {
    "trainer": {
        "epochs": 11,
        "steps_per_epoch": 240,
        "crop": 64,
        "lr": 1e-3,
        "optimizer": "muon",
        "ema_decay": 0.98,
        "lr_schedule": "cosine",
    },
    "fuser": {"inputs": "image+gradient+share"},
}


class FixedLossTrainer(SingleLevelTrainer):
    """Trains F of ReFusion with :func:`maximum_loss`."""

    Config = FixedLossOptions
    config: FixedLossOptions
    fuser_name = "fixed-loss"
    presets = {
        "control": _CONTROL,
        "swinfusion": {**_CONTROL, "loss": {"intensity": 20.0, "gradient": 20.0, "ssim": 10.0}},
    }
    preset_notes = {
        "control": "Default. SeAFusion's loss; network, crops and 2,640 fusion steps of refusion's preset bright",
        "swinfusion": "the same with SwinFusion's loss, which has a term for SSIM",
    }

    def build_fuser(self, config: FixedLossOptions) -> Fuser:
        """F."""
        return FixedLossFuser(config.fuser)

    def loss(self, fuser: Fuser, batch: Batch) -> Terms:
        """The loss of what the fuser makes of a batch."""
        return maximum_loss(fuser(*batch.sources), batch.sources, self.config.loss)
