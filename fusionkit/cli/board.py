"""``fusionkit board``."""

from __future__ import annotations

from pathlib import Path

import click

from fusionkit.cli.notes import say


@click.command("board")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("bench"))
@click.option("--task", help="Print only the tables of this task; the page has all.")
@click.option("-q", "--quiet", is_flag=True, help="Print no tables.")
def command(folder: Path, task: str | None, quiet: bool) -> None:
    """Rewrite the leaderboards of a benchmark from its results, without fusing or scoring.

    DIR is the folder that 'fusionkit bench' wrote to.  [default: bench]

    Use it after copying results into DIR/results and DIR/fused, or deleting some there.

    \b
    fusionkit board bench
    """
    from fusionkit.bench.report.board import load_results, write_board
    from fusionkit.bench.report.terminal import print_tables

    tables = load_results(folder)
    shown = load_results(folder, task=task) if task else tables
    board = write_board(folder, tables)
    if not quiet:
        print_tables(shown)
    say(f"board: {board.page}")
