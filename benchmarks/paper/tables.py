"""Tables 1 to 7: which cells each needs, and what stands beside what the paper prints."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.paper.lines import (
    Group,
    measured_line,
    published_lines,
    side_by_side,
    trained_line,
    with_agreement,
)
from benchmarks.paper.report import MEASURED, Line, Panel, Report
from benchmarks.paper.study import Cell, Study, specs
from benchmarks.paper.variants import FULL, Variant, ablations, choose, halves, sweep
from fusionkit.bench.methods import usable
from fusionkit.bench.published_tables import PublishedTable
from fusionkit.plugins import catalogue
from fusionkit.train.run_folder import environment

TITLES = {
    1: "Infrared-visible image fusion",
    2: "Medical image fusion",
    3: "Multi-focus image fusion",
    4: "Multi-exposure image fusion",
    5: "Ablations",
    6: "The weights alpha1 and alpha2",
    7: "Trainable parameters",
}
TASKS = {1: "ivif", 2: "mif", 3: "mfif", 4: "meif", 5: "ivif", 6: "ivif"}
TRAINED = "ReFusion, trained here"
_STRETCHED = {
    None: "as the method's authors do, ReFusion's to the full range",
    "full": "to the full range, of every method",
    "none": "none, of any method",
}
SHOWN = {"authors": "ReFusion, the authors' weights", "refusion": "ReFusion, the shipped model"}


def comparison(number: int, study: Study, *, fusers: Sequence[str], authors: str | None, command: str) -> Report:
    """Tables 1 to 4: fusers, the model trained here and the authors' weights on the test sets of a task.

    Args:
        number: the table.
        study: trains nothing where it has no schedule.
        fusers: as ``fusionkit bench --fuser`` takes them; all that can be used as they are if empty.
        authors: a file of the authors' weights, or None.
        command: how to repeat it.
    """
    names = list(fusers)
    if not names:
        found, problems = usable(study.task)
        names = [spec.name for spec in found]
        for problem in problems:
            study.say(f"note: {problem}")
    cells = study.trained((FULL,)) if study.schedule else []
    theirs = [f"authors=refusion:{authors}"] if authors else []
    groups = study.compared([*names, *specs(cells), *theirs])
    labels = {cell.label for cell in cells}
    metrics = columns(study)

    def beside(panel: PublishedTable | None, chosen: Sequence[Group]) -> list[Line]:
        lines = published_lines(panel) if panel else []
        for name in dict.fromkeys(record.method.name for group in chosen for record in group):
            if name not in labels:
                lines.append(measured_line(SHOWN.get(name, name), name, chosen, metrics))
        return lines + ([trained_line(TRAINED, cells, chosen, metrics)] if cells and chosen else [])

    parts = side_by_side(study.task, halves(number), groups, metrics, beside)
    return _report(number, study, cells, parts, command)


def ablation(study: Study, *, rows: Sequence[str], command: str) -> Report:
    """Table 5: the whole method, and what is left of it without each of its parts."""
    return _variations(5, study, [(halves(5)[0], choose(ablations(), rows), "")], command)


def sweeps(study: Study, *, rows: Sequence[str], command: str) -> Report:
    """Table 6: alpha1 of the fusion loss and alpha2 of the reconstruction loss, one of them varied at a time."""
    assert study.schedule is not None
    found = [sweep(panel, study.schedule.options) for panel in halves(6)]
    chosen = {variant.key for variant in choose([variant for half in found for variant in half], rows)}
    parts = [
        (panel, [variant for variant in half if variant.key in chosen], f", {name}")
        for panel, half, name in zip(halves(6), found, ("alpha1", "alpha2"), strict=True)
    ]
    return _variations(6, study, parts, command)


def parameters(*, command: str) -> Report:
    """Table 7: trainable parameters in millions, as printed and as counted in the fusers that are installed."""
    (panel,) = halves(7)
    counts = {
        name: sum(p.numel() for p in catalogue.fusers.get(name)().parameters()) for name in catalogue.fusers.names()
    }
    own = {_plain(name): name for name, count in counts.items() if count}
    lines: list[Line] = []
    for line in published_lines(panel):
        lines.append(line)
        name = own.pop(_plain(line.method), None)
        if name is not None:
            lines.append(_counted(name, counts[name], ""))
    lines += [_counted(name, counts[name], "; not in the paper's table") for name in own.values()]
    part = Panel(title="Millions of parameters", metrics=panel.metrics, lines=tuple(lines), decimals=3)
    facts = (f"Published: {panel.citation}, as printed.", f"Command: `{command}`")
    return Report(name="table7", title=f"Table 7. {TITLES[7]}", facts=facts, panels=(part,), about={"command": command})


def _variations(
    number: int,
    study: Study,
    parts: Sequence[tuple[PublishedTable, Sequence[Variant], str]],
    command: str,
) -> Report:
    variants = {variant.key: variant for _, half, _ in parts for variant in half}
    cells = study.trained(list(variants.values()))
    groups = study.compared(list(specs(cells)))
    metrics = columns(study)
    drawn: list[Panel] = []
    for panel, half, subject in parts:
        printed = {line.method: line for line in published_lines(panel)}

        def beside(
            published: PublishedTable | None,
            chosen: Sequence[Group],
            half: Sequence[Variant] = half,
            printed: Mapping[str, Line] = printed,
        ) -> list[Line]:
            lines: list[Line] = []
            for variant in half:
                own = [cell for cell in cells if cell.variant.key == variant.key]
                lines += [printed[variant.row]] if published else []
                lines += [trained_line(variant.row, own, chosen, metrics)] if chosen else []
            return lines

        notes = [f"{variant.key}: {variant.note}." for variant in half if variant.note]
        found = side_by_side(study.task, [panel], groups, metrics, beside, subject=subject)
        drawn += [with_agreement(part, panel, notes) for part in found]
    return _report(number, study, cells, drawn, command)


def _counted(name: str, count: int, more: str) -> Line:
    return Line(method=name, origin=MEASURED, values={"parameters": count / 1e6}, note=f"{count:,} counted{more}")


def columns(study: Study) -> tuple[str, ...]:
    """The task's own metrics and those asked for beside them."""
    return tuple(dict.fromkeys((*catalogue.tasks.get(study.task).metrics, *study.metrics)))


