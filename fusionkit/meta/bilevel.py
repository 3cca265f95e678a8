"""Algorithm 1 for any fuser, loss proposer and critic: meta steps teach the proposer, fusion steps the other two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fusionkit.contracts import Batch, Critic, Fuser, LossProposer, MetaTrainer, Options, Terms
from fusionkit.data.plan import EpochPlan, draw_epoch
from fusionkit.data.store import PairStore
from fusionkit.errors import UsageError
from fusionkit.meta.hypergradient import (
    MetaGradient,
    critic_gradients,
    image_meta_gradient,
    meta_gradient,
    supports_forward_mode,
)
from fusionkit.meta.optimisers import GradientRule, make_rule


@dataclass(frozen=True)
class BilevelOptions:
    """Schedule and updates of the three-stage training.

    Attributes:
        epochs: L.
        warmup: epochs at the beginning that have no meta steps: a proposer that listens to an untrained critic
            learns its accidents. 0 is the paper's.
        meta_steps: M, meta steps an epoch.
        fusion_steps: N, fusion steps an epoch.
        batch: pairs a batch.
        crop: side of the square crops, in pixels.
        lr: learning rate of the fuser (Adam).
        lr_critic: learning rate of the critic (Adam); None takes ``lr``.
        lr_proposer: learning rate of the proposer; None takes ``lr``.
        eta: step size of the inner updates F' and R'; None takes ``lr``, and 1 for an inner step on the image.
        indifference: weight, in the outer loss, of how far the proposed maps lean to one source; 0 is the paper's.
        proposer_update: ``"adam"``, ``"normalized"`` (``lr g / max|g|``, TDFusion's public rule) or ``"sgd"``.
        proposer_eps: eps of the proposer's Adam: the exact hypergradient carries a factor eta and is minute.
        hypergradient: ``"exact"`` through F', or ``"image"``: the inner step taken on the fused image.
        method: how the exact one is computed: ``"forward"``, ``"double_backward"``, or ``"auto"``, forward wherever
            the fuser has forward-mode derivatives.
        scheme: ``"meta"``, Algorithm 1; ``"joint"``, ablation II: L_f and L_r train everything together;
            ``"inner"``, ablation III: no fusion steps, the inner update changes F and R.
        flip: flip crops at random.
        swap: swap the sources at random.
        average: decay of the running average of F's weights, which is what is written out; 0 turns it off.
        decay: ``"none"``, ``"cosine"`` to a hundredth over the run, or ``"step"``: x0.1 every ``decay_epochs``.
        decay_epochs: see ``decay``.
    """

    epochs: int = 50
    warmup: int = 0
    meta_steps: int = 600
    fusion_steps: int = 1600
    batch: int = 4
    crop: int = 128
    lr: float = 1e-4
    lr_critic: float | None = None
    lr_proposer: float | None = None
    eta: float | None = None
    indifference: float = 0.0
    proposer_update: Literal["adam", "normalized", "sgd"] = "adam"
    proposer_eps: float = 1e-10
    hypergradient: Literal["exact", "image"] = "exact"
    method: Literal["auto", "forward", "double_backward"] = "auto"
    scheme: Literal["meta", "joint", "inner"] = "meta"
    flip: bool = True
    swap: bool = False
    average: float = 0.0
    decay: Literal["none", "cosine", "step"] = "none"
    decay_epochs: int = 10


def check_options(options: BilevelOptions) -> None:
    """Refuse a schedule that cannot run.

    Raises:
        UsageError: naming the option and what it may be.
    """
    for name in ("epochs", "batch", "crop", "decay_epochs"):
        if getattr(options, name) < 1:
            raise UsageError(f"trainer.{name}={getattr(options, name)} must be at least 1")
    for name in ("meta_steps", "fusion_steps", "warmup"):
        if getattr(options, name) < 0:
            raise UsageError(f"trainer.{name}={getattr(options, name)} must not be negative")
    for name in ("lr", "lr_critic", "lr_proposer", "eta", "proposer_eps"):
        value = getattr(options, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"trainer.{name}={value} must be a positive number")
    if not 0 <= options.indifference < float("inf"):
        raise UsageError(f"trainer.indifference={options.indifference} must be zero or a positive number")
    if not 0 <= options.average < 1:
        raise UsageError(f"trainer.average={options.average} must lie in [0, 1)")
    if options.warmup >= options.epochs:
        raise UsageError(f"trainer.warmup={options.warmup} must be less than trainer.epochs={options.epochs}")
    if options.scheme == "inner" and options.warmup:
        raise UsageError("trainer.scheme=inner has no fusion steps to warm up with: set trainer.warmup=0")
    if options.scheme == "inner" and options.hypergradient == "image":
        raise UsageError("trainer.scheme=inner needs the inner steps of F and R: set trainer.hypergradient=exact")
    if options.scheme == "inner" and options.meta_steps == 0:
        raise UsageError("trainer.scheme=inner trains in meta steps: set trainer.meta_steps above 0")
    if options.scheme != "inner" and options.fusion_steps == 0:
        raise UsageError(f"trainer.scheme={options.scheme} trains in fusion steps: set trainer.fusion_steps above 0")


class BilevelTrainer(MetaTrainer):
    """The three-stage trainer. A method subclasses it and hands over its networks.

    Args:
        config: all options of the method.
        options: schedule and updates, a part of them.
        store: the training pairs.
        fuser: F.
        proposer: P; without parameters there is nothing to meta-learn and the meta steps fall away.
        critic: R, or a downstream network.
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
        critic: Critic,
        device: torch.device,
        precision: str,
        seed: int,
    ) -> None:
        check_options(options)
        self.config, self.source = config, store
        self.options, self.store, self.device, self.precision, self.seed = options, store, device, precision, seed
        self.networks = nn.ModuleDict({"fuser": fuser, "proposer": proposer, "critic": critic}).to(device)
        self._fuser, self._proposer, self._critic = fuser, proposer, critic
        self.average = (
            AveragedModel(fuser, multi_avg_fn=get_ema_multi_avg_fn(options.average)) if options.average else None
        )
        self._learns = any(True for _ in proposer.parameters()) and options.scheme != "joint"
        self.meta_steps = options.meta_steps if self._learns or options.scheme == "inner" else 0
        self.fusion_steps = options.fusion_steps if options.scheme != "inner" else 0
        lr = options.lr
        self._eta = options.eta or (lr if options.hypergradient == "exact" else 1.0)
        self._rules: dict[str, GradientRule] = {
            "fuser": make_rule("adam", fuser, lr),
            "critic": make_rule("adam", critic, options.lr_critic or lr),
            "proposer": make_rule(
                options.proposer_update, proposer, options.lr_proposer or lr, eps=options.proposer_eps
            ),
        }
        self._method = self._choose_method()
        self._plan: tuple[int, EpochPlan] | None = None

    @property
    def steps(self) -> int:
        return self.options.warmup * self.fusion_steps + (self.options.epochs - self.options.warmup) * self._per_epoch

    @property
    def _per_epoch(self) -> int:
        return self.meta_steps + self.fusion_steps

    def _locate(self, index: int) -> tuple[int, int]:
        """Epoch of a step, and its number in it, below 0 for the epoch's meta steps."""
        warm = self.options.warmup * self.fusion_steps
        if index < warm:
            return divmod(index, self.fusion_steps)
        epoch, position = divmod(index - warm, self._per_epoch)
        return self.options.warmup + epoch, position - self.meta_steps

    def stage(self, index: int) -> str:
        return "meta" if self._locate(index)[1] < 0 else "fusion"

    def step(self, index: int) -> Terms:
        epoch, position = self._locate(index)
        plan = self._epoch_plan(epoch)
        factor = self._decay(index, epoch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if position < 0:
                return self._meta_step(plan.mtr[position], plan.mts[position], factor)
            return self._fusion_step(self._crop(plan.ftr[position]), factor)

    def _meta_step(self, mtr_rows: Tensor, mts_rows: Tensor, factor: float) -> Terms:
        gradient = self._meta_gradient(self._crop(mtr_rows), self._crop(mts_rows))
        if self._learns:
            self._rules["proposer"].update(gradient.proposer, factor)
        if self.options.scheme == "inner":
            self._rules["fuser"].update(gradient.fuser, factor)
            self._rules["critic"].update(gradient.critic, factor)
            self._update_average()
        return {"total": gradient.outer["total"], "outer": gradient.outer["total"], "inner": gradient.inner["total"]}

    def _meta_gradient(self, mtr: Batch, mts: Batch) -> MetaGradient:
        networks = self._fuser, self._proposer, self._critic
        if self.options.hypergradient == "image":
            return image_meta_gradient(*networks, mts, eta=self._eta, indifference=self.options.indifference)
        return meta_gradient(
            *networks,
            mtr,
            mts,
            eta_fuser=self._eta,
            eta_critic=self._eta,
            indifference=self.options.indifference,
            method=self._method,
        )

    def _fusion_step(self, batch: Batch, factor: float) -> Terms:
        joint = self.options.scheme == "joint"
        with torch.no_grad():
            proposal = self._proposer(*batch.sources)
        fused = self._fuser(*batch.sources)
        loss = self._proposer.loss(proposal, fused, batch.sources)
        if joint:
            judged = self._critic.loss(fused, batch)
            both = dict(self.networks["fuser"].named_parameters()), dict(self.networks["critic"].named_parameters())
            flat = torch.autograd.grad(
                loss["total"] + judged["total"], [*both[0].values(), *both[1].values()], allow_unused=False
            )
            gradients = dict(zip(both[0], flat[: len(both[0])], strict=True))
            critic_slope = dict(zip(both[1], flat[len(both[0]) :], strict=True))
        else:
            names = dict(self._fuser.named_parameters())
            gradients = dict(zip(names, torch.autograd.grad(loss["total"], list(names.values())), strict=True))
            judged, critic_slope = critic_gradients(self._critic, fused.detach(), batch)
        self._rules["fuser"].update(gradients, factor)
        self._rules["critic"].update(critic_slope, factor)
        self._update_average()
        terms = {name: value.detach() for name, value in loss.items()}
        return {**terms, "critic": judged["total"].detach()}

    def _crop(self, rows: Tensor) -> Batch:
        return self.store.crops(rows, self.options.crop)

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

    def _decay(self, index: int, epoch: int) -> float:
        if self.options.decay == "cosine":
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * index / self.steps))
        if self.options.decay == "step":
            return float(0.1 ** (epoch // self.options.decay_epochs))
        return 1.0

    def _choose_method(self) -> Literal["forward", "double_backward"]:
        if self.options.method != "auto":
            return self.options.method
        channels = self.store.channels
        tiny = [torch.rand(1, channels, 8, 8, device=self.device) for _ in self.store.task.sources]
        return "forward" if supports_forward_mode(self._fuser, tiny) else "double_backward"

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
        self.networks.load_state_dict({n: v for n, v in state.items() if not n.startswith(("average.", "update."))})
        if self.average is not None:
            self.average.load_state_dict(_under(state, "average."))
        for name, rule in self._rules.items():
            rule.load_state(_under(state, f"update.{name}."))

    def snapshot(self, sources: Sequence[Tensor]) -> dict[str, Tensor]:
        moved = [source.to(self.device) for source in sources]
        with torch.no_grad():
            shown = {"fused": self.fuser()(*moved)}
            for name, maps in self._proposer(*moved).items():
                for k in range(maps.shape[1]):
                    shown[f"{name}_{'abcdefgh'[k]}"] = maps[:, k : k + 1]
        return shown


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
