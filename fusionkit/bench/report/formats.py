"""Tables as Markdown, CSV and JSON. Published rows are set apart in each."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fusionkit.bench.published_tables import PublishedTable
from fusionkit.bench.report.downstream_tables import DownstreamTable, seed_cell
from fusionkit.bench.report.quality_tables import QualityTable
from fusionkit.bench.report.tables import Cell, Column, Detail, Row, Table
from fusionkit.io.text import as_csv_cell, counted, printable

__all__ = [
    "MARK",
    "SEEN",
    "as_csv",
    "as_data",
    "as_downstream_csv",
    "as_json",
    "as_markdown",
    "marked",
    "printed",
    "seen_notes",
]

MARK = "†"
"""Stands behind a method that departs from its table's protocol."""

SEEN = {"trained on": "‡", "unknown": "?", "": ""}
"""Marks of a method that was trained on pairs of the table's data set, and of one of which that is not known."""

_SEEN = {
    "trained on": "trained on pairs of this data set (any split), by its card",
    "unknown": "not known what it was trained on",
}


def marked(row: Row, name: str) -> str:
    """A method's name with its marks behind it."""
    return " ".join(part for part in (name, MARK * bool(row.marks), SEEN[row.seen]) if part)


def seen_notes(table: Table) -> list[str]:
    """One line per mark of :data:`SEEN` that a table has: the mark and its meaning."""
    there = {row.seen for row in table.rows}
    return [f"{SEEN[state]} {meaning}" for state, meaning in _SEEN.items() if state in there]


def as_markdown(tables: Sequence[Table], title: str) -> str:
    """Tables in one Markdown document under a title; without the columns that are left out where room is scarce."""
    lines = [f"# {title}", ""]
    for table in tables:
        columns = [column for column in table.columns if not column.extra]
        lines += [f"## {_markdown(table.heading)}", "", table.legend, ""]
        if table.facts:
            lines += [*(f"- {_markdown(fact)}" for fact in table.facts), ""]
        shown = [[marked(row, _markdown(row.method)) for row in table.rows]]
        shown += [_markdown_cells(table, column) for column in columns]
        rows = list(zip(*shown, strict=True))
        lines += _grid(["method", *(_markdown(column.heading) for column in columns)], rows)
        lines += [f"- note: {_markdown(note)}" for note in table.notes]
        lines += [f"- {_markdown(note)}" for note in seen_notes(table)]
        lines += [
            f"- {MARK} {_markdown(row.method)}: {_markdown('; '.join(row.marks))}" for row in table.rows if row.marks
        ]
        lines.append("")
        for published in table.published if isinstance(table, QualityTable) else ():
            lines += [f"Published, not measured: {_markdown(_where(published))}", ""]
            lines += _grid(
                ["method", *map(_markdown, published.printed)],
                [[_markdown(line.method), *(printed(value) for value in line.values)] for line in published.rows],
            )
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def as_csv(tables: Sequence[QualityTable]) -> str:
    """Every mean, one line per method and metric; published values have no interval and no rank."""
    details = _detail_keys(tables)
    head = "kind task dataset split profile method metric mean low high images missing"
    rows: list[Sequence[object]] = [(*head.split(), *details, "stretch", "marks", "trained_on_it")]
    for table in tables:
        place = (table.task, table.dataset, table.split, table.profile)
        for row in table.rows:
            seen = {"trained on": "yes", "unknown": "unknown", "": "no"}[row.seen]
            costs = (*(row.value(key) for key in details), row.about.stretch, "; ".join(row.marks), seen)
            for column in table.scores:
                if (cell := row.cells.get(column.key)) is not None:
                    value = (cell.mean, cell.low, cell.high, cell.count, cell.missing)
                    rows.append(("measured", *place, row.method, column.key, *value, *costs))
        for published in table.published:
            for line in published.rows:
                for metric, mean in zip(published.metrics, line.values, strict=True):
                    known = (mean, None, None, published.pairs, None)
                    blanks = [None] * (len(details) + 1)
                    rows.append(("published", *place, line.method, metric, *known, *blanks, published.label, None))
    return _csv(rows)


def as_downstream_csv(tables: Sequence[DownstreamTable]) -> str:
    """Every value of every seed, one line per method, seed, class ("" for all) and score, from 0 to 1.

    The last column says why the row of the method is not ranked, or is empty.
    """
    details = _detail_keys(tables)
    head = "task dataset split network protocol method seed class score value"
    rows: list[Sequence[object]] = [(*head.split(), *details, "device", "marks")]
    for table in tables:
        measures = {column.key: column for column in table.columns if isinstance(column, Detail)}
        for row in table.rows:
            for record in row.records:
                place = (table.task, table.dataset, table.split, record.network.name, table.protocol)
                costs = (*(measures[key].measure((record,)) for key in details), record.cost.device)
                marks = "; ".join(row.marks)
                for label, scores in [("", record.scores), *record.per_class.items()]:
                    for score, value in scores.items():
                        rows.append((*place, row.method, record.seed, label, score, value, *costs, marks))
    return _csv(rows)


def as_json(tables: Sequence[Table]) -> str:
    """Tables as JSON: everything but the values of single images, which the records have."""
    return (
        json.dumps({"format": 1, "tables": [as_data(table) for table in tables]}, indent=1, ensure_ascii=False) + "\n"
    )


