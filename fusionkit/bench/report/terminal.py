"""Tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

import rich.table
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.text import Text

from fusionkit.bench.published_tables import PublishedTable
from fusionkit.bench.report.formats import MARK, marked, printed, seen_notes
from fusionkit.bench.report.quality_tables import QualityTable
from fusionkit.bench.report.tables import Column, Table
from fusionkit.io.text import printable

__all__ = ["as_terminal", "print_tables"]

_PIPED = 10_000
_STYLES = {1: "bold", 2: "underline"}


@dataclass(frozen=True)
class _Strip:
    """A column of a table as text: its title, one cell per row, and whether it is shown dimmed."""

    title: str
    cells: tuple[Text, ...]
    extra: bool = False

    @property
    def width(self) -> int:
        lines = [self.title, *(line for cell in self.cells for line in cell.plain.split("\n"))]
        return max(map(cell_len, lines)) + 2  # with the gap behind it


def print_tables(tables: Sequence[Table], stream: TextIO | None = None) -> None:
    """Print tables, one below the other: cut to a terminal's width, and never cut into a pipe or file.

    Args:
        tables: what to print.
        stream: where to; standard output if None.
    """
    stream = stream or sys.stdout
    console = Console(file=stream, highlight=False)
    width = console.width if console.is_terminal else None
    if width is None:
        console = Console(file=stream, highlight=False, width=_PIPED)
    # Written by us and not by rich, which ends the program where the reader has closed the pipe.
    with console.capture() as shown:
        for number, table in enumerate(tables):
            if number:
                console.print()
            console.print(as_terminal(table, width=width))
    stream.write(shown.get())
    stream.flush()


def as_terminal(table: Table, *, width: int | None = None) -> RenderableType:
    """A table for a terminal, with its notes and published rows below.

    Args:
        table: what to show.
        width: columns of the terminal. A wider table goes on below with the methods repeated; None never cuts.
    """
    methods = _Strip("method", tuple(Text(marked(r, printable(r.method))) for r in table.rows))
    strips = [_strip(table, column) for column in table.columns]
    parts: list[RenderableType] = [Text(printable(table.heading), style="bold")]
    parts += [_grid([methods, *block]) for block in _blocks(strips, None if width is None else width - methods.width)]
    parts += [
        Text(f"{MARK} {printable(row.method)}: {printable('; '.join(row.marks))}", style="yellow")
        for row in table.rows
        if row.marks
    ]
    parts += [Text(f"note: {printable(note)}", style="yellow") for note in table.notes]
    parts += [Text(note, style="dim") for note in seen_notes(table)]
    if isinstance(table, QualityTable):
        parts += [part for published in table.published for part in _published(published)]
    else:
        parts.append(Text(table.legend, style="dim"))
    return Group(*parts)


def _strip(table: Table, column: Column) -> _Strip:
    shown = column.score and not column.extra
    placed = table.placed(column.key) if shown else [0] * len(table.rows)
    cells = [
        Text(
            "\n".join(cell.lines(column)) if (cell := row.cells.get(column.key)) else "-",
            style=_STYLES.get(place, ""),
        )
        for row, place in zip(table.rows, placed, strict=True)
    ]
    return _Strip(printable(column.heading), tuple(cells), column.extra)


def _blocks(strips: Sequence[_Strip], width: int | None) -> Iterator[list[_Strip]]:
    """As many columns together as fit, one at least."""
    block: list[_Strip] = []
    for strip in strips:
        if block and width is not None and sum(s.width for s in [*block, strip]) > width:
            yield block
            block = []
        block.append(strip)
    yield block


def _grid(strips: Sequence[_Strip]) -> rich.table.Table:
    table = rich.table.Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for place, strip in enumerate(strips):
        table.add_column(
            Text(strip.title),
            justify="right" if place else "left",
            no_wrap=place > 0,
            overflow="fold",
            style="dim" if strip.extra else "",
        )
    for row in zip(*(strip.cells for strip in strips), strict=True):
        table.add_row(*row)
    return table


def _published(table: PublishedTable) -> Iterator[RenderableType]:
    yield Text(f"\npublished, not measured: {printable(table.label)}", style="bold")
    columns = [
        _Strip(printable(title), tuple(Text(printed(row.values[place])) for row in table.rows))
        for place, title in enumerate(table.printed)
    ]
    yield _grid([_Strip("method", tuple(Text(printable(row.method)) for row in table.rows)), *columns])
