"""Training of DenseFuse: its autoencoder learns to rebuild single images, and never sees a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import torch
from kornia.metrics import ssim
from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Batch, Fuser, Terms
from fusionkit.train.single_level import SingleLevelOptions, SingleLevelTrainer
from fusionkit_rivals.densefuse import DenseFuse

__all__ = ["DenseFuseLoss", "DenseFuseOptions", "DenseFuseTrainer", "rebuilding_loss"]

Weight = Annotated[float, Field(ge=0, le=1e6)]


@dataclass(frozen=True)
class DenseFuseLoss:
    """Weights of the terms of :func:`rebuilding_loss`.

    Attributes:
        pixel: of the squared difference in grey levels.
        ssim: of the structural dissimilarity; the paper compares 1, 10, 100 and 1000.
    """

    pixel: Weight = 1.0
    ssim: Weight = 100.0


def rebuilding_loss(rebuilt: Sequence[Tensor], images: Sequence[Tensor], weights: DenseFuseLoss) -> dict[str, Tensor]:
    r"""The loss of DenseFuse: the error of rebuilt images, and their structural dissimilarity.

    .. math:: L = \lambda_p\,\mathrm{mean}_k\,\mathrm{mean}(O_k - I_k)^2
              + \lambda_s\,\mathrm{mean}_k\,(1 - \mathrm{SSIM}(O_k, I_k))

    The square is in grey levels (0..255), as in the authors' program, where the paper has the Euclidean norm.

    Args:
        rebuilt: one tensor ``(B, 1, H, W)`` per image, white 1.
        images: the images, the same shape, in [0, 1].
        weights: of the terms.

    Returns:
        ``total``, ``pixel`` and ``ssim``: scalars.

    Reference:
        Li, Wu, DenseFuse, IEEE TIP 28(5), 2019, eq. (1)-(3).
    """
    pairs = list(zip(rebuilt, images, strict=True))
    pixel = torch.stack([(255 * (made - image)).square().mean() for made, image in pairs]).mean()
    unlike = torch.stack([1 - ssim(made, image, 11).mean() for made, image in pairs]).mean()
    return {"total": weights.pixel * pixel + weights.ssim * unlike, "pixel": pixel, "ssim": unlike}


@dataclass(frozen=True)
class DenseFuseOptions:
    """Every choice of a training of DenseFuse.

    Attributes:
        trainer: schedule and updates.
        loss: weights of the terms.
    """

    trainer: SingleLevelOptions = field(default_factory=SingleLevelOptions)
    loss: DenseFuseLoss = field(default_factory=DenseFuseLoss)


class DenseFuseTrainer(SingleLevelTrainer):
    """Trains DenseFuse's encoder and decoder to rebuild each source by itself.

    The authors train on 80,000 grey photographs of MS-COCO, four epochs, batches of two, at 1e-4. Here the single
    images are the sources of the training pairs, and the schedule is short with a higher rate.
    """

    Config = DenseFuseOptions
    config: DenseFuseOptions
    fuser_name = "densefuse"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "short": {
            "trainer": {
                "epochs": 6,
                "steps_per_epoch": 150,
                "batch": 4,
                "crop": 64,
                "lr": 1e-3,
                "lr_schedule": "cosine",
            }
        },
        "authors": {"trainer": {"epochs": 4, "steps_per_epoch": 40_000, "batch": 2, "crop": 256, "lr": 1e-4}},
    }
    preset_notes: ClassVar[Mapping[str, str]] = {
        "short": "Default. 900 steps of four crops of 64 pixels: minutes on two cores",
        "authors": "their schedule: four epochs of 80,000 images, crops of 256 pixels, 1e-4",
    }

    def build_fuser(self, config: DenseFuseOptions) -> Fuser:
        """DenseFuse, whose last layer begins with weights of one sign."""
        fuser = DenseFuse()
        # Its last ReLU takes features that are 0 or more: with other signs it can begin, and then stay, at 0.
        with torch.no_grad():
            fuser.decode[-1].weight.abs_()  # type: ignore[operator]
        return fuser

    def loss(self, fuser: Fuser, batch: Batch) -> Terms:
        """The loss of the rebuilt sources."""
        assert isinstance(fuser, DenseFuse)
        rebuilt = [fuser.decoded(fuser.encode(255 * source)) / 255 for source in batch.sources]
        return rebuilding_loss(rebuilt, batch.sources, self.config.loss)