def as_data(table: Table) -> dict[str, Any]:
    """A table as plain data, for JSON and the page."""
    data: dict[str, Any] = {
        "task": table.task,
        "title": table.title,
        "dataset": table.dataset,
        "split": table.split,
        "label": table.label,
        "heading": table.heading,
        "table_columns": [column.as_data() for column in table.columns],
        "rows": [_row_data(table, row) for row in table.rows],
        "notes": list(table.notes),
    }
    if isinstance(table, QualityTable):
        metrics = [
            {"name": c.key, "higher_is_better": c.higher_is_better, "unit": c.unit, "ranks": c.ranks}
            for c in table.scores
        ]
        published = [_published_data(found) for found in table.published]
        data |= {"profile": table.profile, "pairs": table.pairs, "metrics": metrics, "wins": _wins_data(table)}
        data["published"] = published
    if isinstance(table, DownstreamTable):
        first = table.first
        overall = [c.key for c in table.scores if c.key in first.scores]
        data |= {"kind": first.kind, "classes": list(first.classes), "columns": overall}
        data["class_columns"] = list(next(iter(first.per_class.values())))
        data["protocol"] = {"name": table.protocol, **first.protocol}
        shared = {"name", "implementation", "version", "config", "parameters"}
        data |= {"network": first.network.model_dump(include=shared), "train": first.train.model_dump()}
        data["test"] = first.test.model_dump()
    return data


def printed(value: float | None) -> str:
    """A published value."""
    return "/" if value is None else f"{value:.2f}"


def _row_data(table: Table, row: Row) -> dict[str, Any]:
    about = row.about
    data: dict[str, Any] = {
        "method": row.method,
        "kind": about.kind,
        "version": about.version,
        "reference": about.reference,
        "stretch": about.stretch,
        "gamut": about.gamut,
        "devices": list(row.devices),
        "marks": list(row.marks),
        "ranked": row.ranked,
        "seen": row.seen,
        "trained_on": None if about.trained_on is None else list(about.trained_on),
        **{column.key: row.value(column.key) for column in table.details},
        "means": {c.key: _cell_data(row.cells[c.key]) for c in table.scores if c.key in row.cells},
    }
    if isinstance(table, DownstreamTable):
        data["seeds"] = [record.seed for record in row.records]
        data["scores"] = {
            name: _cell_data(seed_cell({r.seed: r.scores.get(name) for r in row.records}))
            for name in row.records[0].scores
        }
        data["per_class"] = {
            label: {
                name: _cell_data(seed_cell({r.seed: r.per_class.get(label, {}).get(name) for r in row.records}))
                for name in scores
            }
            for label, scores in row.records[0].per_class.items()
        }
    return data


def _cell_data(cell: Cell) -> dict[str, Any]:
    data: dict[str, Any] = {
        "mean": cell.mean,
        "low": cell.low,
        "high": cell.high,
        "count": cell.count,
        "missing": cell.missing,
    }
    if cell.values is not None:
        data |= {"deviation": cell.half_width, "values": list(cell.values.values())}
    return data


def _wins_data(table: QualityTable) -> list[dict[str, Any]]:
    names = [row.method for row in table.rows]
    wins = table.wins
    return [
        {
            "method": names[i],
            "against": names[j],
            "metric": column.key,
            "rate": float(wins.rate[i, j, k]),
            "p": float(wins.p[i, j, k]),
            "images": int(wins.images[i, j, k]),
        }
        for i in range(len(names))
        for j in range(i + 1, len(names))
        for k, column in enumerate(table.ranking)
        if wins.images[i, j, k]
    ]


def _published_data(table: PublishedTable) -> Mapping[str, Any]:
    return {
        "label": table.label,
        "citation": table.citation,
        "pairs": table.pairs,
        "profile": table.profile,
        "metrics": list(table.metrics),
        "printed": list(table.printed),
        "rows": [{"method": row.method, "values": list(row.values)} for row in table.rows],
    }


def _detail_keys(tables: Sequence[Table]) -> tuple[str, ...]:
    """The measured columns of all tables, in the order in which they are shown."""
    return tuple(dict.fromkeys(column.key for table in tables for column in table.details))


def _csv(lines: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for line in lines:
        writer.writerow([as_csv_cell(cell) if isinstance(cell, str) else cell for cell in line])
    return text.getvalue()


def _where(table: PublishedTable) -> str:
    pairs = f", {counted(table.pairs, 'pair')}" if table.pairs else ""
    return f"{table.label}{pairs}, profile {table.profile}. {table.citation}"


def _markdown_cells(table: Table, column: Column) -> list[str]:
    cells = [row.cells.get(column.key) for row in table.rows]
    shown = [" ".join(cell.lines(column)) if cell else "-" for cell in cells]
    places = table.placed(column.key) if column.score else [0] * len(shown)
    return [
        f"**{text}**" if k == 1 else f"<u>{text}</u>" if k == 2 else text for text, k in zip(shown, places, strict=True)
    ]


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(titles)} |",
        f"|{'|'.join([' --- ', *[' ---: '] * (len(titles) - 1)])}|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", html.escape(printable(text), quote=False))
