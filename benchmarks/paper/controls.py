"""The choices that the paper leaves open or that a short training makes otherwise, each put to the test by itself."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from benchmarks.paper.lines import Group, counted, measured_line, trained_line
from benchmarks.paper.report import Line, Panel, Report
from benchmarks.paper.study import Cell, Study, specs
from benchmarks.paper.tables import circumstances, columns, flat
from benchmarks.paper.variants import FULL, Variant, choose

RIVALS = ("average", "maximum")
"""What a training without any learned loss has to be measured against: it costs nothing."""

_EXACT = {"hypergradient": "exact", "eta": None}

CONTROLS: tuple[Variant, ...] = (
    Variant(FULL.key, "the recipe"),
    Variant("equal", "w = v = 1/2, nothing learned", {"proposal": "equal"}),
    Variant("clean", "R sees no noise", {"trainer": {"noise": 0.0, "coarse_noise": 0.0}}),
    Variant("fine", "fine noise only", {"trainer": {"coarse_noise": 0.0}}),
    Variant("coarse", "coarse noise only", {"trainer": {"noise": 0.0}}),
    Variant("exact", "exact hypergradient", {"trainer": _EXACT}),
    Variant("exact-clean", "exact hypergradient, no noise", {"trainer": _EXACT | {"noise": 0.0, "coarse_noise": 0.0}}),
    Variant("exact-raw", "exact, plain outer steps", {"trainer": _EXACT | {"proposer_update": "sgd"}}),
    Variant("exact-normalized", "exact, normalised outer steps", {"trainer": _EXACT | {"proposer_update": "normalized"}}),
    Variant("warmed", "exact after a third by the image", {"trainer": _EXACT | {"image_epochs": 10}}),
    Variant("normalized", "normalised outer steps", {"trainer": {"proposer_update": "normalized"}}),
    Variant("free", "no indifference", {"trainer": {"indifference": 0.0}}),
)


def recipe(study: Study, *, rows: Sequence[str], command: str) -> Report:
    """The recipe and each of its choices made otherwise, with the fusers that need no training beside them."""
    variants = choose(CONTROLS, rows)
    cells = study.trained(variants)
    groups = study.compared([*RIVALS, *specs(cells)])
    metrics = columns(study)
    panels = [_panel(group, variants, cells, metrics) for group in groups]
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


def _panel(group: Group, variants: Sequence[Variant], cells: Sequence[Cell], metrics: Sequence[str]) -> Panel:
    lines = [measured_line(name, name, [group], metrics) for name in RIVALS]
    lines += [
        trained_line(variant.row, [cell for cell in cells if cell.variant == variant], [group], metrics)
        for variant in variants
    ]
    settings = [f"{variant.row}: `{flat(variant.options)}`." for variant in variants if variant.options]
    return Panel(
        title=group[0].label,
        metrics=tuple(metrics),
        lines=tuple(lines),
        notes=(f"M{counted([group])[1:]}.", *_verdicts(lines, metrics), *settings),
    )


def _verdicts(lines: Sequence[Line], metrics: Sequence[str]) -> list[str]:
    """Which rows differ from the recipe by more than twice the standard error of the difference."""
    whole = next(line for line in lines if line.method == CONTROLS[0].row)
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
    """Of a row from the recipe, in standard errors of the difference; None where either has no spread."""
    values, spreads = (line.values.get(metric), whole.values.get(metric)), (line.spread.get(metric), whole.spread.get(metric))
    if line is whole or None in values or None in spreads:
        return None
    pairs = [(len(row.runs), row.spread[metric]) for row in (line, whole)]
    error = sum(spread**2 / count for count, spread in pairs) ** 0.5
    gap = values[0] - values[1]
    return gap / error if error else None


def _listed(rows: Sequence[str]) -> str:
    return ", ".join(rows) if rows else "none"
