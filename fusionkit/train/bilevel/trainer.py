"""Algorithm 1 for any fuser, loss proposer and outer loss: meta steps train the proposer, fusion steps the others."""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from fusionkit.config import as_dict
from fusionkit.contracts import Batch, Fuser, LossProposer, MetaTrainer, Options, OuterLoss, Reconstructor, Terms
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import UsageError
from fusionkit.io.text import shortened
from fusionkit.models.weights import misfit
from fusionkit.runtime.parameters import trainable
from fusionkit.runtime.processes import ALONE, Processes
from fusionkit.train.bilevel.cuda_graphs import CapturedSteps, CudaRecorder, Rates, Recorder
from fusionkit.train.bilevel.fusion_step import FusionRule, fusion_gradients, separate_gradients
from fusionkit.train.bilevel.meta_steps import MetaBatches, MetaStep, Networks, StepContext, make_meta_steps
from fusionkit.train.bilevel.microbatch import cached_samples, under
from fusionkit.train.bilevel.noise import Noise, in_unit, step_noise
from fusionkit.train.bilevel.options import BilevelOptions, check_options
from fusionkit.train.bilevel.planned_rows import PlannedRows
from fusionkit.train.bilevel.schedule import Schedule
from fusionkit.train.bilevel.source_orders import in_both_orders
from fusionkit.train.bilevel.updates import Updates


