"""Leaderboards as Markdown, CSV and JSON. Published rows are set apart in each."""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fusionkit.bench.published_tables import PublishedTable
from fusionkit.bench.report.quality_tables import Cell, Column, Leaderboard, Row

__all__ = [
    "MARK",
    "as_csv",
    "as_json",
    "as_markdown",
    "cell_lines",
    "costs",
    "heading",
    "memory",
    "parameters",
    "plain",
    "printable",
    "printed",
    "seconds",
    "titled",
]

MARK = "†"
"""Stands behind a method that departs from its table's protocol."""

_LEGEND = (
    "Means over images ± half of the 95 % bootstrap interval (percentile, 9999 draws). Best in bold, second-best "
    "underlined, among ranked rows. Rank: mean over the metrics of the rank. Wins: share of images on which a method "
    "is better than another one, over rivals and metrics. Published rows are what papers print, never ranked."
)


def as_markdown(boards: Sequence[Leaderboard]) -> str:
    """Every table in one Markdown document."""
    lines = ["# Leaderboards", "", _LEGEND, ""]
    for board in boards:
        lines += [f"## {_markdown(heading(board))}", ""]
        titles = ["method", *(titled(column) for column in board.ranking), "rank", "wins", "params", "time", "memory"]
        rows = [_markdown_row(board, row) for row in board.rows]
        lines += _grid(titles, rows)
        lines += [f"- note: {_markdown(note)}" for note in board.notes]
        lines += [
            f"- {_markdown(row.record.method.name)}: {_markdown('; '.join(row.marks))}"
            for row in board.rows
            if row.marks
        ]
        lines.append("")
        for table in board.published:
            lines += [f"Published, not measured: {_markdown(_where(table))}", ""]
            lines += _grid(
                ["method", *table.printed],
                [[_markdown(line.method), *(printed(value) for value in line.values)] for line in table.rows],
            )
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def as_csv(boards: Sequence[Leaderboard]) -> str:
    """Every mean in one table: a line a method and metric; published values have no interval and no rank."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = "kind task dataset split profile method metric mean low high images missing mean_rank win_rate"
    writer.writerow((*head.split(), "parameters", "seconds", "peak_bytes", "stretch", "marks"))
    for board in boards:
        place = (board.task, board.dataset, board.split, board.profile)
        for row in board.rows:
            method = row.record.method
            costs = (method.parameters, row.seconds, row.peak_bytes, method.stretch, "; ".join(row.marks))
            for metric, cell in row.cells.items():
                value = (cell.mean, cell.low, cell.high, cell.count, cell.missing)
                writer.writerow(("measured", *place, method.name, metric, *value, row.mean_rank, row.win_rate, *costs))
        for table in board.published:
            for line in table.rows:
                for metric, mean in zip(table.metrics, line.values, strict=True):
                    printed = (mean, "", "", table.pairs, "")
                    writer.writerow(("published", *place, line.method, metric, *printed, *[""] * 6, table.label))
    return text.getvalue()


def as_json(boards: Sequence[Leaderboard]) -> str:
    """Everything as JSON: rows, intervals, win rates with their p-values, notes, published tables."""
    return json.dumps({"format": 1, "tables": [plain(board) for board in boards]}, indent=1, ensure_ascii=False) + "\n"


def heading(board: Leaderboard) -> str:
    """What a table is about: ``"infrared-visible image fusion: MSRS-test, 361 pairs, profile refusion"``."""
    pairs = f"{board.pairs} pair{'s' if board.pairs != 1 else ''}"
    return f"{board.title}: {board.rows[0].record.label}, {pairs}, profile {board.profile}"


def printable(text: str) -> str:
    """Text with what is not printable replaced, so that a name cannot move a terminal's cursor."""
    return "".join(c if c.isprintable() else "�" for c in text)


def parameters(number: int | None) -> str:
    """``"59.9 k"``."""
    return "-" if number is None else _scaled(number, ("", "k", "M", "G"), 1000)


def seconds(value: float | None) -> str:
    """``"12.3 ms"``."""
    if value is None:
        return "-"
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} µs"


def memory(value: int | None) -> str:
    """``"48.0 MiB"``."""
    return "-" if value is None else _scaled(value, ("B", "KiB", "MiB", "GiB", "TiB"), 1024)


