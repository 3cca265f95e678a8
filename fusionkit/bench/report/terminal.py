"""Leaderboards on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from fusionkit.bench.published_tables import PublishedTable
from fusionkit.bench.report.formats import MARK, cell_lines, costs, heading, printable, printed, titled
from fusionkit.bench.report.quality_tables import Column, Leaderboard

__all__ = ["as_terminal", "print_boards"]

_PIPED = 10_000
_STYLES = {1: "bold", 2: "underline"}


@dataclass(frozen=True)
class _Strip:
    """A column of a table: its title, a cell a row, and whether it counts for the rank."""

    title: str
    cells: tuple[Text, ...]
    ranks: bool = True

    @property
    def width(self) -> int:
        lines = [self.title, *(line for cell in self.cells for line in cell.plain.split("\n"))]
        return max(map(cell_len, lines)) + 2  # with the gap behind it


def print_boards(boards: Sequence[Leaderboard], stream: TextIO | None = None) -> None:
    """Print tables, one below the other: cut to a terminal's width, and never cut into a pipe or file.

    Args:
        boards: what to print.
        stream: where to; standard output if None.
    """
    console = Console(file=stream, highlight=False)
    width = console.width if console.is_terminal else None
    if width is None:
        console = Console(file=stream, highlight=False, width=_PIPED)
    for number, board in enumerate(boards):
        if number:
            console.print()
        console.print(as_terminal(board, width=width))


def as_terminal(board: Leaderboard, *, width: int | None = None) -> RenderableType:
    """A board as tables for a terminal, with what is to be said of it and published rows below.

    Args:
        board: what to show.
        width: columns of the terminal. A wider table goes on below with the methods repeated; None never cuts.
    """
    methods = _Strip("method", tuple(Text(f"{_name(board, k)}") for k in range(len(board.rows))))
    strips = [*(_metric(board, column) for column in board.columns), *_costs(board)]
    parts: list[RenderableType] = [Text(heading(board), style="bold")]
    parts += [_table([methods, *block]) for block in _blocks(strips, None if width is None else width - methods.width)]
    parts += [
        Text(f"{MARK} {printable(row.record.method.name)}: {printable('; '.join(row.marks))}", style="yellow")
        for row in board.rows
        if row.marks
    ]
    parts += [Text(f"note: {printable(note)}", style="yellow") for note in board.notes]
    parts += [part for table in board.published for part in _published(table)]
    return Group(*parts)


def _name(board: Leaderboard, row: int) -> str:
    return printable(board.rows[row].record.method.name) + (f" {MARK}" if board.rows[row].marks else "")


def _metric(board: Leaderboard, column: Column) -> _Strip:
    placed = board.placed(column.metric) if column.ranks else {}
    cells = [
        Text(
            "\n".join(cell_lines(row.cells.get(column.metric), column)),
            style=_STYLES.get(placed.get(row.record.method.name, 0), ""),
        )
        for row in board.rows
    ]
    return _Strip(titled(column), tuple(cells), column.ranks)


def _costs(board: Leaderboard) -> Iterator[_Strip]:
    shown = [costs(row) for row in board.rows]
    for place, title in enumerate(("rank", "wins", "params", "time", "memory")):
        yield _Strip(title, tuple(Text(values[place]) for values in shown))


def _blocks(strips: Sequence[_Strip], width: int | None) -> Iterator[list[_Strip]]:
    """As many columns together as fit, one at least."""
    block: list[_Strip] = []
    for strip in strips:
        if block and width is not None and sum(s.width for s in [*block, strip]) > width:
            yield block
            block = []
        block.append(strip)
    yield block


def _table(strips: Sequence[_Strip]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for place, strip in enumerate(strips):
        table.add_column(
            strip.title,
            justify="right" if place else "left",
            no_wrap=place > 0,
            overflow="fold",
            style="" if strip.ranks else "dim",
        )
    for row in zip(*(strip.cells for strip in strips), strict=True):
        table.add_row(*row)
    return table


def _published(table: PublishedTable) -> Iterator[RenderableType]:
    yield Text(f"\npublished, not measured: {printable(table.label)}", style="bold")
    columns = [
        _Strip(title, tuple(Text(printed(row.values[place])) for row in table.rows))
        for place, title in enumerate(table.printed)
    ]
    yield _table([_Strip("method", tuple(Text(printable(row.method)) for row in table.rows)), *columns])
