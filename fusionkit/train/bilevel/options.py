"""Schedule and updates of the bilevel training, and the checks of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fusionkit.config import check_bounds
from fusionkit.errors import UsageError
from fusionkit.train.bilevel.meta_steps import ImageSpace, OneStep
from fusionkit.train.bilevel.noise import NoiseOptions
from fusionkit.train.bilevel.optimisers import UpdateRule

__all__ = ["BilevelOptions", "check_options"]

_Epochs = Annotated[int, Field(ge=1, le=1_000_000)]
_Rate = Annotated[float, Field(gt=0, le=1e6)]


@dataclass(frozen=True)
class BilevelOptions:
    """Schedule and updates of the three-stage training.

    Attributes:
        init: the model whose weights F begins from: a weights file, a run folder, or a shipped model such as
            ``FUSER:TASK``. F must have its options. The other networks begin anew.
        epochs: L.
        warmup: epochs at the beginning without meta steps, so that the outer loss is trained before P uses its
            gradient. 0 is the paper's.
        freeze_fraction: final fraction of the epochs in which P and the outer loss are frozen and only F trains. 0 is
            the paper's.
        meta_steps: M, meta steps per epoch.
        fusion_steps: N, fusion steps per epoch.
        batch: pairs per batch.
        crop: side of the square crops, in pixels.
        lr: learning rate of the fuser.
        lr_outer_loss: learning rate of the outer loss; None takes ``lr``.
        lr_proposer: learning rate of the proposer; None takes ``lr``.
        lr_schedule: ``"none"``, ``"cosine"`` to a hundredth over the run (for proposer and outer loss, until they are
            frozen), or ``"step"``: x0.1 every ``lr_step_epochs``.
        lr_step_epochs: epochs between the reductions of ``lr_schedule="step"``.
        weight_map_kl: weight, in the outer loss, of the KL divergence of the proposed maps from equal weights; 0 is
            the paper's.
        outer_loss_noise: noise on the fused image as the outer loss sees it.
        fuser_optimizer: ``"adam"``, or ``"muon"``: orthogonalised momentum for the matrices, at 20 times ``lr``, and
            Adam for the other parameters.
        outer_loss_optimizer: the same for the outer loss.
        proposer_optimizer: ``"adam"``, ``"muon"``, ``"normalized"`` (``lr g / max|g|``, TDFusion's public rule) or
            ``"sgd"``.
        proposer_eps: eps of the proposer's Adam; small, as the exact hypergradient is proportional to
            ``one_step.inner_lr``.
        hypergradient: ``"one_step"``, through one inner update of F, exact; ``"image_space"``, through one step on the
            pixels of the fused image; ``"closed_form"``, through the image that minimises the fusion loss, on which
            the outer loss trains, too.
        one_step: options of ``"one_step"``.
        image_space: options of ``"image_space"``.
        flip: flip crops at random.
        swap: swap the sources at random.
        both_orders: take every batch in both orders of the sources, which doubles it.
        ema_decay: decay of the exponential moving average of F's weights, which is what is written out; 0 takes none.
        micro_batch: samples per forward and backward pass, for outer losses that are a mean over samples: fewer take
            less memory and stay in a processor's cache. 0 takes what suits the device, the whole batch on a GPU.
        cuda_graphs: on CUDA, record each kind of step once as a CUDA graph and replay it.
        extensions: epochs of each extension of the training: more epochs of its last kind, so that what was frozen
            stays frozen. Under ``lr_schedule="cosine"`` the rates fall anew in each; the other schedules go on.
    """

    init: str = ""
    epochs: _Epochs = 50
    warmup: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    freeze_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.0
    meta_steps: Annotated[int, Field(ge=0, le=10**9)] = 600
    fusion_steps: Annotated[int, Field(ge=0, le=10**9)] = 1600
    batch: Annotated[int, Field(ge=1, le=65_536)] = 4
    crop: Annotated[int, Field(ge=1, le=16_384)] = 128
    lr: _Rate = 1e-4
    lr_outer_loss: _Rate | None = None
    lr_proposer: _Rate | None = None
    lr_schedule: Literal["none", "cosine", "step"] = "none"
    lr_step_epochs: _Epochs = 10
    weight_map_kl: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    outer_loss_noise: NoiseOptions = field(default_factory=NoiseOptions)
    fuser_optimizer: Literal["adam", "muon"] = "adam"
    outer_loss_optimizer: Literal["adam", "muon"] = "adam"
    proposer_optimizer: UpdateRule = "adam"
    proposer_eps: Annotated[float, Field(gt=0, le=1)] = 1e-10
    hypergradient: Literal["one_step", "image_space", "closed_form"] = "one_step"
    one_step: OneStep = field(default_factory=OneStep)
    image_space: ImageSpace = field(default_factory=ImageSpace)
    flip: bool = True
    swap: bool = False
    both_orders: bool = False
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    micro_batch: Annotated[int, Field(ge=0, le=65_536)] = 0
    cuda_graphs: bool = True
    extensions: Annotated[tuple[_Epochs, ...], Field(max_length=1000)] = ()

    RENAMED: ClassVar[Mapping[str, str | tuple[str, ...]]] = {
        "settle": "freeze_fraction",
        "lr_critic": "lr_outer_loss",
        "decay": "lr_schedule",
        "decay_epochs": "lr_step_epochs",
        "eta": ("one_step.inner_lr", "image_space.inner_lr"),
        "inner_lr": ("one_step.inner_lr", "image_space.inner_lr"),
        "indifference": "weight_map_kl",
        "noise": "outer_loss_noise.pixel",
        "coarse_noise": "outer_loss_noise.patch",
        "patch": "outer_loss_noise.patch_size",
        "noise_unit": "outer_loss_noise.unit",
        "fuser_update": "fuser_optimizer",
        "critic_update": "outer_loss_optimizer",
        "proposer_update": "proposer_optimizer",
        "hypergradient=exact": "hypergradient=one_step",
        "hypergradient=image": "hypergradient=image_space",
        "hypergradient=optimum": "hypergradient=closed_form",
        "image_epochs": "image_space.epochs",
        "image_space_epochs": "image_space.epochs",
        "method": "one_step.autodiff",
        "autodiff": "one_step.autodiff",
        "average": "ema_decay",
        "at_once": "micro_batch",
        "capture": "cuda_graphs",
    }

    REMOVED: ClassVar[Mapping[str, tuple[str, str]]] = {
        "scheme": ("meta", "these ablations are methods of their own now, see benchmarks/paper/schemes.py")
    }

    @property
    def frozen_epochs(self) -> int:
        """``freeze_fraction`` in epochs; P learns for at least one epoch, however few there are."""
        return min(round(self.freeze_fraction * self.epochs), max(self.epochs - self.warmup - 1, 0))


def check_options(options: BilevelOptions) -> None:
    """Refuse a schedule that cannot run.

    Raises:
        UsageError: naming the option and what it may be.
    """
    check_bounds(options, "trainer")
    if options.fusion_steps < 1:
        raise UsageError("trainer.fusion_steps=0 must be at least 1")
    if options.warmup >= options.epochs:
        raise UsageError(f"trainer.warmup={options.warmup} must be less than trainer.epochs={options.epochs}")
    if options.hypergradient == "closed_form" and (options.warmup or options.image_space.epochs):
        raise UsageError(
            "trainer.hypergradient=closed_form trains the outer loss in its meta steps: set trainer.warmup=0 and "
            "trainer.image_space.epochs=0"
        )
