"""The contracts of what a training needs beside the fuser: loss proposers, outer losses, data and trainers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from fusionkit.contracts.fuser import Fuser, NoOptions, Options, checked_options
from fusionkit.contracts.label_types import Boxes, LabelKind
from fusionkit.errors import UsageError
from fusionkit.runtime.processes import Processes

__all__ = [
    "Batch",
    "Companion",
    "Downstream",
    "LossProposer",
    "MetaTrainer",
    "OuterLoss",
    "Proposal",
    "Reconstructor",
    "Terms",
    "Trainer",
    "TrainingPairs",
]

Proposal = Mapping[str, Tensor]
"""Output of a LossProposer: named maps ``(B, S, H, W)``, one channel per source, differentiable in its parameters."""

Terms = Mapping[str, Tensor]
"""A loss in parts: scalar tensors; ``"total"`` is the one to differentiate, the others are its parts, for the log."""


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        sources: one ``(B, C, H, W)`` tensor a source, in the task's order.
        targets: the labels that a downstream outer loss needs beside the image: class ids ``(B, H, W)`` int64 with
            :data:`fusionkit.contracts.IGNORE`, or one :class:`fusionkit.contracts.Boxes` per sample; None without
            labels.
    """

    sources: tuple[Tensor, ...]
    targets: Any = None


class TrainingPairs(Protocol):
    """Pairs as a trainer reads them; :class:`fusionkit.data.pair_store.PairStore` has them, and what cuts batches.

    Attributes:
        sizes: height and width of each pair.
        channels: of every source.
    """

    sizes: list[tuple[int, int]]
    channels: int

    def __len__(self) -> int:
        """Number of pairs."""

    def crops(self, rows: Tensor, side: int) -> Batch:
        """Cut out the squares that the rows of a plan describe, see :mod:`fusionkit.data.epoch_plan`."""

    def whole(self, index: int) -> tuple[Tensor, ...]:
        """The sources of one pair at full size, ``(1, C, H, W)`` in [0, 1] on the training device."""


class LossProposer(nn.Module, ABC):
    """Proposes, for each pixel, what the fused image should keep: the learned part of a fusion loss.

    A trainer calls ``forward`` on the sources and passes what it returns to ``loss``. The meta-gradient differentiates
    that in ``fused`` and, through the proposal, in the parameters: it must be twice differentiable in both together.
    A loss with nothing to learn has no parameters.
    """

    Config: ClassVar[type] = NoOptions

    def __init__(self, config: Options = None) -> None:
        super().__init__()
        self.config = checked_options(config, type(self))

    @abstractmethod
    def forward(self, *sources: Tensor) -> Proposal:
        """Propose weight maps for sources ``(B, C, H, W)``; each map is ``(B, S, H, W)`` and sums to 1 over S."""

    @abstractmethod
    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        """The fusion loss L_f of ``fused`` ``(B, C, H, W)`` under ``proposal``, averaged over the batch."""

    def minimiser(self, proposal: Proposal, sources: Sequence[Tensor]) -> Tensor | None:
        """The image ``(B, C, H, W)`` in [0, 1] with the smallest :meth:`loss`; None where no formula gives it."""
        return None


class OuterLoss(nn.Module, ABC):
    """Measures how good a fused image is for its purpose: the outer loss of the meta-gradient.

    A Reconstructor is one, and so is a segmentation or detection network with its loss. Training calls ``loss`` and
    differentiates it once in ``fused`` and once in this module's parameters, never twice.
    """

    Config: ClassVar[type] = NoOptions
    assigns_targets: ClassVar[bool] = False
    """True where the targets depend on the predictions and are held constant in the gradient, as YOLO's are: it is then
    not the slope of the loss's value, and the conformance checks only ask that it is finite and not zero."""

    def __init__(self, config: Options = None) -> None:
        super().__init__()
        self.config = checked_options(config, type(self))

    @abstractmethod
    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        """The loss of ``fused`` ``(B, C, H, W)`` for ``batch``, averaged over the batch."""


class Reconstructor(OuterLoss):
    """An outer loss that rebuilds every source from the fused image."""

    @abstractmethod
    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        """Rebuild the sources: one ``(B, C, H, W)`` tensor per source from ``fused`` ``(B, C, H, W)``."""


class Downstream(OuterLoss):
    """An outer loss that uses the fused image for a task of its own and can be scored by how well it does.

    Args:
        config: an instance of :attr:`Config`.
        classes: names of the classes, by id.
    """

    kind: ClassVar[LabelKind]

    def __init__(self, config: Options = None, *, classes: Sequence[str]) -> None:
        super().__init__(config)
        self.classes = tuple(classes)

    @abstractmethod
    def predict(self, fused: Tensor) -> Tensor | tuple[Boxes, ...]:
        """Predict from ``fused`` ``(B, 1, H, W)``: class ids ``(B, H, W)`` int64, or one ``Boxes`` per sample."""


