"""Training of Hybrid Fusion: the U-Net learns by the loss of what a fixed pyramid makes of its map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from kornia.metrics import ssim
from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Batch, Fuser, Terms
from fusionkit.errors import UsageError
from fusionkit.train.single_level import SingleLevelOptions, SingleLevelTrainer
from fusionkit_restormer.losses import sobel
from fusionkit_rivals.hybrid_fusion import LEVELS, HybridFusion, HybridFusionOptions

__all__ = ["HybridFusionTrainer", "HybridLoss", "HybridTrainingOptions", "hybrid_loss"]

Weight = Annotated[float, Field(ge=0, le=1e6)]


@dataclass(frozen=True)
class HybridLoss:
    """Weights of the terms of :func:`hybrid_loss`: those of the authors' program, for images in [0, 1].

    Attributes:
        maximum: of the difference from the brighter source.
        second: of the mean difference from the second source.
        first: of the mean difference from the first source; twice as much, as the authors weigh infrared.
        gradient: of the difference from the steeper source, in x and in y.
        ssim: of the structural dissimilarity from each source.
    """

    maximum: Weight = 20.0
    second: Weight = 2.0
    first: Weight = 4.0
    gradient: Weight = 80.0
    ssim: Weight = 1.0


def hybrid_loss(fused: Tensor, sources: Sequence[Tensor], weights: HybridLoss) -> dict[str, Tensor]:
    r"""The loss of Hybrid Fusion, without its terms for colour and for the variance of the map.

    .. math:: L = \lambda_m\,\mathrm{mean}|I_f - \max(I_a, I_b)| + \lambda_a\,\mathrm{mean}|I_f - I_a|
              + \lambda_b\,\mathrm{mean}|I_f - I_b| + \lambda_g \sum_{d \in \{x, y\}}
              \mathrm{mean}\big||\partial_d I_f| - \max_k|\partial_d I_k|\big|
              + \lambda_s \sum_k (1 - \mathrm{SSIM}(I_f, I_k))

    The authors compute it on [-1, 1], so that their weights of differences are half of these. Derivatives are Sobel's,
    SSIM has a Gaussian window of 11 pixels (the authors' window of 48 has the same Gaussian).

    Args:
        fused: ``(B, 1, H, W)``, about 0..1.
        sources: two tensors of the same shape.
        weights: of the terms.

    Returns:
        ``total`` and each term before its weight: scalars.
    """
    a, b = sources
    slopes = torch.stack([sobel(source).abs() for source in sources]).amax(0)
    terms = {
        "maximum": (fused - torch.maximum(a, b)).abs().mean(),
        "first": (fused - a).abs().mean(),
        "second": (fused - b).abs().mean(),
        "gradient": 2 * (sobel(fused).abs() - slopes).abs().mean(),
        "ssim": torch.stack([1 - ssim(fused, source, 11).mean() for source in sources]).sum(),
    }
    total = torch.stack([getattr(weights, name) * value for name, value in terms.items()]).sum()
    return {"total": total, **terms}


@dataclass(frozen=True)
class HybridTrainingOptions:
    """Every choice of a training of :class:`HybridFusion`.

    Attributes:
        trainer: schedule and updates.
        fuser: the U-Net.
        loss: weights of the terms.
    """

    trainer: SingleLevelOptions = field(default_factory=SingleLevelOptions)
    fuser: HybridFusionOptions = field(default_factory=HybridFusionOptions)
    loss: HybridLoss = field(default_factory=HybridLoss)


_SHORT = {
    "epochs": 8,
    "steps_per_epoch": 100,
    "batch": 4,
    "crop": 96,
    "lr": 2e-3,
    "lr_schedule": "cosine",
}


class HybridFusionTrainer(SingleLevelTrainer):
    """Trains the U-Net of :class:`HybridFusion` with :func:`hybrid_loss` on what the pyramid blends."""

    Config = HybridTrainingOptions
    config: HybridTrainingOptions
    fuser_name = "hybrid-fusion"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "short": {"trainer": _SHORT},
        "authors": {
            "trainer": {
                **_SHORT,
                "epochs": 10,
                "crop": 256,
                "steps_per_epoch": 67,
                "batch": 16,
                "lr": 1e-4,
                "lr_schedule": "none",
            },
            "fuser": {"width": 64},
        },
    }
    preset_notes: ClassVar[Mapping[str, str]] = {
        "short": "Default. 800 steps of four crops of 96 pixels with 8 channels: minutes on two cores",
        "authors": "their width, batch, learning rate and ten epochs of MSRS, on crops of 256 pixels: for a GPU",
    }

    def build_fuser(self, config: HybridTrainingOptions) -> Fuser:
        """The U-Net with its pyramid.

        Raises:
            fusionkit.errors.UsageError: crops that four halvings do not divide.
        """
        if config.trainer.crop % 2**LEVELS:
            raise UsageError(f"trainer.crop={config.trainer.crop}: hybrid-fusion needs a multiple of {2**LEVELS}")
        return HybridFusion(config.fuser)

    def loss(self, fuser: Fuser, batch: Batch) -> Terms:
        """The loss of the blend of a batch, before it is clipped."""
        assert isinstance(fuser, HybridFusion)
        a, b = batch.sources
        return hybrid_loss(fuser.fuse(a, b), batch.sources, self.config.loss)
