"""The choices that the paper leaves open or that a short training makes otherwise, each put to the test by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.paper.lines import Group, counted, measured_line, trained_line
from benchmarks.paper.report import Line, Panel, Report
from benchmarks.paper.schedules import Schedule, trainer_options
from benchmarks.paper.study import Cell, Study, specs
from benchmarks.paper.tables import circumstances, columns, flat
from benchmarks.paper.variants import FULL, Variant, choose

RECIPE = "the recipe"
RIVALS = ("average", "maximum")
"""What a training without any learned loss has to be measured against: it costs nothing."""

_CLEAN = {"outer_loss_noise": {"pixel": 0.0, "patch": 0.0}}
_FULL_RANGE = {"outer_loss_noise": {"unit": "full", "pixel": 0.1, "patch": 0.1}}
"""Noise of about what ``contrast`` gives a pair of middling contrast, the same for every pair."""


def controls(schedule: Schedule) -> tuple[Variant, ...]:
    """The recipe, then one choice at a time made otherwise.

    Args:
        schedule: what the recipe is; numbers of steps and rates are varied about its own.
    """
    recipe = trainer_options(schedule.options)
    rate = recipe.lr_proposer or recipe.lr
    noise = recipe.outer_loss_noise
    third = max(recipe.epochs // 3, 1)

    def steps(share: float) -> dict[str, int]:
        return {"meta_steps": max(round(recipe.meta_steps * share), 1)}

    trainer: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("adam", "F by Adam", {"fuser_optimizer": "adam"}),
        ("turns", "P and R go on to the end", {"freeze_fraction": 0, "epochs": recipe.epochs - recipe.frozen_epochs}),
        ("image", "image-space hypergradient", {"hypergradient": "image_space"}),
        ("exact", "exact hypergradient", {"hypergradient": "one_step"}),
        ("exact-clean", "exact hypergradient, no noise", {"hypergradient": "one_step", **_CLEAN}),
        (
            "exact-normalized",
            "exact, normalised outer steps",
            {"hypergradient": "one_step", "proposer_optimizer": "normalized"},
        ),
        ("exact-raw", "exact, plain outer steps", {"hypergradient": "one_step", "proposer_optimizer": "sgd"}),
        (
            "warmed",
            "exact after a start in image space",
            {"hypergradient": "one_step", "image_space": {"epochs": third}},
        ),
        ("normalized", "normalised outer steps", {"proposer_optimizer": "normalized"}),
        ("clean", "R sees no noise", _CLEAN),
        ("range", "noise the same for every pair", _FULL_RANGE),
        ("fine", "fine noise alone", {"outer_loss_noise": {"patch": 0.0}}),
        ("coarse", "coarse noise alone", {"outer_loss_noise": {"pixel": 0.0}}),
        ("patches", "patches / 4", {"outer_loss_noise": {"patch_size": max(noise.patch_size // 4, 1)}}),
        ("faint", "noise / 2", {"outer_loss_noise": {"pixel": noise.pixel / 2, "patch": noise.patch / 2}}),
        ("strong", "noise x 2", {"outer_loss_noise": {"pixel": noise.pixel * 2, "patch": noise.patch * 2}}),
        ("held", "a light indifference", {"weight_map_kl": 0.03}),
        ("slow", "P's learning rate / 3", {"lr_proposer": rate / 3}),
        ("fast", "P's learning rate x 3", {"lr_proposer": rate * 3}),
        ("few", "meta steps / 3", steps(1 / 3)),
        ("many", "meta steps x 3", steps(3)),
        ("constant", "no decay of the learning rates", {"lr_schedule": "none"}),
        ("last", "the last weights, no average", {"ema_decay": 0.0}),
        ("swap", "sources swapped at random", {"swap": True}),
    )
    losses: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("unshared", "P sees no shares", {"proposer": {"inputs": "image+gradient"}}),
        ("sum", "sum instead of maximum in L_r", {"reconstructor": {"combine": "sum"}}),
        ("half", "gradient terms x 1/2", {part: {"alpha": 0.5} for part in ("proposer", "reconstructor")}),
        ("double", "gradient terms x 2", {part: {"alpha": 2.0} for part in ("proposer", "reconstructor")}),
        ("light", "gradient terms / 50", {part: {"alpha": 0.02} for part in ("proposer", "reconstructor")}),
        ("large", "P and R of the paper's size", {"proposer": {"dim": 16, "blocks": 2}, "reconstructor": {"dim": 16}}),
    )
    return (
        Variant(FULL.key, RECIPE),
        Variant("equal", "w = v = 1/2, nothing learned", {"proposal": "equal"}),
        *(Variant(key, row, {"trainer": options}) for key, row, options in trainer),
        *(Variant(key, row, options) for key, row, options in losses),
    )


def recipe(study: Study, *, rows: Sequence[str], command: str) -> Report:
    """The recipe and each of its choices made otherwise, with the fusers that need no training beside them."""
    assert study.schedule is not None
    variants = choose(controls(study.schedule), rows)
    cells = study.trained(variants)
    groups = study.compared([*RIVALS, *specs(cells)])
    metrics = columns(study)
    panels = [_panel("all test sets", groups, variants, cells, metrics)] if len(groups) > 1 else []
    panels += [_panel(group[0].label, [group], variants, cells, metrics) for group in groups]
    facts, about = circumstances(study, cells, command)
    facts = [
        "Every row is the recipe with one choice made otherwise, everything else and the seeds the same.",
        "Values are mean and standard deviation over the seeds of the mean over the images.",
        *facts,
    ]
    return Report(
        name="recipe",
        title=f"What makes the training work ({study.task})",
        facts=tuple(facts),
        panels=tuple(panels),
        about=about,
    )


def _panel(
    title: str,
    groups: Sequence[Group],
    variants: Sequence[Variant],
    cells: Sequence[Cell],
    metrics: Sequence[str],
) -> Panel:
    lines = [measured_line(name, name, groups, metrics) for name in RIVALS]
    lines += [
        trained_line(variant.row, [cell for cell in cells if cell.variant == variant], groups, metrics)
        for variant in variants
    ]
    settings = [f"{variant.row}: `{flat(variant.options)}`." for variant in variants if variant.options]
    return Panel(
        title=title,
        metrics=tuple(metrics),
        lines=tuple(lines),
        notes=(f"M{counted(groups)[1:]}.", *_verdicts(lines, metrics), *settings),
    )


def _verdicts(lines: Sequence[Line], metrics: Sequence[str]) -> list[str]:
    """Which rows differ from the recipe by more than twice the standard error of the difference."""
    whole = next(line for line in lines if line.method == RECIPE)
    found = []
    for metric in metrics:
        worse, better = [], []
        for line in lines:
            step = _difference(line, whole, metric)
            if step is not None and abs(step) > 2:
                (better if step > 0 else worse).append(line.method)
        if worse or better:
            found.append(f"{metric}: below the recipe {_listed(worse)}; above it {_listed(better)}.")
    return found


def _difference(line: Line, whole: Line, metric: str) -> float | None:
    """Of a row from the recipe, in standard errors of the difference; None where the recipe has no spread."""
    own, other = line.values.get(metric), whole.values.get(metric)
    if line is whole or own is None or other is None or metric not in whole.spread:
        return None
    # What is not trained has no spread.
    error = sum(row.spread[metric] ** 2 / len(row.runs) for row in (line, whole) if metric in row.spread) ** 0.5
    return (own - other) / error if error else None


def _listed(rows: Sequence[str]) -> str:
    return ", ".join(rows) if rows else "none"
