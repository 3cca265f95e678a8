"""Algorithm 1 for any fuser, loss proposer and outer loss: meta steps train the proposer, fusion steps the others."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from fusionkit.contracts import Batch, Fuser, LossProposer, MetaTrainer, Options, OuterLoss, Reconstructor, Terms
from fusionkit.data.epoch_plan import EpochPlan, draw_epoch
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import UsageError
from fusionkit.runtime.processes import ALONE, Processes
from fusionkit.train.bilevel.closed_form_step import closed_form_meta_gradient
from fusionkit.train.bilevel.cuda_graphs import CapturedStep, CudaRecorder, Recorder
from fusionkit.train.bilevel.ema import RunningAverage
from fusionkit.train.bilevel.fusion_step import fusion_gradients
from fusionkit.train.bilevel.hypergradient import (
    MetaGradient,
    image_space_meta_gradient,
    meta_gradient,
    supports_forward_mode,
)
from fusionkit.train.bilevel.microbatch import under
from fusionkit.train.bilevel.noise import Noise, draw_noise, in_unit
from fusionkit.train.bilevel.optimisers import GradientRule, make_rule
from fusionkit.train.bilevel.options import BilevelOptions, check_options
from fusionkit.train.bilevel.source_orders import in_both_orders

_Kind = Literal["fusion", "frozen", "image_space", "one_step", "closed_form"]

_Rates = tuple[float, float] | tuple[Tensor, Tensor]
"""Factors of the learning rates: the fuser's, and that of the other two. Tensors where steps are captured."""

CACHED_PIXELS = 128 * 128
"""Pixels of crops that a processor's cache still holds the features of."""


