"""The three ways to take a meta step, behind one interface: the gradient of the outer loss for the proposer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field
from torch import Tensor

from fusionkit.contracts import Batch, Fuser, LossProposer, OuterLoss
from fusionkit.errors import UsageError
from fusionkit.train.bilevel.closed_form_step import closed_form_meta_gradient
from fusionkit.train.bilevel.hypergradient import (
    MetaGradient,
    image_space_meta_gradient,
    meta_gradient,
    supports_forward_mode,
)
from fusionkit.train.bilevel.microbatch import Mean
from fusionkit.train.bilevel.noise import Noise

__all__ = [
    "ClosedForm",
    "ImageSpace",
    "MetaBatches",
    "MetaStep",
    "Networks",
    "OneStep",
    "StepContext",
    "make_meta_steps",
]

Views = tuple[Batch, Batch]
"""A batch as the fusion loss sees it, and the same pairs as the outer loss sees them."""


@dataclass(frozen=True)
class Networks:
    """The networks of a method.

    Attributes:
        fuser: F.
        proposer: P; without parameters there is nothing to meta-learn and there are no meta steps.
        outer_loss: R, or a downstream network; differentiated once only.
    """

    fuser: Fuser
    proposer: LossProposer
    outer_loss: OuterLoss


@dataclass(frozen=True)
class StepContext:
    """Inputs that every kind of step shares.

    Attributes:
        noise: added to the fused image before the outer loss; None for none.
        micro_batch: samples per pass; 0 takes the whole batch.
        mean: averages named tensors over the processes that share the batch.
        weight_map_kl: weight of the proposed maps' divergence from equal weights in the outer loss.
    """

    noise: Noise | None = None
    micro_batch: int = 0
    mean: Mean = dict
    weight_map_kl: float = 0.0


class MetaBatches:
    """The two batches of a meta step; each is cropped when it is first used.

    Args:
        mtr: gives the views of the inner step's pairs.
        mts: gives the views of the outer loss's pairs.
    """

    def __init__(self, mtr: Callable[[], Views], mts: Callable[[], Views]) -> None:
        self._mtr, self._mts = mtr, mts

    @cached_property
    def inner(self) -> Views:
        """The pairs of the inner step."""
        return self._mtr()

    @cached_property
    def outer(self) -> Batch:
        """The pairs that the outer loss is measured on, as it sees them."""
        return self._mts()[1]


class MetaStep(Protocol):
    """A way to take a meta step.

    Attributes:
        trains_outer_loss: whether the step trains the outer loss, too; the fusion steps then train F alone.
    """

    trains_outer_loss: ClassVar[bool]

    def gradient(self, networks: Networks, batches: MetaBatches, context: StepContext) -> MetaGradient:
        """The gradient for the proposer, and what else the step found."""

    def check_shared(self) -> None:
        """Refuse to share a batch among processes.

        Raises:
            UsageError: the step needs the whole batch.
        """


@dataclass(frozen=True)
class OneStep:
    """The exact gradient through one inner update of F and of the outer loss.

    Attributes:
        inner_lr: eta, step size of the inner updates F' and R'; None takes the fuser's learning rate.
        autodiff: ``"forward"``, ``"double_backward"``, or ``"auto"``: forward wherever the fuser has forward-mode
            derivatives.
    """

    trains_outer_loss: ClassVar[bool] = False
    inner_lr: Annotated[float, Field(gt=0, le=1e6)] | None = None
    autodiff: Literal["auto", "forward", "double_backward"] = "auto"

    def prepared(self, networks: Networks, tried: Sequence[Tensor], lr: float) -> OneStep:
        """Replace what is chosen by the networks and the learning rate: see :func:`make_meta_steps`."""
        forward = self.autodiff == "forward" or (
            self.autodiff == "auto" and supports_forward_mode(networks.fuser, tried)
        )
        return OneStep(self.inner_lr or lr, "forward" if forward else "double_backward")

    def gradient(self, networks: Networks, batches: MetaBatches, context: StepContext) -> MetaGradient:
        """See :func:`fusionkit.train.bilevel.meta_gradient`."""
        # The outer batch is cropped first, as in the other two ways.
        outer = batches.outer
        inner, inner_outer_loss = batches.inner
        assert self.inner_lr is not None
        return meta_gradient(
            networks.fuser,
            networks.proposer,
            networks.outer_loss,
            inner,
            outer,
            mtr_outer_loss=inner_outer_loss,
            eta_fuser=self.inner_lr,
            eta_outer_loss=self.inner_lr,
            weight_map_kl=context.weight_map_kl,
            noise=context.noise,
            method="double_backward" if self.autodiff == "double_backward" else "forward",
            micro_batch=context.micro_batch,
            mean=context.mean,
        )

    def check_shared(self) -> None:
        """See :meth:`MetaStep.check_shared`."""
        if self.autodiff == "double_backward":
            raise UsageError(
                "double backward takes the whole batch in one process: set trainer.hypergradient=image_space, or start "
                "it without torchrun"
            )


@dataclass(frozen=True)
class ImageSpace:
    """The gradient through one step on the pixels of the fused image instead of on the weights of F.

    Attributes:
        inner_lr: step size on the image.
        epochs: epochs after the warm-up that take this step before another way takes over.
    """

    trains_outer_loss: ClassVar[bool] = False
    inner_lr: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    epochs: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    def gradient(self, networks: Networks, batches: MetaBatches, context: StepContext) -> MetaGradient:
        """See :func:`fusionkit.train.bilevel.image_space_meta_gradient`."""
        return image_space_meta_gradient(
            networks.fuser,
            networks.proposer,
            networks.outer_loss,
            batches.outer,
            eta=self.inner_lr,
            weight_map_kl=context.weight_map_kl,
            noise=context.noise,
            mean=context.mean,
        )

    def check_shared(self) -> None:
        """See :meth:`MetaStep.check_shared`: it takes any share."""


@dataclass(frozen=True)
class ClosedForm:
    """The gradient through the image that minimises the fusion loss; F takes no part, the outer loss trains with P."""

    trains_outer_loss: ClassVar[bool] = True

    def gradient(self, networks: Networks, batches: MetaBatches, context: StepContext) -> MetaGradient:
        """See :func:`fusionkit.train.bilevel.closed_form_meta_gradient`."""
        return closed_form_meta_gradient(
            networks.proposer,
            networks.outer_loss,
            batches.outer,
            weight_map_kl=context.weight_map_kl,
            noise=context.noise,
            micro_batch=context.micro_batch,
            mean=context.mean,
        )

    def check_shared(self) -> None:
        """See :meth:`MetaStep.check_shared`: it takes any share."""


def make_meta_steps(
    networks: Networks,
    tried: Sequence[Tensor],
    *,
    hypergradient: str,
    one_step: OneStep,
    image_space: ImageSpace,
    lr: float,
) -> dict[str, MetaStep]:
    """The ways to take a meta step that a training uses, by the names that ``trainer.hypergradient`` has for them.

    Args:
        networks: of the training.
        tried: small sources, to see on them what the networks can do.
        hypergradient: name of the way that the training ends with.
        one_step: options of ``"one_step"``.
        image_space: options of ``"image_space"``, which comes before another way where it has epochs.
        lr: learning rate of the fuser.

    Raises:
        UsageError: the closed form is asked for, and the fusion loss has none.
    """
    found: dict[str, MetaStep] = {}
    if hypergradient == "image_space" or image_space.epochs:
        found["image_space"] = image_space
    if hypergradient == "closed_form":
        proposer = networks.proposer
        if proposer.minimiser(proposer(*tried), tried) is None:
            raise UsageError(
                f"{type(proposer).__name__}'s fusion loss, with these options, has no minimiser in closed form: set "
                "trainer.hypergradient=image_space or one_step"
            )
        found["closed_form"] = ClosedForm()
    if hypergradient == "one_step":
        found["one_step"] = one_step.prepared(networks, tried, lr)
    return found
