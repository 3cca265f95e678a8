"""What the outer loss thinks of maps: R trained under maps made by hand, beside R with a P that learns them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paper.report import MEASURED, Line, Panel, Report
from benchmarks.paper.schedules import TRAINER
from benchmarks.paper.study import Study
from benchmarks.paper.tables import circumstances, flat
from benchmarks.paper.variants import Variant, choose
from fusionkit.bench.datasets import Dataset, find_datasets
from fusionkit.config import merged, resolve
from fusionkit.contracts import LossProposer, Proposal, Terms
from fusionkit.data.epoch_plan import draw_epoch
from fusionkit.data.pair_store import PairStore, decode_source
from fusionkit.errors import UsageError
from fusionkit.fuse.tensors import stretch_range
from fusionkit.metrics import score
from fusionkit.plugins import catalogue
from fusionkit.tasks import Task
from fusionkit.train.bilevel import closed_form_meta_gradient
from fusionkit.train.bilevel.noise import Noise, draw_noise, in_unit, through
from fusionkit.train.bilevel.optimisers import make_rule
from fusionkit_refusion.proposer import ReFusionProposer
from fusionkit_refusion.reconstructor import ReFusionReconstructor
from fusionkit_restormer.losses import sobel, weighted_fusion_loss, weighted_fusion_minimiser

LEARNED = "learned with R"
COLUMNS = ("L_r", "SCD", "Qabf", "CC-a", "CC-b")
BATCHES = 32
"""Batches of crops of a test set that L_r is measured on."""

_PROFILE = "refusion"
_UNSEEN = 2**20
"""Steps that no training reaches: what L_r is measured through is other noise than what R learned from."""


@dataclass(frozen=True)
class HandOptions:
    """Maps that need no learning.

    Attributes:
        w: intensity: ``"half"`` of both sources, of the ``"brighter"`` one, all of source ``"a"`` or all of ``"b"``.
        v: gradient: ``"half"`` of both, or of the ``"stronger"`` one, by the energy of 5x5 pixels.
        alpha: weight of the gradient term of L_f.
    """

    w: Literal["half", "brighter", "a", "b"] = "half"
    v: Literal["half", "stronger"] = "half"
    alpha: float = 1.0


class HandMaps(LossProposer):
    """w and v of two sources by a rule, nothing to learn."""

    Config = HandOptions
    config: HandOptions

    def forward(self, *sources: Tensor) -> Proposal:
        """``w`` and ``v``, each ``(B, 2, H, W)`` of 0, 1/2 and 1."""
        a, b = sources
        half = torch.full_like(a, 0.5)
        energies = [F.avg_pool2d(sobel(x).square().sum(1, keepdim=True), 5, 1, 2) for x in sources]
        w = {
            "half": half,
            "brighter": _larger(a, b),
            "a": torch.ones_like(a),
            "b": torch.zeros_like(a),
        }[self.config.w]
        v = half if self.config.v == "half" else _larger(*energies)
        return {"w": torch.cat((w, 1 - w), 1), "v": torch.cat((v, 1 - v), 1)}

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        """L_f under these maps."""
        return weighted_fusion_loss(fused, sources, proposal["w"], proposal["v"], alpha=self.config.alpha)

    def minimiser(self, proposal: Proposal, sources: Sequence[Tensor]) -> Tensor:
        """Of L_f, limited to [0, 1]."""
        image = weighted_fusion_minimiser(sources, proposal["w"], proposal["v"], alpha=self.config.alpha)
        return image.clamp(0, 1)


def _larger(a: Tensor, b: Tensor) -> Tensor:
    """1 where a is larger, 0 where b is, 1/2 where they are alike."""
    return 0.5 + 0.5 * torch.sign(a - b)


ROWS = (
    Variant("full", LEARNED),
    Variant("half", "w = v = 1/2", {"w": "half", "v": "half"}),
    Variant("half-stronger", "w = 1/2, v the stronger gradient", {"w": "half", "v": "stronger"}),
    Variant("brighter-stronger", "w the brighter source, v the stronger gradient", {"w": "brighter", "v": "stronger"}),
    Variant("a-stronger", "w source a, v the stronger gradient", {"w": "a", "v": "stronger"}),
    Variant("b-stronger", "w source b, v the stronger gradient", {"w": "b", "v": "stronger"}),
)
"""The maps; their options are those of :class:`HandOptions`."""


def maps(study: Study, *, rows: Sequence[str], command: str) -> Report:
    """For each kind of maps, the outer loss that R comes to, and what the minimiser of L_f under them is worth.

    R (and P, where it learns) trains for the meta steps of the schedule at the minimiser, through its noise. Then
    L_r is measured on crops of the test pairs, and the metrics on the minimiser for whole test pairs.

    Raises:
        UsageError: a schedule without meta steps.
    """
    assert study.schedule is not None
    options: Any = resolve(
        catalogue.trainers.get(TRAINER).Config, ("schedule", merged(study.schedule.options, study.options))
    )
    steps = (options.trainer.epochs - options.trainer.frozen_epochs) * options.trainer.meta_steps
    if not steps:
        raise UsageError("this schedule has no meta steps: choose another --schedule or more trainer.meta_steps")
    variants = choose(ROWS, rows)
    store = PairStore.from_pairs(study.pairs, device=torch.device("cpu"), smallest=options.trainer.crop)
    datasets = find_datasets(study.data, (study.task,), limit=study.limit)
    tests = {d.label: [[decode_source(f, "luminance") for f in pair.files] for pair in d.selected] for d in datasets}
    found: dict[str, list[dict[str, dict[str, float]]]] = {variant.row: [] for variant in variants}
    for variant in variants:
        for seed in study.seeds:
            study.say(f"{variant.row}, seed {seed}: {steps} steps")
            pupils = taught(options, variant.options, store, steps, seed)
            found[variant.row].append({d.label: _measured(options, *pupils, d.task, tests[d.label]) for d in datasets})
    facts, about = circumstances(study, (), command)
    return Report(
        name="maps",
        title=f"What the outer loss thinks of the maps ({study.task})",
        facts=(
            f"R learns for {steps} steps of preset `{study.schedule.preset}` on the minimiser of L_f under these maps, "
            "P with it in the first row. Seeds " + ", ".join(map(str, study.seeds)) + ".",
            f"L_r, lower is better: over {BATCHES} batches of crops of test pairs, through the noise of the preset. "
            "The others are of the minimiser itself, stretched, for whole test pairs; no F takes part.",
            *([f"Options over those of the preset: `{flat(study.options)}`."] if study.options else []),
            *(fact for fact in facts if not fact.startswith("Range stretch")),
        ),
        panels=tuple(_panel(d, found) for d in datasets),
        about=about,
    )


def _noise(options: Any, seed: int, step: int) -> Noise:
    o = options.trainer.outer_loss_noise

    def drawn(like: Tensor, _sources: Sequence[Tensor]) -> Tensor:
        return draw_noise(like, pixel=o.pixel, patch=o.patch, patch_size=o.patch_size, seed=seed, step=step)

    return in_unit(drawn, o.unit)


def taught(
    options: Any, hand: Mapping[str, Any], store: PairStore, steps: int, seed: int
) -> tuple[LossProposer, ReFusionReconstructor]:
    """R, and P where it learns, taught at the minimiser of L_f.

    Args:
        options: those of a training.
        hand: those of :class:`HandOptions`; none lets P learn.
        store: the training pairs.
        steps: how many meta steps.
        seed: of weights and draws.

    Raises:
        UsageError: the fusion loss has no minimiser in closed form.
    """
    o = options.trainer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        outer_loss = ReFusionReconstructor(options.reconstructor)
        proposer: LossProposer = (
            HandMaps(HandOptions(**hand, alpha=options.proposer.alpha)) if hand else ReFusionProposer(options.proposer)
        )
    rules = (
        make_rule(o.proposer_optimizer, proposer, o.lr_proposer or o.lr, eps=o.proposer_eps),
        make_rule(o.outer_loss_optimizer, outer_loss, o.lr_outer_loss or o.lr),
    )
    plan = draw_epoch(
        store.sizes, seed=seed, epoch=0, meta_steps=0, fusion_steps=steps, batch=o.batch, crop=o.crop, flip=o.flip
    )
    # A loss without a minimiser is refused before the work.
    asked_for(proposer, store.crops(plan.ftr[0], o.crop).sources)
    for step, rows in enumerate(plan.ftr):
        rate = 0.5 * (1 + math.cos(math.pi * step / steps))
        gradient = closed_form_meta_gradient(
            proposer, outer_loss, store.crops(rows, o.crop), noise=_noise(options, seed, step)
        )
        rules[0].update(gradient.proposer, rate)
        rules[1].update(gradient.outer_loss, rate)
    return proposer, outer_loss


@torch.no_grad()
def _measured(
    options: Any,
    proposer: LossProposer,
    outer_loss: ReFusionReconstructor,
    task: Task,
    pairs: Sequence[Sequence[Tensor]],
) -> dict[str, float]:
    o = options.trainer
    store = PairStore(task, pairs, device=torch.device("cpu"), smallest=o.crop)
    # The same crops and noise for every kind of maps and every seed.
    plan = draw_epoch(store.sizes, seed=0, epoch=0, meta_steps=0, fusion_steps=BATCHES, batch=o.batch, crop=o.crop)
    losses = []
    for step, rows in enumerate(plan.ftr):
        batch = store.crops(rows, o.crop)
        image = asked_for(proposer, batch.sources)
        seen = through(_noise(options, 0, _UNSEEN + step), image, batch)
        losses.append(float(outer_loss.loss(seen, batch)["total"]))
    worth: list[dict[str, float]] = []
    for pair in pairs:
        a, b = (x[None].float() / (255 if x.dtype == torch.uint8 else 1) for x in pair)
        fused = (255 * stretch_range(asked_for(proposer, (a, b)))).round()
        values = score(fused, 255 * a, 255 * b, metrics=COLUMNS[1:], profile=_PROFILE).mean()
        worth.append({name: float(values[name]) for name in COLUMNS[1:]})
    means = {name: statistics.fmean(row[name] for row in worth) for name in COLUMNS[1:]}
    return {"L_r": statistics.fmean(losses), **means}


def asked_for(proposer: LossProposer, sources: Sequence[Tensor]) -> Tensor:
    """The minimiser of L_f under what a proposer proposes for some sources, ``(B, 1, H, W)`` each.

    Raises:
        UsageError: the fusion loss has none in closed form.
    """
    image = proposer.minimiser(proposer(*sources), sources)
    if image is None:
        raise UsageError(
            "the fusion loss has no minimiser in closed form with these options: leave proposer.gradient=signed"
        )
    return image


def _panel(dataset: Dataset, found: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]]) -> Panel:
    lines = []
    for row, seeds in found.items():
        each = {name: [values[dataset.label][name] for values in seeds] for name in COLUMNS}
        spread = {name: statistics.stdev(values) for name, values in each.items() if len(values) > 1}
        means: dict[str, float | None] = {name: statistics.fmean(values) for name, values in each.items()}
        lines.append(Line(method=row, origin=MEASURED, values=means, spread=spread))
    note = f"Measured over {len(dataset.selected)} of {dataset.label}, profile `{_PROFILE}`."
    return Panel(title=dataset.label, metrics=COLUMNS, lines=tuple(lines), notes=(note,))