class BilevelTrainer(MetaTrainer):
    """The three-stage trainer. A method subclasses it and hands over its networks.

    Every batch has two views: :meth:`fusion_view` for the fusion loss and :meth:`outer_loss_view` for the outer loss.
    They are one unless a subclass says otherwise.

    Args:
        config: all options of the method.
        options: schedule and updates, a part of them.
        store: the training pairs.
        fuser: F.
        proposer: P; without parameters there is nothing to meta-learn and the meta steps fall away.
        outer_loss: R, or a downstream network; differentiated once only.
        device: where to train.
        precision: ``"fp32"``, ``"tf32"`` or ``"bf16"`` (autocast).
        seed: of the draws; the networks come initialised.

    Reference:
        Bai et al., ReFusion, IJCV 2025, Algorithm 1.
    """

    def __init__(
        self,
        config: Options,
        options: BilevelOptions,
        store: PairStore,
        *,
        fuser: Fuser,
        proposer: LossProposer,
        outer_loss: OuterLoss,
        device: torch.device,
        precision: str,
        seed: int,
    ) -> None:
        check_options(options)
        self.config, self.source = config, store
        self.options, self.store, self.device, self.precision, self.seed = options, store, device, precision, seed
        self.networks = nn.ModuleDict({"fuser": fuser, "proposer": proposer, "outer_loss": outer_loss}).to(device)
        self._fuser, self._proposer, self._outer_loss = fuser, proposer, outer_loss
        self.average = RunningAverage(fuser, options.ema_decay) if options.ema_decay else None
        self.processes = ALONE
        self._learns = any(True for _ in proposer.parameters()) and options.scheme != "joint"
        self.meta_steps = options.meta_steps if self._learns or options.scheme == "inner" else 0
        self.fusion_steps = options.fusion_steps if options.scheme != "inner" else 0
        lr = options.lr
        # There R learns with P, on what the loss asks for, and the fusion steps are F's alone.
        self._at_optimum = self._learns and options.hypergradient == "closed_form"
        # The inner step's size: of weights as of an optimiser's, of pixels as far as the gradient says.
        self._eta = {"one_step": options.inner_lr or lr, "image_space": options.inner_lr or 1.0}
        self._rules: dict[str, GradientRule] = {
            "fuser": make_rule(options.fuser_optimizer, fuser, lr),
            "outer_loss": make_rule(options.outer_loss_optimizer, outer_loss, options.lr_outer_loss or lr),
            "proposer": make_rule(
                options.proposer_optimizer, proposer, options.lr_proposer or lr, eps=options.proposer_eps
            ),
        }
        self._method = self._choose_method()
        if self._at_optimum and proposer.minimiser(proposer(*self._tiny()), self._tiny()) is None:
            raise UsageError(
                f"{type(proposer).__name__}'s fusion loss, with these options, has no minimiser in closed form: set "
                "trainer.hypergradient=image_space or one_step"
            )
        self._plan: tuple[int, EpochPlan] | None = None
        self._captured: dict[str, CapturedStep] = {}
        if device.type == "cuda" and options.cuda_graphs and store.home == device:
            self.capture(CudaRecorder())

    def join(self, processes: Processes) -> None:
        processes.check_batch(self.options.batch)
        if self._method == "double_backward" and self.meta_steps and self.options.hypergradient == "one_step":
            raise UsageError(
                "double backward takes the whole batch in one process: set trainer.hypergradient=image_space, or start "
                "it without torchrun"
            )
        self.processes = processes
        # A collective that waits for another process has no place in a recording.
        self._captured = {}

    def capture(self, recorder: Recorder) -> None:
        """Record each kind of step once, from its next ones on, and replay it from then on.

        Args:
            recorder: what records; CUDA graphs where the trainer runs on CUDA.
        """
        self._rates = torch.ones((), device=self.device), torch.ones((), device=self.device)
        self._captured = {kind: CapturedStep(partial(self._captured_work, kind), recorder) for kind in get_args(_Kind)}

    @property
    def steps(self) -> int:
        return self._learning_steps + self.options.frozen_epochs * self.fusion_steps

    @property
    def _learning_steps(self) -> int:
        """Those before the fusion loss is settled."""
        o = self.options
        return o.warmup * self.fusion_steps + (o.epochs - o.warmup - o.frozen_epochs) * self._per_epoch

    @property
    def _per_epoch(self) -> int:
        return self.meta_steps + self.fusion_steps

    def _locate(self, index: int) -> tuple[int, int]:
        """Epoch of a step, and its number in it, below 0 for the epoch's meta steps."""
        warm = self.options.warmup * self.fusion_steps
        if index < warm:
            return divmod(index, self.fusion_steps)
        if index >= self._learning_steps:
            epoch, position = divmod(index - self._learning_steps, self.fusion_steps)
            return self.options.epochs - self.options.frozen_epochs + epoch, position
        epoch, position = divmod(index - warm, self._per_epoch)
        return self.options.warmup + epoch, position - self.meta_steps

    def stage(self, index: int) -> str:
        return "meta" if self._locate(index)[1] < 0 else "fusion"

    def _kind(self, epoch: int, position: int) -> _Kind:
        """What a step does: a fusion step, with or without the outer loss, or a meta step of one of the kinds."""
        if position >= 0:
            alone = self._at_optimum or epoch >= self.options.epochs - self.options.frozen_epochs
            return "frozen" if alone else "fusion"
        return (
            "image_space"
            if epoch < self.options.warmup + self.options.image_space_epochs
            else self.options.hypergradient
        )

    def step(self, index: int) -> Terms:
        epoch, position = self._locate(index)
        plan = self._epoch_plan(epoch)
        rates = self._decay(index, epoch)
        kind = self._kind(epoch, position)
        tables = (plan.mtr, plan.mts) if position < 0 else (plan.ftr,)
        rows = tuple(self.processes.share(table[position]) for table in tables)
        # F alone is shown to nobody.
        noise = None if kind == "frozen" else self._noise(index)
        captured = self._captured.get(kind)
        if captured is None:
            return self._work(kind, rows, rates, noise)
        for held, rate in zip(self._rates, rates, strict=True):
            held.fill_(rate)
        return captured(*rows) if noise is None else captured(*rows, noise(self._like(), ()))

    def _work(self, kind: _Kind, rows: tuple[Tensor, ...], rates: _Rates, noise: Noise | None) -> Terms:
        noise = noise and in_unit(noise, self.options.outer_loss_noise.unit)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if kind in ("fusion", "frozen"):
                return self._fusion_step(kind, rows[0], rates, noise)
            return self._meta_step(kind, rows[0], rows[1], rates, noise)

    def _captured_work(self, kind: _Kind, *inputs: Tensor) -> dict[str, Tensor]:
        rows, drawn = (inputs[:1], inputs[1:]) if kind in ("fusion", "frozen") else (inputs[:2], inputs[2:])
        return dict(self._work(kind, rows, self._rates, (lambda _image, _sources: drawn[0]) if drawn else None))

    def _like(self) -> Tensor:
        """An image of the shape of a batch's fused images."""
        samples = self.options.batch * (2 if self.options.both_orders else 1)
        return torch.empty(samples, self.store.channels, self.options.crop, self.options.crop, device=self.device)

    def _noise(self, index: int) -> Noise | None:
        o = self.options.outer_loss_noise
        if o.pixel == o.patch == 0:
            return None
        drawn = partial(draw_noise, pixel=o.pixel, patch=o.patch, patch_size=o.patch_size, seed=self.seed, step=index)

        def own(like: Tensor, _sources: Sequence[Tensor]) -> Tensor:
            if self.processes.count == 1:
                return drawn(like)
            # Every process draws the whole batch's and takes its samples' part.
            whole = like.new_empty(like.shape[0] * self.processes.count, *like.shape[1:])
            return self.processes.share(drawn(whole), groups=2 if self.options.both_orders else 1)

        return own

    @property
    def _micro_batch(self) -> int:
        if self.options.micro_batch or self.device.type != "cpu" or not isinstance(self._outer_loss, Reconstructor):
            return self.options.micro_batch
        return max(CACHED_PIXELS // self.options.crop**2, 1)

    def fusion_view(self, rows: Tensor) -> Batch:
        """What the fusion loss sees of the pairs that the rows of a plan name: their crops."""
        return self.store.crops(rows, self.options.crop)

    def outer_loss_view(self, rows: Tensor, fusion: Batch) -> Batch:
        """What the outer loss sees of them.

        Args:
            rows: ``(B, 6)``, see :mod:`fusionkit.data.epoch_plan`.
            fusion: the fusion view of the same rows. Returned itself, its fused image serves both.
        """
        return fusion

    def _views(self, rows: Tensor) -> tuple[Batch, Batch]:
        fusion = self.fusion_view(rows)
        outer_loss = self.outer_loss_view(rows, fusion)
        doubled = self._ordered(fusion)
        return doubled, doubled if outer_loss is fusion else self._ordered(outer_loss)

    def _ordered(self, batch: Batch) -> Batch:
        return in_both_orders(batch) if self.options.both_orders else batch

    def _meta_step(self, kind: _Kind, mtr_rows: Tensor, mts_rows: Tensor, rates: _Rates, noise: Noise | None) -> Terms:
        gradient = self._meta_gradient(kind, mtr_rows, mts_rows, noise)
        if self._learns:
            self._rules["proposer"].update(gradient.proposer, rates[1])
        if self.options.scheme == "inner":
            self._rules["fuser"].update(gradient.fuser, rates[0])
            self._update_average()
        if self.options.scheme == "inner" or kind == "closed_form":
            self._rules["outer_loss"].update(gradient.outer_loss, rates[1])
        return {"total": gradient.outer["total"], "outer": gradient.outer["total"], "inner": gradient.inner["total"]}

    def _meta_gradient(self, kind: _Kind, mtr_rows: Tensor, mts_rows: Tensor, noise: Noise | None) -> MetaGradient:
        weight_map_kl, eta = (
            self.options.weight_map_kl,
            self._eta["image_space" if kind == "image_space" else "one_step"],
        )
        networks = self._fuser, self._proposer, self._outer_loss
        mts = self._views(mts_rows)[1]
        if kind == "closed_form":
            return closed_form_meta_gradient(
                self._proposer,
                self._outer_loss,
                mts,
                weight_map_kl=weight_map_kl,
                noise=noise,
                micro_batch=self._micro_batch,
                mean=self.processes.mean,
            )
        if kind == "image_space":
            return image_space_meta_gradient(
                *networks, mts, eta=eta, weight_map_kl=weight_map_kl, noise=noise, mean=self.processes.mean
            )
        mtr, mtr_outer_loss = self._views(mtr_rows)
        return meta_gradient(
            *networks,
            mtr,
            mts,
            mtr_outer_loss=mtr_outer_loss,
            eta_fuser=eta,
            eta_outer_loss=eta,
            weight_map_kl=weight_map_kl,
            noise=noise,
            method=self._method,
            micro_batch=self._micro_batch,
            mean=self.processes.mean,
        )

    def _fusion_step(self, kind: _Kind, rows: Tensor, rates: _Rates, noise: Noise | None) -> Terms:
        if kind == "frozen":
            batch = shown = self._ordered(self.fusion_view(rows))
        else:
            batch, shown = self._views(rows)
        slopes, outer_loss_slopes, terms = fusion_gradients(
            self._fuser,
            self._proposer,
            None if kind == "frozen" else self._outer_loss,
            batch,
            shown=shown,
            heard=self.options.scheme in ("joint", "guided"),
            noise=noise,
            micro_batch=self._micro_batch,
            mean=self.processes.mean,
        )
        self._rules["fuser"].update(slopes, rates[0])
        if kind != "frozen":
            self._rules["outer_loss"].update(outer_loss_slopes, rates[1])
        self._update_average()
        return terms

    def _update_average(self) -> None:
        if self.average is not None:
            self.average.update_parameters(self._fuser)

    def _epoch_plan(self, epoch: int) -> EpochPlan:
        if self._plan is None or self._plan[0] != epoch:
            options = self.options
            drawn = draw_epoch(
                self.store.sizes,
                seed=self.seed,
                epoch=epoch,
                meta_steps=self.meta_steps,
                fusion_steps=self.fusion_steps,
                batch=options.batch,
                crop=options.crop,
                flip=options.flip,
                swap=options.swap,
            )
            home = self.store.home
            self._plan = epoch, EpochPlan(drawn.mtr.to(home), drawn.mts.to(home), drawn.ftr.to(home))
        return self._plan[1]

    def _decay(self, index: int, epoch: int) -> tuple[float, float]:
        """Of the fuser over the run, of the other two over the part of it in which they learn."""
        if self.options.lr_schedule == "cosine":
            return _cosine(index / self.steps), _cosine(min(index / max(self._learning_steps, 1), 1.0))
        rate = float(0.1 ** (epoch // self.options.lr_step_epochs)) if self.options.lr_schedule == "step" else 1.0
        return rate, rate

    def _choose_method(self) -> Literal["forward", "double_backward"]:
        if self.options.autodiff != "auto":
            return self.options.autodiff
        return "forward" if supports_forward_mode(self._fuser, self._tiny()) else "double_backward"

    def _tiny(self) -> list[Tensor]:
        """A small pair, to try on it what the networks can do."""
        return [torch.full((1, self.store.channels, 8, 8), 0.5, device=self.device) for _ in self.store.task.sources]

    def fuser(self) -> Fuser:
        return self._fuser if self.average is None else self.average.module  # type: ignore[return-value]

    def state(self) -> dict[str, Tensor]:
        flat: dict[str, Tensor] = dict(self.networks.state_dict())
        if self.average is not None:
            flat |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for name, rule in self._rules.items():
            flat |= {f"update.{name}.{key}": value for key, value in rule.state().items()}
        return flat

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        state = current_entries(state)
        self.networks.load_state_dict({n: v for n, v in state.items() if not n.startswith(("average.", "update."))})
        if self.average is not None:
            self.average.load_state_dict(under(state, "average."))
        for name, rule in self._rules.items():
            rule.load_state(under(state, f"update.{name}."))

    def snapshot(self, sources: Sequence[Tensor]) -> dict[str, Tensor]:
        moved = [source.to(self.device) for source in sources]
        with torch.no_grad():
            shown = {"fused": self.fuser()(*moved)}
            for name, maps in self._proposer(*moved).items():
                for k in range(maps.shape[1]):
                    shown[f"{name}_{'abcdefgh'[k]}"] = maps[:, k : k + 1]
        return shown


def _cosine(along: float) -> float:
    """From 1 to a hundredth over half a wave."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along))


def current_entries(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint under today's names: what was called the critic is the outer loss."""
    return {re.sub(r"^(update\.)?critic\.", r"\1outer_loss.", name): value for name, value in state.items()}
