"""From records to the lines and panels of a report: means over images, over seeds, beside what the paper prints."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from benchmarks.paper.report import MEASURED, PUBLISHED, Line, Panel, agreement
from benchmarks.paper.study import Cell
from benchmarks.paper.variants import FULL
from fusionkit.bench.published_tables import PublishedTable
from fusionkit.bench.records import Record

Group = tuple[Record, ...]
"""The records of one data set."""

Beside = Callable[[PublishedTable | None, Sequence[Group]], list[Line]]
"""Gives the lines of a panel: of a published half or None, and of the data sets measured for it, perhaps none."""


def side_by_side(
    task: str,
    published: Sequence[PublishedTable],
    groups: Sequence[Group],
    metrics: Sequence[str],
    beside: Beside,
    *,
    subject: str = "",
) -> list[Panel]:
    """The published halves of a table, each beside the test sets that it stands for, then the other test sets.

    Args:
        task: of the test sets.
        published: the halves.
        groups: what was measured.
        metrics: columns of what was measured.
        beside: gives the lines.
        subject: what the rows vary, for the headings.
    """
    parts: list[Panel] = []
    taken: dict[str, int] = {}
    for panel in published:
        chosen = [group for group in groups if panel.task == task and group[0].dataset in panel.covers]
        taken |= {group[0].label: len(chosen) for group in chosen}
        missing = f"not measured: give the pairs with --data, as in --data {panel.covers[0]}:DIR"
        parts.append(
            Panel(
                title=f"{panel.dataset}{subject}",
                metrics=tuple(metrics) if chosen else panel.metrics,
                lines=tuple(beside(panel, chosen)),
                notes=(f"Published over {panel.pairs} pairs of {panel.task}; {counted(chosen) or missing}.",),
            )
        )
    for group in groups:
        label = group[0].label
        if taken.get(label) != 1:
            what = "alone" if label in taken else "which the paper's table does not have"
            parts.append(
                Panel(
                    title=f"{label}, {what}{subject}",
                    metrics=tuple(metrics),
                    lines=tuple(beside(None, [group])),
                    notes=(f"M{counted([group])[1:]}.",),
                )
            )
    return parts


def with_agreement(part: Panel, published: PublishedTable, notes: Sequence[str]) -> Panel:
    """A measured panel with its rows' notes, and how far it agrees with the paper on what the whole method is worth.

    Args:
        part: the panel.
        published: the half of the paper's table, which may be of other data.
        notes: on the rows.
    """
    measured = {line.method: line for line in part.lines if line.origin == MEASURED}
    if not measured:
        return part
    more = list(notes)
    printed = {line.method: line for line in published_lines(published)}
    rows = [(printed[name], line) for name, line in measured.items() if name != FULL.row]
    if rows and FULL.row in measured:
        more.insert(0, agreement(rows, published.metrics, (printed[FULL.row], measured[FULL.row])))
    return replace(part, notes=(*part.notes, *more))


def published_lines(panel: PublishedTable) -> list[Line]:
    """The lines of a published half, as printed."""
    return [
        Line(method=row.method, origin=PUBLISHED, values=dict(zip(panel.metrics, row.values, strict=True)))
        for row in panel.rows
    ]


def measured_line(method: str, name: str, groups: Sequence[Group], metrics: Sequence[str]) -> Line:
    """The line of one method: its means over all images of some data sets."""
    return Line(method=method, origin=MEASURED, values=means(of(groups, name), metrics))


def trained_line(method: str, cells: Sequence[Cell], groups: Sequence[Group], metrics: Sequence[str]) -> Line:
    """The line of a training: the mean over its seeds, and their spread. Without one of them there is no mean."""
    each = [means(of(groups, cell.label), metrics) for cell in cells if not cell.failure]
    values: dict[str, float | None] = {}
    spread: dict[str, float] = {}
    for metric in metrics:
        known = [value for found in each if (value := found[metric]) is not None]
        complete = len(known) == len(cells) > 0
        values[metric] = statistics.fmean(known) if complete else None
        if complete and len(known) > 1:
            spread[metric] = statistics.stdev(known)
    notes = [f"seed {cell.seed} {cell.failure}" for cell in cells if cell.failure]
    notes += [f"{cell.steps} steps, {cell.seconds / 60:.1f} min" for cell in cells if not cell.failure][:1]
    return Line(
        method=method,
        origin=MEASURED,
        values=values,
        spread=spread,
        note="; ".join(notes),
        runs=tuple(_run(cell, groups) for cell in cells),
    )


def means(records: Iterable[Record], metrics: Sequence[str]) -> dict[str, float | None]:
    """Means over all images of some records, which have none in common; None where a value or an image is missing."""
    found = list(records)
    result: dict[str, float | None] = {}
    for metric in metrics:
        values = [value for record in found for value in record.values(metric).values()]
        known = [value for value in values if value is not None]
        complete = known and len(known) == len(values) and not any(record.failures for record in found)
        result[metric] = statistics.fmean(known) if complete else None
    return result


def of(groups: Sequence[Group], name: str) -> list[Record]:
    """The records of one method."""
    return [record for group in groups for record in group if record.method.name == name]


def counted(groups: Sequence[Group]) -> str:
    """How many images were measured, and how; "" without any."""
    if not groups:
        return ""
    each = [f"{max(len(record.images) for record in group)} of {group[0].label}" for group in groups]
    return f"measured over {' + '.join(each)}, profile `{groups[0][0].profile}`"


def _run(cell: Cell, groups: Sequence[Group]) -> dict[str, object]:
    weights = next((record.method.weights_sha256 for record in of(groups, cell.label)), "")
    return {
        "seed": cell.seed,
        "steps": cell.steps,
        "seconds": round(cell.seconds, 1),
        "failure": cell.failure,
        "weights_sha256": weights,
    }
