"""A reproduced table: the published lines and the measured ones side by side, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from fusionkit.io.atomic import write_text

PUBLISHED: Literal["published"] = "published"
MEASURED: Literal["measured"] = "measured"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a panel.

    Attributes:
        method: what it is about.
        origin: who computed it. Lines of different origins are never averaged with each other.
        values: metric -> value, None where there is none.
        spread: metric -> standard deviation over the seeds, where there are several.
        note: what else a reader should know.
        runs: of a measured line of trainings: seed, steps, seconds and weights of each.
    """

    method: str
    origin: Literal["published", "measured"]
    values: dict[str, float | None]
    spread: dict[str, float] = field(default_factory=dict)
    note: str = ""
    runs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One table: a data set.

    Attributes:
        title: heading.
        metrics: columns.
        lines: in order.
        notes: below it.
        decimals: of published values, as printed.
    """

    title: str
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    decimals: int = 2


@dataclass(frozen=True, kw_only=True)
class Report:
    """A reproduced table of the paper.

    Attributes:
        name: ``"table5"``.
        title: heading.
        facts: what was done: schedule, data, machine, command.
        panels: its parts.
        about: the same facts for programs.
    """

    name: str
    title: str
    facts: tuple[str, ...]
    panels: tuple[Panel, ...]
    about: dict[str, Any]


def write_report(out: Path, report: Report) -> tuple[Path, Path]:
    """Write ``NAME.md`` and ``NAME.json`` into a folder, each whole or not at all."""
    files = out / f"{report.name}.md", out / f"{report.name}.json"
    write_text(files[0], as_markdown(report))
    write_text(files[1], json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n")
    return files


def as_markdown(report: Report) -> str:
    """The report as a page."""
    lines = [f"# {report.title}", "", *(f"- {fact}" for fact in report.facts), ""]
    for panel in report.panels:
        lines += [f"## {panel.title}", "", *_table(panel), ""]
        lines += [f"- {note}" for note in panel.notes] + ([""] if panel.notes else [])
    return "\n".join(lines).rstrip() + "\n"


def _table(panel: Panel) -> list[str]:
    head = ["method", "from", *panel.metrics]
    notes = any(line.note for line in panel.lines)
    rows = [head + (["note"] if notes else []), ["---"] * (len(head) + notes)]
    for line in panel.lines:
        cells = [_cell(line, metric, panel.decimals) for metric in panel.metrics]
        rows.append([line.method, line.origin, *cells, *([line.note] if notes else [])])
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(line: Line, metric: str, decimals: int) -> str:
    value = line.values.get(metric)
    if value is None:
        return "-"
    if line.origin == PUBLISHED:
        return f"{value:.{decimals}f}"
    places = 3 if abs(value) < 10 else 2
    spread = line.spread.get(metric)
    return f"{value:.{places}f}" + ("" if spread is None else f" ± {spread:.{places}f}")


def agreement(panel_lines: Sequence[tuple[Line, Line]], metrics: Sequence[str], full: tuple[Line, Line]) -> str:
    """How often the whole method is ahead of a row, by the paper and here, and how often both say the same.

    Args:
        panel_lines: the published and the measured line of each row but the whole method's.
        metrics: those to count, all of them better when higher.
        full: the whole method's two lines.
    """
    ahead = [0, 0]
    same = total = 0
    for pair in panel_lines:
        for metric in metrics:
            values = [(line.values.get(metric), base.values.get(metric)) for line, base in zip(pair, full, strict=True)]
            if any(value is None or whole is None for value, whole in values):
                continue
            verdicts = [whole > value for value, whole in values]  # type: ignore[operator]
            ahead = [count + verdict for count, verdict in zip(ahead, verdicts, strict=True)]
            same += verdicts[0] == verdicts[1]
            total += 1
    return (
        f"Ours is ahead of a row on a metric in {ahead[0]} of {total} published comparisons and in {ahead[1]} of "
        f"{total} measured ones; paper and measurement agree in {same}."
    )
