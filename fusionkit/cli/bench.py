"""``fusionkit bench``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

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
@click.option(
    "--stretch",
    type=click.Choice(["full", "none", "method"]),
    default="method",
    show_default=True,
    help="Stretch each fused luminance to its full range, or not; method: as each method's authors do.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
@click.option("--maps/--no-maps", default=True, show_default=True, help="Whether to draw the methods' weight maps.")
@click.option("--limit", type=int, metavar="N", help="Fuse only the first N pairs of each data set.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option(
    "--downstream",
    metavar="NETWORK",
    help="Train NETWORK (segmentation, detection, or a plugin's) afresh on each method's fused images of the labelled "
    "data's train split, and on either source and their average, and score it on --split.",
)
@click.option("--seeds", type=int, default=1, show_default=True, help="With --downstream: trainings a method.")
@click.option("--preset", default="quick", show_default=True, help="With --downstream: schedule, quick or paper.")
@click.option("--size", metavar="HxW", help="With --downstream: height and width that the network sees.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="With --downstream: an option of the schedule (steps, batch, lr...) or network.NAME.",
)
def command(
    tasks: tuple[str, ...],
    fusers: tuple[str, ...],
    results: tuple[str, ...],
    data: tuple[str, ...],
    split: str,
    metrics: tuple[str, ...],
    profile: str | None,
    out: Path,
    stretch: Literal["full", "none", "method"],
    device: str,
    maps: bool,
    limit: int | None,
    quiet: bool,
    downstream: str | None,
    seeds: int,
    preset: str,
    size: str | None,
    settings: tuple[str, ...],
) -> None:
    """Compare methods: fuse every pair, score the saved images, print leaderboards and write them as a page.

    Every image's value of every metric is kept in a JSON file a method and data set below --out, with the fused images.
    What is there already is not done again: the same command goes on where it was stopped, more metrics or methods
    are added to it. 'torchrun --nproc-per-node N -m fusionkit bench ...' shares the pairs between N processes;
    'fusionkit board' writes the page again from the files alone.

    \b
    fusionkit bench --task mif
    fusionkit bench --task ivif --data MSRS:data/MSRS --fuser ours=runs/refusion-ivif-paper --fuser laplacian
    fusionkit bench --task ivif --data TNO:data/TNO --results theirs=results/theirs --metric EN,SSIM,Qabf
    fusionkit bench --downstream segmentation --data MSRS:data/MSRS --fuser ours=runs/tdfusion --seeds 3
    """
    if downstream is not None:
        from fusionkit.cli.downstream import bench_downstream

        with _progress(quiet or not sys.stderr.isatty()) as report:
            bench_downstream(
                network=downstream,
                tasks=tasks,
                fusers=fusers,
                results=results,
                data=data,
                split=split,
                metrics=(*metrics, *([profile] if profile else [])),
                out=out,
                stretch=None if stretch == "method" else stretch,
                device=device,
                limit=limit,
                seeds=seeds,
                preset=preset,
                size=size,
                settings=settings,
                report=report,
            )
        return
    from fusionkit.bench.benchmark import BenchRequest, run_bench
    from fusionkit.bench.report.board import write_board
    from fusionkit.bench.report.quality_tables import quality_tables
    from fusionkit.bench.report.terminal import print_tables
    from fusionkit.errors import DataError, UsageError

    if settings or size is not None:
        raise UsageError("--set and --size: are the schedule of a network: name it with --downstream")
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
        maps=maps,
        stretch=None if stretch == "method" else stretch,
    )
    with _progress(quiet) as report:
        outcome = run_bench(request, out, report=report, say=lambda line: click.echo(line, err=True))
    if not outcome.leads:
        return
    print_tables(quality_tables(record for records in outcome.records for record in records))
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
