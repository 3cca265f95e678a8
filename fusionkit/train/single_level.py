"""Training with an ordinary loss: one network, one loss, one update per step."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from fusionkit.config import as_dict, check_bounds
from fusionkit.contracts import Batch, Fuser, MetaTrainer, Options, Terms
from fusionkit.data.epoch_plan import draw_epoch
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import UsageError
from fusionkit.io.text import shortened
from fusionkit.models.weights import misfit
from fusionkit.runtime.processes import ALONE, Processes
from fusionkit.train.bilevel.ema import RunningAverage
from fusionkit.train.bilevel.microbatch import under
from fusionkit.train.bilevel.optimisers import make_rule
from fusionkit.train.bilevel.source_orders import in_both_orders

__all__ = ["SingleLevelOptions", "SingleLevelTrainer"]

_Count = Annotated[int, Field(ge=1, le=1_000_000)]


@dataclass(frozen=True)
class SingleLevelOptions:
    """Schedule and updates of a training with an ordinary loss.

    Attributes:
        init: the model whose weights the fuser begins from: a weights file, a run folder, or a shipped model such as
            ``FUSER:TASK``. The fuser must have its options.
        epochs: number of epochs; each draws its crops anew.
        steps_per_epoch: updates per epoch.
        batch: pairs per batch.
        crop: side of the square crops, in pixels.
        lr: learning rate.
        lr_schedule: ``"none"``, ``"cosine"`` to a hundredth over the run, or ``"step"``: x0.1 every ``lr_step_epochs``.
        lr_step_epochs: epochs between the reductions of ``lr_schedule="step"``.
        optimizer: ``"adam"``, or ``"muon"``: orthogonalised momentum for the matrices, at 20 times ``lr``, and Adam
            for the other parameters.
        flip: flip crops at random.
        swap: swap the sources at random.
        both_orders: take every batch in both orders of the sources, which doubles it.
        ema_decay: decay of the exponential moving average of the weights, which is what is written out; 0 takes none.
        extensions: epochs of each extension of the training. Under ``lr_schedule="cosine"`` the rate falls anew in
            each; the other schedules go on.
    """

    init: str = ""
    epochs: _Count = 50
    steps_per_epoch: _Count = 100
    batch: Annotated[int, Field(ge=1, le=65_536)] = 4
    crop: Annotated[int, Field(ge=1, le=16_384)] = 128
    lr: Annotated[float, Field(gt=0, le=1e6)] = 1e-4
    lr_schedule: Literal["none", "cosine", "step"] = "none"
    lr_step_epochs: _Count = 10
    optimizer: Literal["adam", "muon"] = "adam"
    flip: bool = True
    swap: bool = False
    both_orders: bool = False
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    extensions: Annotated[tuple[_Count, ...], Field(max_length=1000)] = ()


class SingleLevelTrainer(MetaTrainer):
    """Trains a fuser by gradient descent on one loss. A method implements :meth:`build_fuser` and :meth:`loss`.

    Its options are a dataclass with a :class:`SingleLevelOptions` ``trainer``.

    Args:
        config: all options of the method.
        source: the training pairs.
        device: where to train.
        precision: ``"fp32"``, ``"tf32"`` or ``"bf16"`` (autocast).
        seed: of initial weights and draws.

    Raises:
        UsageError: options or pairs that the method cannot train with.
    """

    source: PairStore
    out_of_memory_advice = "lower trainer.batch or trainer.crop, or choose a smaller network"
    diverged_advice = "with a lower trainer.lr"

    def __init__(
        self,
        config: Options,
        source: PairStore,
        *,
        device: torch.device,
        precision: str = "fp32",
        seed: int = 0,
    ) -> None:
        self.config, self.source, self.device, self.precision, self.seed = config, source, device, precision, seed
        self.options: SingleLevelOptions = config.trainer
        check_bounds(self.options, "trainer")
        # One seeded stream initialises the network, whatever the device and whatever was drawn before.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = self.build_fuser(config)
        most, given = self.network.capabilities.max_sources, len(source.task.sources)
        if most is not None and given > most:
            raise UsageError(
                f"{self.fuser_name} fuses {most} sources at a time and the data has {given}: leave out the others"
            )
        self.network.to(device)
        self.processes = ALONE
        self._drawn: tuple[int, Tensor] | None = None
        self._prepare_updates()

    @abstractmethod
    def build_fuser(self, config: Options) -> Fuser:
        """Build the fuser, newly initialised from torch's seeded global stream."""

    @abstractmethod
    def loss(self, fuser: Fuser, batch: Batch) -> Terms:
        """The loss of the fuser on ``batch``, a mean over its samples; ``"total"`` is differentiated once."""

    @classmethod
    def crop(cls, config: Options) -> int:
        """Side of the crops, in pixels."""
        return int(config.trainer.crop)

    @classmethod
    def initial_model(cls, config: Options) -> str:
        """See :meth:`fusionkit.contracts.MetaTrainer.initial_model`: ``trainer.init``."""
        return str(config.trainer.init)

    @classmethod
    def extended(cls, config: Options, epochs: int) -> Options:
        """See :meth:`fusionkit.contracts.MetaTrainer.extended`: one more of ``trainer.extensions``."""
        schedule = replace(config.trainer, extensions=(*config.trainer.extensions, epochs))
        check_bounds(schedule, "trainer")
        return replace(config, trainer=schedule)

    def begin_from(self, fuser: Fuser) -> None:
        """See :meth:`fusionkit.contracts.MetaTrainer.begin_from`."""
        own, name = self.network, f"trainer.init={shortened(self.options.init)}"
        if type(fuser) is not type(own):
            raise UsageError(f"{name}: is a {type(fuser).__name__} and this method trains a {type(own).__name__}")
        then, now = as_dict(fuser.config), as_dict(own.config)
        differing = {key: then.get(key) for key in (*then, *now) if then.get(key) != now.get(key)}
        if differing:
            same = " ".join(f"--set fuser.{key}={_assigned(value)}" for key, value in differing.items())
            raise UsageError(f"{name}: its fuser has other options than this training's: give {same}")
        if problem := misfit(fuser.state_dict(), own.state_dict()):
            raise UsageError(f"{name}: its weights do not fit: {problem}")
        own.load_state_dict(fuser.state_dict())
        self._prepare_updates()

    def join(self, processes: Processes) -> None:
        """See :meth:`fusionkit.contracts.MetaTrainer.join`."""
        processes.check_batch(self.options.batch)
        self.processes = processes

    @property
    def steps(self) -> int:
        """Length of the whole schedule."""
        return self._ends[-1]

    @property
    def _ends(self) -> list[int]:
        """Steps at the end of the training and of each of its extensions."""
        o = self.options
        ends = [o.epochs * o.steps_per_epoch]
        for epochs in o.extensions:
            ends.append(ends[-1] + epochs * o.steps_per_epoch)
        return ends

    def rate(self, index: int) -> float:
        """Factor of the learning rate at step ``index``."""
        o = self.options
        if o.lr_schedule == "cosine":
            part = bisect_right(self._ends[:-1], index)
            begins, ends = [0, *self._ends][part : part + 2]
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (index - begins) / (ends - begins)))
        reductions = index // o.steps_per_epoch // o.lr_step_epochs
        return float(0.1**reductions) if o.lr_schedule == "step" else 1.0

    def stage(self, index: int) -> str:
        """Always ``"fusion"``."""
        return "fusion"

    def step(self, index: int) -> Terms:
        """Take step ``index``."""
        batch = self.source.crops(self.processes.share(self._rows(index)), self.options.crop)
        batch = in_both_orders(batch) if self.options.both_orders else batch
        named = dict(self.network.named_parameters())
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            terms = self.loss(self.network, batch)
        found = torch.autograd.grad(terms["total"], list(named.values()))
        self._rule.update(self.processes.mean(dict(zip(named, found, strict=True))), self.rate(index))
        if self._average is not None:
            self._average.update_parameters(self.network)
        return {name: value.detach() for name, value in terms.items()}

    def fuser(self) -> Fuser:
        """The fuser, averaged where the options ask for an average."""
        return self.network if self._average is None else self._average.module  # type: ignore[return-value]

    def state(self) -> dict[str, Tensor]:
        """Weights under ``fuser.``, moments under ``update.``, the averaged fuser under ``average.``."""
        average = {} if self._average is None else self._average.state_dict()
        parts: Mapping[str, Mapping[str, Tensor]] = {
            "fuser": self.network.state_dict(),
            "update": self._rule.state(),
            "average": average,
        }
        return {f"{part}.{name}": value for part, tensors in parts.items() for name, value in tensors.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state that :meth:`state` gave."""
        self.network.load_state_dict(under(state, "fuser."))
        self._rule.load_state(under(state, "update."))
        if self._average is not None:
            self._average.load_state_dict(under(state, "average."))

    def snapshot(self, sources: Sequence[Tensor]) -> dict[str, Tensor]:
        """The fused image, and the fuser's own maps of its weights, if it has any."""
        moved = [source.to(self.device) for source in sources]
        with torch.no_grad():
            return {"fused": self.fuser()(*moved), **self.fuser().maps(*moved)}

    def _prepare_updates(self) -> None:
        """Begin with no moments, and with an average that is a copy of the fuser."""
        o = self.options
        self._rule = make_rule(o.optimizer, self.network, o.lr)
        self._average = RunningAverage(self.network, o.ema_decay) if o.ema_decay else None

    def _rows(self, index: int) -> Tensor:
        """The rows ``(B, 6)`` of step ``index``, see :mod:`fusionkit.data.epoch_plan`."""
        epoch, position = divmod(index, self.options.steps_per_epoch)
        if self._drawn is None or self._drawn[0] != epoch:
            o = self.options
            plan = draw_epoch(
                self.source.sizes,
                seed=self.seed,
                epoch=epoch,
                meta_steps=0,
                fusion_steps=o.steps_per_epoch,
                batch=o.batch,
                crop=o.crop,
                flip=o.flip,
                swap=o.swap,
            )
            self._drawn = epoch, plan.ftr.to(self.source.home)
        return self._drawn[1][position]


def _assigned(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
