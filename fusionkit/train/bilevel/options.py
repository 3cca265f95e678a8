"""Schedule and updates of the bilevel training, and the checks of their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from fusionkit.errors import UsageError
from fusionkit.train.bilevel.noise import NoiseOptions
from fusionkit.train.bilevel.optimisers import UpdateRule

__all__ = ["BilevelOptions", "check_options"]


@dataclass(frozen=True)
class BilevelOptions:
    """Schedule and updates of the three-stage training.

    Attributes:
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
        inner_lr: eta, step size of the inner updates F' and R'; None takes ``lr``, and 1 for a step on the image.
        weight_map_kl: weight, in the outer loss, of the KL divergence of the proposed maps from equal weights; 0 is
            the paper's.
        outer_loss_noise: noise on the fused image as the outer loss sees it.
        fuser_optimizer: ``"adam"``, or ``"muon"``: orthogonalised momentum for the matrices, at 20 times ``lr``, and
            Adam for the other parameters.
        outer_loss_optimizer: the same for the outer loss.
        proposer_optimizer: ``"adam"``, ``"muon"``, ``"normalized"`` (``lr g / max|g|``, TDFusion's public rule) or
            ``"sgd"``.
        proposer_eps: eps of the proposer's Adam; small, as the exact hypergradient is proportional to ``inner_lr``.
        hypergradient: ``"one_step"``, through one inner update of F, exact; ``"image_space"``, through one step on the
            pixels of the fused image; ``"closed_form"``, through the image that minimises the fusion loss, on which
            the outer loss trains, too.
        image_space_epochs: epochs after the warm-up that use ``"image_space"`` before ``"one_step"`` takes over.
        autodiff: how ``"one_step"`` is computed: ``"forward"``, ``"double_backward"``, or ``"auto"``: forward wherever
            the fuser has forward-mode derivatives.
        flip: flip crops at random.
        swap: swap the sources at random.
        both_orders: take every batch in both orders of the sources, which doubles it.
        ema_decay: decay of the exponential moving average of F's weights, which is what is written out; 0 takes none.
        micro_batch: samples per forward and backward pass, for outer losses that are a mean over samples: fewer take
            less memory and stay in a processor's cache. 0 takes what suits the device, the whole batch on a GPU.
        cuda_graphs: on CUDA, record each kind of step once as a CUDA graph and replay it.
    """

    epochs: int = 50
    warmup: int = 0
    freeze_fraction: float = 0.0
    meta_steps: int = 600
    fusion_steps: int = 1600
    batch: int = 4
    crop: int = 128
    lr: float = 1e-4
    lr_outer_loss: float | None = None
    lr_proposer: float | None = None
    lr_schedule: Literal["none", "cosine", "step"] = "none"
    lr_step_epochs: int = 10
    inner_lr: float | None = None
    weight_map_kl: float = 0.0
    outer_loss_noise: NoiseOptions = field(default_factory=NoiseOptions)
    fuser_optimizer: Literal["adam", "muon"] = "adam"
    outer_loss_optimizer: Literal["adam", "muon"] = "adam"
    proposer_optimizer: UpdateRule = "adam"
    proposer_eps: float = 1e-10
    hypergradient: Literal["one_step", "image_space", "closed_form"] = "one_step"
    image_space_epochs: int = 0
    autodiff: Literal["auto", "forward", "double_backward"] = "auto"
    flip: bool = True
    swap: bool = False
    both_orders: bool = False
    ema_decay: float = 0.0
    micro_batch: int = 0
    cuda_graphs: bool = True

    RENAMED: ClassVar[Mapping[str, str]] = {
        "settle": "freeze_fraction",
        "lr_critic": "lr_outer_loss",
        "decay": "lr_schedule",
        "decay_epochs": "lr_step_epochs",
        "eta": "inner_lr",
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
        "image_epochs": "image_space_epochs",
        "method": "autodiff",
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
    noise = options.outer_loss_noise
    values = {f"trainer.{name}": value for name, value in vars(options).items()}
    values |= {f"trainer.outer_loss_noise.{name}": value for name, value in vars(noise).items()}

    def require(holds: bool, name: str, what: str) -> None:
        if not holds:
            raise UsageError(f"trainer.{name}={values[f'trainer.{name}']} must {what}")

    for name in ("epochs", "fusion_steps", "batch", "crop", "outer_loss_noise.patch_size", "lr_step_epochs"):
        require(values[f"trainer.{name}"] >= 1, name, "be at least 1")
    for name in ("meta_steps", "warmup", "image_space_epochs", "micro_batch"):
        require(values[f"trainer.{name}"] >= 0, name, "not be negative")
    for name in ("lr", "lr_outer_loss", "lr_proposer", "inner_lr", "proposer_eps"):
        value = values[f"trainer.{name}"]
        require(value is None or 0 < value < float("inf"), name, "be a positive number")
    for name in ("weight_map_kl", "outer_loss_noise.pixel", "outer_loss_noise.patch"):
        require(0 <= values[f"trainer.{name}"] < float("inf"), name, "be zero or a positive number")
    for name in ("ema_decay", "freeze_fraction"):
        require(0 <= values[f"trainer.{name}"] < 1, name, "lie in [0, 1)")
    require(options.warmup < options.epochs, "warmup", f"be less than trainer.epochs={options.epochs}")
    if options.hypergradient == "closed_form" and (options.warmup or options.image_space_epochs):
        raise UsageError(
            "trainer.hypergradient=closed_form trains the outer loss in its meta steps: set trainer.warmup=0 and "
            "trainer.image_space_epochs=0"
        )
