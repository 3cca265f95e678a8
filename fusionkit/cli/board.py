"""``fusionkit board``."""

from __future__ import annotations

from pathlib import Path

import click

from fusionkit.cli.notes import say


@click.command("board")
@click.argument("folder", metavar="[DIR]", type=click.Path(path_type=Path), default=Path("bench"))
@click.option("--task", help="Print only the tables of this task; the page has all.")
@click.option("-q", "--quiet", is_flag=True, help="Print no tables.")
@click.option(
    "--copy-to",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Also write a small copy of the page there, complete in itself, for a repository or a web site.",
)
@click.option(
    "--pairs",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Pairs of each data set whose images the copy has.",
)
@click.option(
    "--longest",
    type=click.IntRange(16, 4096),
    default=384,
    show_default=True,
    help="Longer side of the copy's images in pixels, at most.",
)
def command(folder: Path, task: str | None, quiet: bool, copy_to: Path | None, pairs: int, longest: int) -> None:
    """Rewrite the leaderboards of a benchmark from its results, without fusing or scoring.

    DIR is the folder that 'fusionkit bench' wrote to.  [default: bench]

    Use it after copying results into DIR/results and DIR/fused, or deleting some there.

    \b
    fusionkit board bench
    fusionkit board bench --copy-to docs/board --pairs 1
    """
    from fusionkit.bench.report.board import load_results, write_board, write_copy
    from fusionkit.bench.report.terminal import print_tables

    tables = load_results(folder)
    shown = load_results(folder, task=task) if task else tables
    board = write_board(folder, tables)
    if not quiet:
        print_tables(shown)
    say(f"board: {board.page}")
    if copy_to is not None:
        say(f"copy: {write_copy(folder, copy_to, tables, pairs=pairs, longest=longest)}")
