"""Algorithm 1 for any fuser, loss proposer and outer loss: meta steps train the proposer, fusion steps the others."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from fusionkit.contracts import Batch, Fuser, LossProposer, MetaTrainer, Options, Reconstructor, Terms
from fusionkit.data.epoch_plan import EpochPlan, draw_epoch
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import UsageError
from fusionkit.runtime.processes import ALONE, Processes
from fusionkit.train.bilevel.cuda_graphs import CapturedStep, CudaRecorder, Recorder
from fusionkit.train.bilevel.ema import RunningAverage
from fusionkit.train.bilevel.fusion_step import fusion_gradients
from fusionkit.train.bilevel.meta_steps import MetaBatches, MetaStep, Networks, StepContext, make_meta_steps
from fusionkit.train.bilevel.microbatch import under
from fusionkit.train.bilevel.noise import Noise, in_unit, step_noise
from fusionkit.train.bilevel.optimisers import GradientRule, make_rule
from fusionkit.train.bilevel.options import BilevelOptions, check_options
from fusionkit.train.bilevel.schedule import Schedule
from fusionkit.train.bilevel.source_orders import in_both_orders

_Rates = tuple[float, float] | tuple[Tensor, Tensor]
"""Factors of the learning rates: the fuser's, and that of the other two. Tensors where steps are captured."""