def _report(number: int, study: Study, cells: Sequence[Cell], parts: Sequence[Panel], command: str) -> Report:
    facts, about = circumstances(study, cells, command)
    facts = [
        f"Published: {halves(number)[0].citation}, as printed.",
        "Published and measured numbers are of other machines and other pairs and are never averaged with each other.",
        *facts,
    ]
    title = f"Table {number}. {TITLES[number]}" + (f" ({study.task})" if study.task != TASKS[number] else "")
    return Report(name=f"table{number}", title=title, facts=tuple(facts), panels=tuple(parts), about=about)


def circumstances(study: Study, cells: Sequence[Cell], command: str) -> tuple[list[str], dict[str, Any]]:
    """What a reader has to know of a study to repeat it: in sentences, and for programs."""
    machine = environment()
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("image-fusionkit", "torch"))
    facts: list[str] = []
    about: dict[str, Any] = {
        "task": study.task,
        "limit": study.limit,
        "stretch": study.stretch,
        "environment": machine,
        "command": command,
    }
    if cells and study.schedule:
        counts = ", ".join(f"{name or 'unnamed'} {count}" for name, count in study.pairs.datasets.items())
        facts += [
            f"Trained here: {study.schedule.title}; seed {', '.join(map(str, study.seeds))}.",
            f"Training pairs: {len(study.pairs)} ({counts}; fingerprint `{study.fingerprint[:12]}`).",
            f"The trainings took {sum(cell.seconds for cell in cells) / 60:.1f} minutes together.",
        ]
        failed = ", ".join(f"{cell.label} ({cell.failure})" for cell in cells if cell.failure)
        facts += [f"Without a model, and so without values: {failed}."] if failed else []
        facts += [f"Options over those of every row: `{flat(study.options)}`."] if study.options else []
        about |= {
            "schedule": study.schedule.name,
            "steps": study.schedule.steps,
            "paper_steps": study.schedule.paper_steps,
            "options": study.schedule.options,
            "seeds": study.seeds,
            "train": counts,
            "fingerprint": study.fingerprint,
        }
    facts += [
        f"Range stretch of each fused luminance: {_STRETCHED[study.stretch]}. It raises EN, SD, SF and AG.",
        f"Machine: {_machine(machine)}; {versions}.",
        f"Command: `{command}`",
    ]
    return facts, about


def _machine(about: Mapping[str, Any]) -> str:
    cores = f"{os.cpu_count()} CPU cores, {about['threads']} of them used"
    return ", ".join(filter(None, (about["accelerator"], about["processor"], cores)))


def flat(options: Mapping[str, Any]) -> str:
    """Nested options as ``--set`` takes them, one after the other."""
    found = []
    for name, value in options.items():
        inner = value if isinstance(value, Mapping) else None
        found += [f"{name}.{part}={given}" for part, given in inner.items()] if inner else [f"{name}={value}"]
    return " ".join(found)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