def _scaled(number: float, units: Sequence[str], step: int) -> str:
    place = 0
    while number >= step and place < len(units) - 1:
        number /= step
        place += 1
    return f"{number:.1f} {units[place]}".strip() if place else f"{number:.0f} {units[0]}".strip()


def titled(column: Column) -> str:
    """``"EN ↑"``."""
    return f"{column.metric} {'↑' if column.higher_is_better else '↓'}"


def cell_lines(cell: Cell | None, column: Column) -> list[str]:
    """The mean, half of its interval, and the number of values where some are missing."""
    if cell is None or cell.mean is None:
        return ["-"]
    half = [] if cell.half_width is None else [f"± {cell.half_width:.{column.decimals}f}"]
    return [f"{cell.mean:.{column.decimals}f}", *half, *([f"(n={cell.count})"] if cell.missing else [])]


def costs(row: Row) -> tuple[str, str, str, str, str]:
    """Rank, wins, parameters, time and memory as they are shown."""
    return (
        "-" if row.mean_rank is None else f"{row.mean_rank:.2f}",
        "-" if row.win_rate is None else f"{row.win_rate:.0%}",
        parameters(row.record.method.parameters),
        seconds(row.seconds),
        memory(row.peak_bytes),
    )


def printed(value: float | None) -> str:
    """A published value."""
    return "/" if value is None else f"{value:.2f}"


def _where(table: PublishedTable) -> str:
    pairs = f", {table.pairs} pairs" if table.pairs else ""
    return f"{table.label}{pairs}, profile {table.profile}. {table.citation}"


def _markdown_row(board: Leaderboard, row: Row) -> list[str]:
    name = row.record.method.name
    cells = []
    for column in board.ranking:
        shown = " ".join(cell_lines(row.cells.get(column.metric), column))
        place = board.placed(column.metric).get(name)
        cells.append(f"**{shown}**" if place == 1 else f"<u>{shown}</u>" if place == 2 else shown)
    return [_markdown(name) + (f" {MARK}" if row.marks else ""), *cells, *costs(row)]


def _grid(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [
        f"| {' | '.join(titles)} |",
        f"|{'|'.join([' --- ', *[' ---: '] * (len(titles) - 1)])}|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", html.escape(printable(text), quote=False))


def plain(board: Leaderboard) -> dict[str, Any]:
    """A table as plain data."""
    return {
        "task": board.task,
        "dataset": board.dataset,
        "split": board.split,
        "profile": board.profile,
        "pairs": board.pairs,
        "metrics": [
            {"name": c.metric, "higher_is_better": c.higher_is_better, "unit": c.unit, "ranks": c.ranks}
            for c in board.columns
        ],
        "rows": [_plain_row(row) for row in board.rows],
        "wins": _plain_wins(board),
        "notes": list(board.notes),
        "published": [_plain_published(table) for table in board.published],
    }


def _plain_row(row: Row) -> dict[str, Any]:
    method = row.record.method
    return {
        "method": method.name,
        "kind": method.kind,
        "version": method.version,
        "reference": method.reference,
        "stretch": method.stretch,
        "parameters": method.parameters,
        "mean_rank": row.mean_rank,
        "win_rate": row.win_rate,
        "seconds": row.seconds,
        "peak_bytes": row.peak_bytes,
        "devices": list(row.devices),
        "marks": list(row.marks),
        "means": {
            metric: {"mean": c.mean, "low": c.low, "high": c.high, "count": c.count, "missing": c.missing}
            for metric, c in row.cells.items()
        },
    }


def _plain_wins(board: Leaderboard) -> list[dict[str, Any]]:
    names = [row.record.method.name for row in board.rows]
    wins = board.wins
    return [
        {
            "method": names[i],
            "against": names[j],
            "metric": column.metric,
            "rate": float(wins.rate[i, j, k]),
            "p": float(wins.p[i, j, k]),
            "images": int(wins.images[i, j, k]),
        }
        for i in range(len(names))
        for j in range(i + 1, len(names))
        for k, column in enumerate(board.ranking)
        if wins.images[i, j, k]
    ]


def _plain_published(table: PublishedTable) -> Mapping[str, Any]:
    return {
        "label": table.label,
        "citation": table.citation,
        "pairs": table.pairs,
        "profile": table.profile,
        "metrics": list(table.metrics),
        "printed": list(table.printed),
        "rows": [{"method": row.method, "values": list(row.values)} for row in table.rows],
    }
