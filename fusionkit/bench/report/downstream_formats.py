"""Downstream tables for a terminal, in Markdown, CSV and JSON. Scores are shown in percent, as papers print them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fusionkit.bench.report.downstream_tables import DownstreamRow, DownstreamTable, Spread
from fusionkit.bench.report.formats import memory, parameters, printable, seconds
from fusionkit.io.atomic import write_text

__all__ = [
    "as_csv",
    "as_json",
    "as_markdown",
    "as_terminal",
    "facts",
    "heading",
    "legend",
    "percent",
    "plain",
    "write_tables",
]


def legend(table: DownstreamTable) -> str:
    """How to read a table's numbers."""
    spread = "mean ± standard deviation over the seeds" if table.seeds > 1 else "one seed: no spread is known"
    return (
        f"Percent, {spread}. Every row is the same network trained afresh on that method's images, from the same "
        "initial weights, on the same batches. Best in bold."
    )


def write_tables(out: Path, tables: Sequence[DownstreamTable]) -> None:
    """Write ``downstream.md``, ``downstream.csv`` and ``downstream.json``.

    Raises:
        fusionkit.errors.DataError: one cannot be written.
    """
    for suffix, form in ((".md", as_markdown), (".csv", as_csv), (".json", as_json)):
        write_text(out / f"downstream{suffix}", form(tables))


def as_terminal(table: DownstreamTable) -> RenderableType:
    """A table for a terminal."""
    shown = Table(title=Text(heading(table), style="bold"), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("method", overflow="fold", min_width=8)
    classes = _classes(table)
    for title in (*(f"{column} ↑" for column in table.columns), *(c for c, _, _ in classes), "time", "memory"):
        shown.add_column(title, justify="right", no_wrap=title not in {c for c, _, _ in classes})
    best = {column: table.best(column) for column in table.columns}
    for row in table.rows:
        name = Text(printable(row.method))
        for mark in row.marks:
            name.append(f"\n{printable(mark)}", style="yellow")
        cells = [Text(percent(row.scores[c]), style="bold" if row.method in best[c] else "") for c in table.columns]
        cells += [Text(percent(row.per_class[label][score])) for _, label, score in classes]
        shown.add_row(name, *cells, seconds(row.seconds), memory(row.peak_bytes))
    return Group(shown, Text(legend(table), style="dim"))


def as_markdown(tables: Sequence[DownstreamTable]) -> str:
    """Every table in one Markdown document."""
    lines = ["# Downstream scores", ""]
    for table in tables:
        classes = _classes(table)
        titles = ["method", *table.columns, *(title for title, _, _ in classes), "seeds", "time", "memory"]
        lines += [f"## {heading(table)}", "", legend(table), "", *(f"- {fact}" for fact in facts(table)), ""]
        lines += [
            f"| {' | '.join(_plain(t) for t in titles)} |",
            f"|{'|'.join([' --- ', *[' ---: '] * (len(titles) - 1)])}|",
        ]
        for row in table.rows:
            cells = [
                f"**{percent(row.scores[c])}**" if row.method in table.best(c) else percent(row.scores[c])
                for c in table.columns
            ]
            cells += [percent(row.per_class[label][score]) for _, label, score in classes]
            end = [str(len(row.records)), seconds(row.seconds), memory(row.peak_bytes)]
            lines.append(f"| {' | '.join([_plain(row.method) + (' †' if row.marks else ''), *cells, *end])} |")
        lines.append("")
        lines += [f"- † {_plain(row.method)}: {'; '.join(row.marks)}" for row in table.rows if row.marks]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def as_csv(tables: Sequence[DownstreamTable]) -> str:
    """Every value of every seed: a line a method, seed, class ("" for all) and score, from 0 to 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "task",
            "dataset",
            "split",
            "network",
            "protocol",
            "method",
            "seed",
            "class",
            "score",
            "value",
            "seconds",
            "peak_bytes",
            "device",
        ]
    )
    for table in tables:
        for row in table.rows:
            for record in row.records:
                place = (record.task, record.dataset, record.test.split, record.network.name, table.folder.name)
                cost = (f"{record.cost.seconds:.3f}", record.cost.peak_bytes, record.cost.device)
                for label, scores in [("", record.scores), *record.per_class.items()]:
                    for score, value in scores.items():
                        writer.writerow((*place, row.method, record.seed, label, score, value, *cost))
    return text.getvalue()


def as_json(tables: Sequence[DownstreamTable]) -> str:
    """Everything but the predictions, as JSON."""
    return json.dumps({"format": 1, "tables": [plain(table) for table in tables]}, indent=1, ensure_ascii=False) + "\n"


def heading(table: DownstreamTable) -> str:
    """What a table is about."""
    first = table.first
    images = f"{first.test.pairs} images, trained on {first.train.pairs}"
    return f"{first.kind} by {first.network.name}: {first.label}, {images}"


def facts(table: DownstreamTable) -> list[str]:
    """The protocol in a few words."""
    first = table.first
    p = first.protocol
    size = "x".join(map(str, p.get("size", ()))) or "own size"
    mirrored = {"none": "none mirrored", "horizontal": "mirrored left-right", "both": "mirrored both ways"}
    return [
        f"{parameters(first.network.parameters)} parameters, {first.network.implementation} of {first.network.version}",
        f"{p['steps']} updates of {p['batch']} images {size}, {mirrored.get(p['flip'], p['flip'])}",
        f"Adam {p['lr']:g}, {p['warmup']} updates warm-up, cosine to {p['lr'] * p['lr_end']:g}",
        f"{table.seeds} seed{'s' if table.seeds > 1 else ''}",
    ]


def percent(spread: Spread) -> str:
    """``"61.2 ± 0.8"``."""
    if spread.mean is None:
        return "-"
    half = "" if spread.deviation is None else f" ± {100 * spread.deviation:.1f}"
    return f"{100 * spread.mean:.1f}{half}"


def plain(table: DownstreamTable) -> dict[str, Any]:
    """A table as plain data."""
    first = table.first
    return {
        "task": first.task,
        "dataset": first.dataset,
        "label": first.label,
        "kind": first.kind,
        "classes": list(first.classes),
        "protocol": {"name": table.folder.name, **first.protocol},
        "network": first.network.model_dump(include={"name", "implementation", "version", "config", "parameters"}),
        "train": first.train.model_dump(),
        "test": first.test.model_dump(),
        "columns": list(table.columns),
        "class_columns": list(table.class_columns),
        "rows": [_plain_row(row) for row in table.rows],
    }


def _plain_row(row: DownstreamRow) -> dict[str, Any]:
    return {
        "method": row.method,
        "seeds": [record.seed for record in row.records],
        "scores": {name: _plain_spread(spread) for name, spread in row.scores.items()},
        "per_class": {
            label: {name: _plain_spread(spread) for name, spread in scores.items()}
            for label, scores in row.per_class.items()
        },
        "seconds": row.seconds,
        "peak_bytes": row.peak_bytes,
        "devices": sorted({record.cost.device for record in row.records}),
        "marks": list(row.marks),
    }


def _plain_spread(spread: Spread) -> dict[str, Any]:
    return {"mean": spread.mean, "deviation": spread.deviation, "values": list(spread.values.values())}


def _classes(table: DownstreamTable) -> list[tuple[str, str, str]]:
    """Title, class and score of the columns that single classes have; none where there is but one class."""
    score = table.class_columns[0]
    names = table.first.classes
    return [(f"{score} {name}", name, score) for name in names] if len(names) > 1 else []


def _plain(text: str) -> str:
    return printable(text).replace("|", "\\|").replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")
