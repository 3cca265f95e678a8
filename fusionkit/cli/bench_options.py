"""Options, progress bars and the way from a request to a board that the commands of a benchmark share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fusionkit.cli.notes import say
from fusionkit.io.text import counted, printable

if TYPE_CHECKING:
    from fusionkit.bench.request import Scorer

__all__ = ["compare", "method_options", "run_options"]

_RESULTS = "Images that another program fused, by name."
_DATA = "Folder, manifest, NAME:DIR of a data set, or sample."
_OUT = "Folder for results, fused images and the board."
_STRETCH = "Stretch each fused luminance to its full range, or not; method: as each method's authors do."
_GAMUT = "Where a fused colour leaves RGB, reduce its chroma, or clip each channel as the papers' code does."

_SPEED = "Fuse all pixels, or approximate that from two sources shrunk 2, 4 or 8 times."
_BACKEND = "On a CPU: a method's compiled form where it has one, PyTorch, or the compiled form alone."


def method_options(*, task: str, fuser: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add ``--task``, ``--fuser``, ``--results`` and ``--data`` to a command.

    Args:
        task: help text of ``--task``.
        fuser: the default of ``--fuser`` in words.
    """
    fuser = (
        "Name of a fuser, FUSER:NAME=VALUE,... for other options, run folder, weights file, or FUSER:FILE for weights "
        "as a method's authors published them.  "
        f"[default: {fuser}]"
    )
    return _added(
        click.option("--task", "tasks", multiple=True, help=task),
        click.option("--fuser", "fusers", multiple=True, metavar="[LABEL=]MODEL", help=fuser),
        click.option("--results", multiple=True, metavar="NAME=DIR", help=_RESULTS),
        click.option("--data", multiple=True, default=("sample",), show_default=True, help=_DATA),
    )


def run_options(*, limit: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options that both bench commands share, from ``--out`` to ``--quiet``.

    Args:
        limit: help text of ``--limit``.
    """
    folder = click.Path(path_type=Path, file_okay=False)
    stretch = click.Choice(["full", "none", "method"])
    gamut = click.Choice(["keep-luminance", "clip"])
    backend = click.Choice(["auto", "torch", "native"])
    speed = click.Choice(["exact", "half", "quarter", "eighth"])
    return _added(
        click.option("-o", "--out", type=folder, default=Path("bench"), show_default=True, help=_OUT),
        click.option("--stretch", type=stretch, default="method", show_default=True, help=_STRETCH),
        click.option("--gamut", type=gamut, default="keep-luminance", show_default=True, help=_GAMUT),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda."),
        click.option("--backend", type=backend, default="auto", show_default=True, help=_BACKEND),
        click.option("--speed", type=speed, default="exact", show_default=True, help=_SPEED),
        click.option("--limit", type=int, metavar="N", help=limit),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
    )


def compare(scorer: Scorer, *, out: Path, stretch: str, quiet: bool, missing: str, lines: bool, **asked: Any) -> None:
    """Run a bench, write its board and then print its tables, so that what cannot be printed is written all the same.

    Args:
        scorer: how methods are compared.
        out: the bench's folder.
        stretch: as ``--stretch`` takes it.
        quiet: show no progress.
        missing: what is missing where something failed.
        lines: whether to print a line per finished job where there is no terminal.
        asked: the rest of the :class:`fusionkit.bench.request.BenchRequest`.

    Raises:
        fusionkit.errors.FusionkitError: as :func:`fusionkit.bench.benchmark.run_bench`, or results are missing.
    """
    from fusionkit.bench.benchmark import run_bench
    from fusionkit.bench.report.board import tables_of, write_board
    from fusionkit.bench.report.terminal import print_tables
    from fusionkit.bench.request import BenchRequest
    from fusionkit.errors import DataError

    request = BenchRequest(scorer=scorer, stretch=None if stretch == "method" else stretch, **asked)  # type: ignore[arg-type]
    with _progress(quiet, lines=lines) as progress:
        outcome = run_bench(request, out, progress=progress, say=say)
    if not outcome.leads:
        return
    tables = tables_of(record for records in outcome.records for record in records)
    if tables:
        page = write_board(out).page
        print_tables(tables)
        say(f"board: {page}")
    if outcome.failures:
        raise DataError(f"{outcome.failures} {missing} are missing (named above); the rest is in {out}")


@contextmanager
def _progress(quiet: bool, *, lines: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A function that draws a bar per job on a terminal, and elsewhere prints a line when a job is done.

    Args:
        quiet: show nothing.
        lines: whether to print lines where there is no terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not (console.is_terminal or lines):
        yield None
    elif not console.is_terminal:

        def echo(what: str, done: int, total: int) -> None:
            if done == total:
                say(f"done: {what}, {counted(total, 'pair')}")

        yield echo
    else:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as progress:
            bars: dict[str, TaskID] = {}

            def update(what: str, done: int, total: int) -> None:
                if what not in bars:
                    for bar in bars.values():
                        progress.update(bar, visible=False)
                    bars[what] = progress.add_task(printable(what), total=total)
                progress.update(bars[what], completed=done)

            yield update


def _added(*options: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in reversed(options):
            command = option(command)
        return command

    return add
