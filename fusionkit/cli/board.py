"""``fusionkit board``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("board")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("bench"))
@click.option("--task", help="Print the tables of this task alone; the page has all.")
@click.option("-q", "--quiet", is_flag=True, help="Print no tables.")
def command(folder: Path, task: str | None, quiet: bool) -> None:
    """Write the board of a bench again from its results: nothing is fused or scored.

    DIR is the folder that 'fusionkit bench' wrote to.  [default: bench]

    For results that came from elsewhere, or were taken out: copy or delete files below DIR/results and DIR/fused.

    \b
    fusionkit board bench
    """
    from fusionkit.bench.report.board import load_results, write_board
    from fusionkit.bench.report.terminal import print_boards

    boards = load_results(folder)
    if not quiet:
        print_boards(load_results(folder, task=task) if task else boards)
    click.echo(f"board: {write_board(folder, boards).page}", err=True)