CACHED_PIXELS = 128 * 128
"""Pixels of crops whose features fit in a processor's cache."""


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

    Raises:
        UsageError: options or pairs that the method cannot train with.

    Reference:
        Bai et al., ReFusion, IJCV 2025, Algorithm 1.
    """

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
        self.options = self.schedule_options()
        check_options(self.options)
        # One seeded stream initialises the networks, whatever the device and whatever was drawn before.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = self.build_networks(config, source)
        most, given = built.fuser.capabilities.max_sources, source.sources
        if most is not None and given > most:
            name = self.fuser_name or type(self).__name__
            raise UsageError(f"{name} fuses {most} sources at a time and the data has {given}: leave out the others")
        self.parts = built
        self.networks = nn.ModuleDict(vars(built)).to(device)
        self._fuser, self._proposer, self._outer_loss = built.fuser, built.proposer, built.outer_loss
        self.ema = RunningAverage(built.fuser, self.options.ema_decay) if self.options.ema_decay else None
        self.processes = ALONE
        self._learns = any(True for _ in built.proposer.parameters())
        self.schedule = Schedule(self.options, **self.steps_per_epoch())
        self.hypergradients = make_meta_steps(self.options, built, self._tiny()) if self.schedule.meta_steps else {}
        self.rules = self._make_rules()
        self._plan: tuple[int, EpochPlan] | None = None
        self._captured: dict[str, CapturedStep] = {}
        if device.type == "cuda" and self.options.cuda_graphs and source.home == device:
            self.capture(CudaRecorder())

    @abstractmethod
    def build_networks(self, config: Options, source: PairStore) -> Networks:
        """Build the method's networks, newly initialised from torch's seeded global stream."""

    def schedule_options(self) -> BilevelOptions:
        """Schedule and updates: the options' group ``trainer``, unless a method completes it."""
        options: BilevelOptions = self.config.trainer
        return options

    def steps_per_epoch(self) -> dict[str, int]:
        """``meta_steps`` and ``fusion_steps`` per epoch; no meta steps where P has nothing to learn."""
        return {
            "meta_steps": self.options.meta_steps if self._learns else 0,
            "fusion_steps": self.options.fusion_steps,
        }

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
    def untrained_proposer(cls, config: Options) -> LossProposer | None:
        """A proposer as :meth:`build_networks` makes it; None where its weights are fixed or a method cannot tell."""
        return None

    @classmethod
    def proposer_of(cls, config: Options, state: Mapping[str, Tensor]) -> LossProposer | None:
        """The trained proposer in a checkpoint; None for fixed weights."""
        proposer = cls.untrained_proposer(config)
        if proposer is not None:
            proposer.load_state_dict(under(state, "proposer."))
        return proposer

    def join(self, processes: Processes) -> None:
        """See :meth:`fusionkit.contracts.MetaTrainer.join`."""
        processes.check_batch(self.options.batch)
        whole = [step for step in self.hypergradients.values() if getattr(step, "method", "") == "double_backward"]
        if whole:
            raise UsageError(
                "double backward takes the whole batch in one process: set trainer.hypergradient=image_space, or start "
                "it without torchrun"
            )
        self.processes = processes
        # A collective that waits for another process cannot be recorded.
        self._captured = {}

    def capture(self, recorder: Recorder) -> None:
        """Record each kind of step once, after its first steps, and replay it from then on.

        Args:
            recorder: CUDA graphs where the trainer runs on CUDA.
        """
        self._rates = torch.ones((), device=self.device), torch.ones((), device=self.device)
        kinds = ("fusion", "frozen", *self.hypergradients)
        self._captured = {kind: CapturedStep(partial(self._captured_work, kind), recorder) for kind in kinds}

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
        plan = self._epoch_plan(epoch)
        rates = self.schedule.rates(index)
        kind = self._kind(epoch, position)
        tables = (plan.mtr, plan.mts) if position < 0 else (plan.ftr,)
        rows = tuple(self.processes.share(table[position]) for table in tables)
        # In steps that train F alone no outer loss sees the image, so no noise is drawn.
        noise = None if kind == "frozen" else self._noise(index)
        captured = self._captured.get(kind)
        if captured is None:
            return self._work(kind, rows, rates, noise)
        for held, rate in zip(self._rates, rates, strict=True):
            held.fill_(rate)
        return captured(*rows) if noise is None else captured(*rows, noise(self._like(), ()))

    def fuser(self) -> Fuser:
        """F, averaged where the options ask for an average."""
        return self._fuser if self.ema is None else self.ema.module  # type: ignore[return-value]

    def state(self) -> dict[str, Tensor]:
        """Weights by network, moments under ``update.``, the averaged fuser under ``average.``."""
        flat: dict[str, Tensor] = dict(self.networks.state_dict())
        if self.ema is not None:
            flat |= {f"average.{name}": value for name, value in self.ema.state_dict().items()}
        for name, rule in self.rules.items():
            flat |= {f"update.{name}.{key}": value for key, value in rule.state().items()}
        return flat

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state, also one of a version that called the outer loss a critic."""
        state = {re.sub(r"^(update\.)?critic\.", r"\1outer_loss.", name): value for name, value in state.items()}
        self.networks.load_state_dict({n: v for n, v in state.items() if not n.startswith(("average.", "update."))})
        if self.ema is not None:
            self.ema.load_state_dict(under(state, "average."))
        for name, rule in self.rules.items():
            rule.load_state(under(state, f"update.{name}."))

    def snapshot(self, sources: Sequence[Tensor]) -> dict[str, Tensor]:
        """The fused image, and every proposed map of every source."""
        moved = [source.to(self.device) for source in sources]
        with torch.no_grad():
            shown = {"fused": self.fuser()(*moved)}
            for name, maps in self._proposer(*moved).items():
                for k in range(maps.shape[1]):
                    shown[f"{name}_{'abcdefgh'[k]}"] = maps[:, k : k + 1]
        return shown

    def meta_step(self, way: MetaStep, batches: MetaBatches, rates: _Rates, context: StepContext) -> Terms:
        """Update P, and the outer loss where ``way`` trains it."""
        found = way.gradient(self.parts, batches, context)
        self.rules["proposer"].update(found.proposer, rates[1])
        if way.trains_outer_loss:
            self.rules["outer_loss"].update(found.outer_loss, rates[1])
        return {"total": found.outer["total"], "outer": found.outer["total"], "inner": found.inner["total"]}

    def fusion_step(self, rows: Tensor, rates: _Rates, context: StepContext, *, frozen: bool) -> Terms:
        """Update F by the fusion loss and, unless it is frozen, the outer loss by itself."""
        batch, seen = (self._ordered(self.fusion_view(rows)), None) if frozen else self._views(rows)
        gradients = fusion_gradients(self.parts, batch, seen, context)
        self.rules["fuser"].update(gradients.fuser, rates[0])
        if not frozen:
            self.rules["outer_loss"].update(gradients.outer_loss, rates[1])
        self.update_ema()
        return gradients.terms

    def update_ema(self) -> None:
        """Update the average of the fuser's weights, if there is one."""
        if self.ema is not None:
            self.ema.update_parameters(self._fuser)

    def _make_rules(self) -> dict[str, GradientRule]:
        o = self.options
        return {
            "fuser": make_rule(o.fuser_optimizer, self._fuser, o.lr),
            "outer_loss": make_rule(o.outer_loss_optimizer, self._outer_loss, o.lr_outer_loss or o.lr),
            "proposer": make_rule(o.proposer_optimizer, self._proposer, o.lr_proposer or o.lr, eps=o.proposer_eps),
        }

    def _kind(self, epoch: int, position: int) -> str:
        """``"fusion"``, ``"frozen"`` for a fusion step of F alone, or the name of a way to take a meta step."""
        if position >= 0:
            alone = any(step.trains_outer_loss for step in self.hypergradients.values()) or self.schedule.frozen(epoch)
            return "frozen" if alone else "fusion"
        in_image_space = epoch < self.options.warmup + self.options.image_space_epochs
        return "image_space" if in_image_space else self.options.hypergradient

    def _work(self, kind: str, rows: tuple[Tensor, ...], rates: _Rates, noise: Noise | None) -> Terms:
        noise = noise and in_unit(noise, self.options.outer_loss_noise.unit)
        context = StepContext(noise, self._micro_batch, self.processes.mean, self.options.weight_map_kl)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if kind in ("fusion", "frozen"):
                return self.fusion_step(rows[0], rates, context, frozen=kind == "frozen")
            batches = MetaBatches(partial(self._views, rows[0]), partial(self._views, rows[1]))
            return self.meta_step(self.hypergradients[kind], batches, rates, context)

    def _captured_work(self, kind: str, *inputs: Tensor) -> dict[str, Tensor]:
        rows, drawn = (inputs[:1], inputs[1:]) if kind in ("fusion", "frozen") else (inputs[:2], inputs[2:])
        return dict(self._work(kind, rows, self._rates, (lambda _image, _sources: drawn[0]) if drawn else None))

    def _noise(self, index: int) -> Noise | None:
        return step_noise(
            self.options.outer_loss_noise,
            seed=self.seed,
            step=index,
            processes=self.processes,
            groups=2 if self.options.both_orders else 1,
        )

    def _like(self) -> Tensor:
        """An image of the shape of a batch's fused images."""
        samples = self.options.batch * (2 if self.options.both_orders else 1)
        return torch.empty(samples, self.source.channels, self.options.crop, self.options.crop, device=self.device)

    @property
    def _micro_batch(self) -> int:
        if self.options.micro_batch or self.device.type != "cpu" or not isinstance(self._outer_loss, Reconstructor):
            return self.options.micro_batch
        return max(CACHED_PIXELS // self.options.crop**2, 1)

    def _views(self, rows: Tensor) -> tuple[Batch, Batch]:
        fusion = self.fusion_view(rows)
        seen = self.outer_loss_view(rows, fusion)
        ordered = self._ordered(fusion)
        return ordered, ordered if seen is fusion else self._ordered(seen)

    def _ordered(self, batch: Batch) -> Batch:
        return in_both_orders(batch) if self.options.both_orders else batch

    def _epoch_plan(self, epoch: int) -> EpochPlan:
        if self._plan is None or self._plan[0] != epoch:
            o, home = self.options, self.source.home
            drawn = draw_epoch(
                self.source.sizes,
                seed=self.seed,
                epoch=epoch,
                meta_steps=self.schedule.meta_steps,
                fusion_steps=self.schedule.fusion_steps,
                batch=o.batch,
                crop=o.crop,
                flip=o.flip,
                swap=o.swap,
            )
            self._plan = epoch, EpochPlan(drawn.mtr.to(home), drawn.mts.to(home), drawn.ftr.to(home))
        return self._plan[1]

    def _tiny(self) -> list[Tensor]:
        """A small pair, to try on it what the networks can do."""
        return [torch.full((1, self.source.channels, 8, 8), 0.5, device=self.device) for _ in self.source.task.sources]