@dataclass(frozen=True)
class Companion:
    """A network that a run trained beside its fuser.

    Attributes:
        network: its weights are kept.
        facts: what building it again needs, as plain values: its registered name, options, classes.
    """

    network: nn.Module
    facts: Mapping[str, Any]


class Trainer(ABC):
    """A training as a fixed sequence of numbered steps.

    The toolkit's loop (:func:`fusionkit.train.loop.take_steps`) owns the log, the checkpoints and the progress bar; a
    trainer owns the networks, the losses and the order of the updates. The loop loads the state of the last checkpoint
    into it where there is one, and then calls ``step(i)`` for every ``i`` that is left, in order. What a step does may
    depend only on the state, on ``i`` and on the seed: an interrupted training then ends with the same weights.
    """

    diverged_advice: ClassVar[str] = "with other options"
    """Remedy for a loss that is not finite."""

    @property
    @abstractmethod
    def steps(self) -> int:
        """Length of the whole schedule."""

    @abstractmethod
    def stage(self, index: int) -> str:
        """Name of the stage that step ``index`` belongs to, for the log (``"meta"``, ``"fusion"``)."""

    @abstractmethod
    def step(self, index: int) -> Terms:
        """Do step ``index`` and return its losses as scalar tensors on the device, without waiting for them."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Everything that later steps depend on: weights, optimiser moments, averages. Names are flat."""

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state that :meth:`state` gave."""


class MetaTrainer(Trainer):
    """Trains a method on pairs: a fuser, and with it the networks that its fusion loss needs.

    Args:
        config: an instance of :attr:`Config`.
        source: the training pairs.
        device: where to train.
        precision: ``"fp32"``, ``"tf32"`` or ``"bf16"``.
        seed: fixes initial weights and every random draw.
    """

    Config: ClassVar[type] = NoOptions
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Preset name -> nested option values; ``paper`` is what the paper says. The first is the default."""
    preset_notes: ClassVar[Mapping[str, str]] = {}
    """Preset name -> one line on what it is for."""
    fuser_name: ClassVar[str] = ""
    """Registered name of the fuser it trains: written into the weights file."""
    downstream: ClassVar[bool] = False
    """True if it trains for a downstream network, which its options name in ``downstream``."""
    out_of_memory_advice: ClassVar[str] = "choose a smaller network"
    """Remedy for too little memory on the device."""
    config: Options
    source: TrainingPairs

    @classmethod
    def label_kind(cls, config: Options) -> LabelKind | None:
        """The labels that a training with these options needs beside the pairs; None for none."""
        return None

    @classmethod
    def crop(cls, config: Options) -> int:
        """Side of the crops that a training with these options cuts, in pixels: smaller pairs are grown to it."""
        return 1

    @classmethod
    def initial_model(cls, config: Options) -> str:
        """The model whose weights the fuser begins from, as a user names it; "" for new weights."""
        return ""

    @classmethod
    def extended(cls, config: Options, epochs: int) -> Options:
        """Options of the same training with ``epochs`` more at its end; its earlier steps stay as they are.

        Raises:
            fusionkit.errors.UsageError: this trainer cannot be extended.
        """
        raise UsageError(f"{cls.__name__} cannot extend a run that is finished: start a new one")

    @abstractmethod
    def __init__(
        self,
        config: Options,
        source: TrainingPairs,
        *,
        device: torch.device,
        precision: str,
        seed: int,
    ) -> None: ...

    def join(self, processes: Processes) -> None:
        """Share every batch with ``processes``, from before the first step on, and average the gradients.

        Raises:
            fusionkit.errors.UsageError: this trainer cannot, or the batch cannot be shared out.
        """
        raise UsageError(f"{type(self).__name__} trains in one process only: start it without torchrun")

    def begin_from(self, fuser: Fuser) -> None:
        """Give the fuser the weights of a trained one, before the first step.

        Raises:
            fusionkit.errors.UsageError: it is another fuser, or has other options; or this trainer cannot.
        """
        raise UsageError(f"{type(self).__name__} cannot begin from trained weights: leave them out")

    @abstractmethod
    def fuser(self) -> Fuser:
        """The fuser as trained so far: the one that is written out (averaged, where the method averages)."""

    @classmethod
    def proposer_of(cls, config: Options, state: Mapping[str, Tensor]) -> LossProposer | None:
        """The loss proposer of a training as a checkpoint holds it; None where nothing was learned or it cannot tell.

        Args:
            config: the options of the training.
            state: what :meth:`state` gave.
        """
        return None

    def companions(self) -> Mapping[str, Companion]:
        """Networks to keep beside the fuser's weights at the end of a run: file stem -> network."""
        return {}

    def snapshot(self, sources: Sequence[Tensor]) -> dict[str, Tensor]:
        """Named images ``(1, 1, H, W)`` in [0, 1] that show where training stands on one pair: fused, w, v."""
        fuser = self.fuser()
        with torch.no_grad():
            return {"fused": fuser(*(s.to(next(fuser.parameters()).device) for s in sources))}
