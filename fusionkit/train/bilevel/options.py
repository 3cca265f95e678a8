"""Schedule and updates of the bilevel training, and what of them cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from fusionkit.errors import UsageError
from fusionkit.train.bilevel.optimisers import UpdateRule

__all__ = ["BilevelOptions", "check_options"]


@dataclass(frozen=True)
class BilevelOptions:
    """Schedule and updates of the three-stage training.

    Attributes:
        epochs: L.
        warmup: epochs at the beginning that have no meta steps: a proposer that listens to an untrained outer loss
            learns its accidents. 0 is the paper's.
        settle: part of the epochs, at the end, that have no meta steps, either, and in which the outer loss rests: the
            fusion loss stands, and the fuser has the time to follow it. 0 is the paper's.
        meta_steps: M, meta steps an epoch.
        fusion_steps: N, fusion steps an epoch.
        batch: pairs a batch.
        crop: side of the square crops, in pixels.
        lr: learning rate of the fuser.
        lr_outer_loss: learning rate of the outer loss; None takes ``lr``.
        lr_proposer: learning rate of the proposer; None takes ``lr``.
        eta: step size of the inner updates F' and R'; None takes ``lr``, and 1 for an inner step on the image.
        indifference: weight, in the outer loss, of how far the proposed maps lean to one source; 0 is the paper's.
        noise: standard deviation of the noise through which the outer loss sees the fused image; 0 is the paper's.
        coarse_noise: the same of noise that is constant over small patches.
        patch: side of the smallest of those patches, in pixels; the others have twice and four times that.
        noise_unit: what the two are measured in: ``"full"``, the full range of an image; ``"contrast"``, the root of
            the mean variance of the sources in their crop: a dark pair is not drowned in what a bright one bears.
        fuser_update: ``"adam"``, or ``"muon"``: orthogonalised momentum for the matrices, at 20 times ``lr``, and Adam
            for the other parameters.
        outer_loss_optimizer: the same of the outer loss.
        proposer_update: ``"adam"``, ``"muon"``, ``"normalized"`` (``lr g / max|g|``, TDFusion's public rule) or
            ``"sgd"``.
        proposer_eps: eps of the proposer's Adam: the exact hypergradient carries a factor eta and is minute.
        hypergradient: ``"exact"`` through F'; ``"image"``: the inner step taken on the fused image; ``"optimum"``: the
            outer loss measured, and the outer loss trained, on the image that minimises the fusion loss.
        image_epochs: epochs after the warm-up whose inner step is on the image all the same: a start for ``"exact"``.
        method: how the exact one is computed: ``"forward"``, ``"double_backward"``, or ``"auto"``, forward wherever
            the fuser has forward-mode derivatives.
        scheme: ``"meta"``, Algorithm 1; ``"joint"``, no meta steps, and the outer loss moves F, too; ``"guided"``,
            the meta steps of Algorithm 1, and the outer loss moves F, too; ``"inner"``, no fusion steps, the inner
            update changes F and the outer loss.
        flip: flip crops at random.
        swap: swap the sources at random.
        both_orders: show every batch in both orders of the sources, which doubles it.
        average: decay of the running average of F's weights, which is what is written out; 0 turns it off.
        decay: ``"none"``, ``"cosine"`` to a hundredth over the run (of proposer and outer loss, over their part of it),
            or ``"step"``: x0.1 every ``decay_epochs``.
        decay_epochs: see ``decay``.
        at_once: samples that a pass takes at once, for outer losses that are a mean over samples: fewer take less
            memory and stay in a processor's cache. 0 takes what suits the device, the whole batch on a GPU.
        capture: on CUDA, record each kind of step once as a CUDA graph and replay it.
    """

    epochs: int = 50
    warmup: int = 0
    settle: float = 0.0
    meta_steps: int = 600
    fusion_steps: int = 1600
    batch: int = 4
    crop: int = 128
    lr: float = 1e-4
    lr_outer_loss: float | None = None
    lr_proposer: float | None = None
    eta: float | None = None
    indifference: float = 0.0
    noise: float = 0.0
    coarse_noise: float = 0.0
    patch: int = 4
    noise_unit: Literal["full", "contrast"] = "full"
    fuser_update: Literal["adam", "muon"] = "adam"
    outer_loss_optimizer: Literal["adam", "muon"] = "adam"
    proposer_update: UpdateRule = "adam"
    proposer_eps: float = 1e-10
    hypergradient: Literal["exact", "image", "optimum"] = "exact"
    image_epochs: int = 0
    method: Literal["auto", "forward", "double_backward"] = "auto"
    scheme: Literal["meta", "joint", "guided", "inner"] = "meta"
    flip: bool = True
    swap: bool = False
    both_orders: bool = False
    average: float = 0.0
    decay: Literal["none", "cosine", "step"] = "none"
    decay_epochs: int = 10
    at_once: int = 0
    capture: bool = True

    RENAMED: ClassVar[Mapping[str, str]] = {"lr_critic": "lr_outer_loss", "critic_update": "outer_loss_optimizer"}

    @property
    def settled_epochs(self) -> int:
        """``settle`` in epochs: one is left to learn in, however few there are."""
        return min(round(self.settle * self.epochs), max(self.epochs - self.warmup - 1, 0))


def check_options(options: BilevelOptions) -> None:
    """Refuse a schedule that cannot run.

    Raises:
        UsageError: naming the option and what it may be.
    """
    for name in ("epochs", "batch", "crop", "patch", "decay_epochs"):
        if getattr(options, name) < 1:
            raise UsageError(f"trainer.{name}={getattr(options, name)} must be at least 1")
    for name in ("meta_steps", "fusion_steps", "warmup", "image_epochs", "at_once"):
        if getattr(options, name) < 0:
            raise UsageError(f"trainer.{name}={getattr(options, name)} must not be negative")
    for name in ("lr", "lr_outer_loss", "lr_proposer", "eta", "proposer_eps"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"trainer.{name}={value} must be a positive number")
    for name in ("indifference", "noise", "coarse_noise"):
        if not 0 <= getattr(options, name) < float("inf"):
            raise UsageError(f"trainer.{name}={getattr(options, name)} must be zero or a positive number")
    for name in ("average", "settle"):
        if not 0 <= getattr(options, name) < 1:
            raise UsageError(f"trainer.{name}={getattr(options, name)} must lie in [0, 1)")
    if options.warmup >= options.epochs:
        raise UsageError(f"trainer.warmup={options.warmup} must be less than trainer.epochs={options.epochs}")
    if options.settle and options.scheme != "meta":
        raise UsageError(f"trainer.scheme={options.scheme} has no fusion loss that settles: set trainer.settle=0")
    if options.scheme == "inner" and options.warmup:
        raise UsageError("trainer.scheme=inner has no fusion steps to warm up with: set trainer.warmup=0")
    if options.hypergradient == "optimum" and options.scheme not in ("meta", "joint"):
        raise UsageError(
            f"trainer.hypergradient=optimum has no trainer.scheme={options.scheme}: set trainer.scheme=meta"
        )
    if options.hypergradient == "optimum" and (options.warmup or options.image_epochs):
        raise UsageError(
            "trainer.hypergradient=optimum teaches the outer loss in its meta steps: set trainer.warmup=0 and "
            "trainer.image_epochs=0"
        )
    if options.scheme == "inner" and (options.hypergradient == "image" or options.image_epochs):
        raise UsageError(
            "trainer.scheme=inner needs the inner steps of F and R: set trainer.hypergradient=exact and "
            "trainer.image_epochs=0"
        )
    if options.scheme == "inner" and options.meta_steps == 0:
        raise UsageError("trainer.scheme=inner trains in meta steps: set trainer.meta_steps above 0")
    if options.scheme != "inner" and options.fusion_steps == 0:
        raise UsageError(f"trainer.scheme={options.scheme} trains in fusion steps: set trainer.fusion_steps above 0")
