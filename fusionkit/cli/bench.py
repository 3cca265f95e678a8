"""``fusionkit bench``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click


@click.command("bench")
@click.option(
    "--task", "tasks", multiple=True, help="ivif, mif, mfif, meif, or a plugin's.  [default: all of the data]"
)
@click.option(
    "--fuser",
    "fusers",
    multiple=True,
    metavar="[LABEL=]MODEL",
    help="Name of a fuser, run folder, weights file, or FUSER:FILE for weights as a method's authors published them.  "
    "[default: every fuser that needs no training or ships weights; none: --results alone]",
)
@click.option("--results", multiple=True, metavar="NAME=DIR", help="Images that another program fused, by name.")
@click.option(
    "--data",
    multiple=True,
    default=("sample",),
    show_default=True,
    help="Folder, manifest, NAME:DIR of a data set, or sample.",
)
@click.option("--split", default="test", show_default=True, help="Which pairs, or 'all'.")
@click.option("-m", "--metric", "metrics", multiple=True, help="Metrics, separated by commas.  [default: the task's]")
@click.option("-p", "--profile", help="Convention, see 'fusionkit metrics'.  [default: the task's]")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench"),
    show_default=True,
    help="Where results, fused images and the board go.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--limit", type=int, metavar="N", help="Fuse only the first N pairs of each data set.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def command(
    tasks: tuple[str, ...],
    fusers: tuple[str, ...],
    results: tuple[str, ...],
    data: tuple[str, ...],
    split: str,
    metrics: tuple[str, ...],
    profile: str | None,
    out: Path,
    device: str,
    limit: int | None,
    quiet: bool,
) -> None:
    """Compare methods: fuse every pair, score the saved images, print a table.

    Every image's value of every metric is kept in a JSON file a method and data set below --out, with the fused images.
    What is there already is not done again: the same command goes on where it was stopped, more metrics or methods
    are added to it. 'torchrun --nproc-per-node N -m fusionkit bench ...' shares the pairs between N processes.

    \b
    fusionkit bench --task mif
    fusionkit bench --task ivif --data MSRS:data/MSRS --fuser ours=runs/refusion-ivif-paper --fuser laplacian
    fusionkit bench --task ivif --data TNO:data/TNO --results theirs=results/theirs --metric EN,SSIM,Qabf
    """
    from fusionkit.bench.benchmark import BenchRequest, run_bench
    from fusionkit.bench.report import write_board
    from fusionkit.bench.table import table
    from fusionkit.errors import DataError, UsageError

    names = tuple(name.strip() for part in metrics for name in part.split(",") if name.strip())
    if metrics and not names:
        raise UsageError("--metric: name at least one metric, as in --metric EN,SSIM")
    request = BenchRequest(
        tasks=tasks,
        fusers=fusers,
        results=results,
        data=data,
        split=split,
        metrics=names or None,
        profile=profile,
        device=device,
        limit=limit,
    )
    with _progress(quiet) as report:
        outcome = run_bench(request, out, report=report, say=lambda line: click.echo(line, err=True))
    if not outcome.leads:
        return
    click.echo("\n\n".join(table(records) for records in outcome.records))
    click.echo(f"board: {write_board(out).page}", err=True)
    if outcome.failures:
        raise DataError(f"{outcome.failures} results or values are missing (named above); the rest is in {out}")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A function that draws a bar a method on a terminal, and elsewhere says when a method is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet:
        yield None
    elif not console.is_terminal:

        def say(what: str, done: int, total: int) -> None:
            if done == total:
                click.echo(f"done: {what}, {total} pairs", err=True)

        yield say
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            bars: dict[str, TaskID] = {}

            def report(what: str, done: int, total: int) -> None:
                if what not in bars:
                    for bar in bars.values():
                        progress.update(bar, visible=False)
                    bars[what] = progress.add_task(what, total=total)
                progress.update(bars[what], completed=done)

            yield report