class BilevelTrainer(MetaTrainer):
    """The three-stage trainer. A method subclasses it and implements :meth:`build_networks`.

    Its options are a dataclass with a :class:`BilevelOptions` ``trainer``. Every batch has two views:
    :meth:`fusion_view` for the fusion loss and :meth:`outer_loss_view` for the outer loss. They are one unless a
    subclass overrides them.

    Args:
        config: all options of the method.
        source: the training pairs.
        device: where to train.
        precision: ``"fp32"``, ``"tf32"`` or ``"bf16"`` (autocast).
        seed: of initial weights and draws.
        outer_loss: in place of the method's own, for methods that take one.

    Raises:
        UsageError: options or pairs that the method cannot train with.

    Reference:
        Bai et al., ReFusion, IJCV 2025, Algorithm 1.
    """

    source: PairStore
    fusion_rule: FusionRule = staticmethod(separate_gradients)
    """The gradients of a fusion step."""
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
        outer_loss: OuterLoss | None = None,
    ) -> None:
        self.config, self.source, self.device, self.precision, self.seed = config, source, device, precision, seed
        self.given_outer_loss = outer_loss
        self.options = o = self.schedule_options()
        check_options(o)
        # One seeded stream initialises the networks, whatever the device and whatever was drawn before.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.parts = built = self.build_networks(config, source)
        self._check_parts()
        self.networks = nn.ModuleDict(vars(built)).to(device)
        self.updates = Updates(built, o)
        self.processes = ALONE
        self.schedule = Schedule(o, **self.steps_per_epoch())
        tried = [torch.full((1, source.channels, 8, 8), 0.5, device=device) for _ in source.task.sources]
        self.hypergradients: dict[str, MetaStep] = {}
        if self.schedule.meta_steps:
            self.hypergradients = make_meta_steps(
                built,
                tried,
                hypergradient=o.hypergradient,
                one_step=o.one_step,
                image_space=o.image_space,
                lr=o.lr,
            )
        # Crops that fit in a processor's cache are faster; a GPU takes the whole batch.
        cached = device.type == "cpu" and isinstance(built.outer_loss, Reconstructor)
        self.micro_batch = o.micro_batch or (cached_samples(o.crop) if cached else 0)
        self.plans = PlannedRows(source, o, self.schedule, seed)
        self._captured: CapturedSteps | None = None
        if device.type == "cuda" and o.cuda_graphs and source.home == device:
            self.capture(CudaRecorder())

    @abstractmethod
    def build_networks(self, config: Options, source: PairStore) -> Networks:
        """Build the method's networks, newly initialised from torch's seeded global stream.

        :attr:`given_outer_loss`, where there is one, takes the place of the method's own.
        """

    @classmethod
    def build_proposer(cls, config: Options) -> LossProposer | None:
        """The proposer as :meth:`build_networks` makes it, newly initialised; None where the options do not tell."""
        return None

    def schedule_options(self) -> BilevelOptions:
        """Schedule and updates: the options' group ``trainer``, unless a method completes it."""
        options: BilevelOptions = self.config.trainer
        return options

    def steps_per_epoch(self) -> dict[str, int]:
        """``meta_steps`` and ``fusion_steps`` per epoch; no meta steps where P has nothing to learn."""
        learns = bool(trainable(self.parts.proposer))
        return {"meta_steps": self.options.meta_steps if learns else 0, "fusion_steps": self.options.fusion_steps}

    def fusion_view(self, rows: Tensor) -> Batch:
        """The crops that the fusion loss sees of the pairs in ``rows`` ``(B, 6)`` of an epoch's plan."""
        return self.source.crops(rows, self.options.crop)

    def outer_loss_view(self, rows: Tensor, fusion: Batch) -> Batch:
        """Batch of the same pairs for the outer loss.

        Args:
            rows: ``(B, 6)``, see :mod:`fusionkit.data.epoch_plan`.
            fusion: the fusion view of the same rows. If it is returned itself, one fused image serves both.
        """
        return fusion

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
        check_options(schedule)
        return replace(config, trainer=schedule)

    @classmethod
    def proposer_of(cls, config: Options, state: Mapping[str, Tensor]) -> LossProposer | None:
        """The trained proposer in a checkpoint; None for fixed weights."""
        proposer = cls.build_proposer(config)
        if proposer is None or not proposer.state_dict():
            return None
        proposer.load_state_dict(under(state, "proposer."))
        return proposer

    def begin_from(self, fuser: Fuser) -> None:
        """See :meth:`fusionkit.contracts.MetaTrainer.begin_from`."""
        own, name = self.parts.fuser, f"trainer.init={shortened(self.options.init)}"
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
        # The running average begins as a copy of F.
        self.updates = Updates(self.parts, self.options)

    def join(self, processes: Processes) -> None:
        """See :meth:`fusionkit.contracts.MetaTrainer.join`."""
        processes.check_batch(self.options.batch)
        for way in self.hypergradients.values():
            way.check_shared()
        self.processes = processes
        # A collective that waits for another process cannot be recorded.
        self._captured = None

    def capture(self, recorder: Recorder) -> None:
        """Record each kind of step once, after its first steps, and replay it from then on.

        Args:
            recorder: CUDA graphs where the trainer runs on CUDA.
        """
        kinds = ("fusion", "frozen", *self.hypergradients)
        self._captured = CapturedSteps(self._work, kinds, recorder, self.device)

    @property
    def steps(self) -> int:
        """Length of the whole schedule."""
        return self.schedule.steps

    def stage(self, index: int) -> str:
        """``"meta"`` or ``"fusion"``."""
        return "meta" if self.schedule.locate(index)[1] < 0 else "fusion"

    def step(self, index: int) -> Terms:
        """Take step ``index``."""
        epoch, position = self.schedule.locate(index)
        kind, plan = self.schedule.kind(index), self.plans[epoch]
        tables = (plan.mtr, plan.mts) if position < 0 else (plan.ftr,)
        rows = tuple(self.processes.share(table[position]) for table in tables)
        # In steps that train F alone no outer loss sees the image, so no noise is drawn.
        noise = None if kind == "frozen" else self._noise(index)
        if self._captured is None:
            return self._work(kind, rows, self.schedule.rates(index), noise)
        drawn = None if noise is None else noise(self._like(), ())
        return self._captured.take(kind, rows, self.schedule.rates(index), drawn)

    def fuser(self) -> Fuser:
        """F, averaged where the options ask for an average."""
        return self.updates.averaged

    def state(self) -> dict[str, Tensor]:
        """Weights by network, moments under ``update.``, the averaged fuser under ``average.``."""
        return {**self.networks.state_dict(), **self.updates.state()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state, also one of a version that called the outer loss a critic."""
        state = {re.sub(r"^(update\.)?critic\.", r"\1outer_loss.", name): value for name, value in state.items()}
        self.networks.load_state_dict({n: v for n, v in state.items() if not n.startswith(("average.", "update."))})
        self.updates.load_state(state)

    def snapshot(self, sources: Sequence[Tensor]) -> dict[str, Tensor]:
        """The fused image, and every proposed map of every source."""
        moved = [source.to(self.device) for source in sources]
        with torch.no_grad():
            shown = {"fused": self.fuser()(*moved)}
            for name, maps in self.parts.proposer(*moved).items():
                for k in range(maps.shape[1]):
                    shown[f"{name}_{'abcdefgh'[k]}"] = maps[:, k : k + 1]
        return shown

    def meta_step(self, way: MetaStep, batches: MetaBatches, rates: Rates, context: StepContext) -> Terms:
        """Update P, and the outer loss where ``way`` trains it."""
        found = way.gradient(self.parts, batches, context)
        self.updates.proposer(found.proposer, rates[1])
        if way.trains_outer_loss:
            self.updates.outer_loss(found.outer_loss, rates[1])
        return {"total": found.outer["total"], "outer": found.outer["total"], "inner": found.inner["total"]}

    def fusion_step(self, rows: Tensor, rates: Rates, context: StepContext, *, frozen: bool) -> Terms:
        """Update F by the fusion loss and, unless it is frozen, the outer loss by itself."""
        batch, seen = (self._ordered(self.fusion_view(rows)), None) if frozen else self._views(rows)
        found = fusion_gradients(self.parts, batch, seen, context, self.fusion_rule)
        self.updates.fuser(found.fuser, rates[0])
        if not frozen:
            self.updates.outer_loss(found.outer_loss, rates[1])
        return found.terms

    def _check_parts(self) -> None:
        name = self.fuser_name or type(self).__name__
        most, given = self.parts.fuser.capabilities.max_sources, self.source.sources
        if most is not None and given > most:
            raise UsageError(f"{name} fuses {most} sources at a time and the data has {given}: leave out the others")
        if self.given_outer_loss not in (None, self.parts.outer_loss):
            raise UsageError(f"{name} has an outer loss of its own and takes none: leave outer_loss out")

    def _work(self, kind: str, rows: tuple[Tensor, ...], rates: Rates, noise: Noise | Tensor | None) -> Terms:
        added = _as_drawn(noise) if isinstance(noise, Tensor) else noise
        added = added and in_unit(added, self.options.outer_loss_noise.unit)
        context = StepContext(added, self.micro_batch, self.processes.mean, self.options.weight_map_kl)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if kind in ("fusion", "frozen"):
                return self.fusion_step(rows[0], rates, context, frozen=kind == "frozen")
            batches = MetaBatches(partial(self._views, rows[0]), partial(self._views, rows[1]))
            return self.meta_step(self.hypergradients[kind], batches, rates, context)

    def _noise(self, index: int) -> Noise | None:
        o, groups = self.options, 2 if self.options.both_orders else 1
        return step_noise(o.outer_loss_noise, seed=self.seed, step=index, processes=self.processes, groups=groups)

    def _like(self) -> Tensor:
        """An image of the shape of a batch's fused images."""
        samples = self.options.batch * (2 if self.options.both_orders else 1)
        return torch.empty(samples, self.source.channels, self.options.crop, self.options.crop, device=self.device)

    def _views(self, rows: Tensor) -> tuple[Batch, Batch]:
        fusion = self.fusion_view(rows)
        seen = self.outer_loss_view(rows, fusion)
        ordered = self._ordered(fusion)
        return ordered, ordered if seen is fusion else self._ordered(seen)

    def _ordered(self, batch: Batch) -> Batch:
        return in_both_orders(batch) if self.options.both_orders else batch


def _assigned(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _as_drawn(noise: Tensor) -> Noise:
    return lambda _image, _sources: noise
