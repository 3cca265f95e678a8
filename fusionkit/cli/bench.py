"""``fusionkit bench``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

import click

from fusionkit.cli.bench_options import bench_progress, method_options, run_options
from fusionkit.cli.notes import say
from fusionkit.errors import UsageError

_MOVED = "--downstream"


class _Bench(click.Command):
    """The command, which names the one that took over ``--downstream``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for place, arg in enumerate(args):
            name, equals, network = arg.partition("=")
            if name == _MOVED:
                left = args[place + 1 :]
                if not equals:
                    network, left = (left[0] if left else "NETWORK"), left[1:]
                command = shlex.join([network, *args[:place], *left])
                raise UsageError(f"{_MOVED}: is a command of its own: fusionkit bench-downstream {command}")
        return super().parse_args(ctx, args)


@click.command("bench", cls=_Bench)
@method_options(
    task="ivif, mif, mfif, meif, or a plugin's.  [default: all of the data]",
    fuser="every fuser that needs no training or ships weights; none: --results alone",
)
@click.option("--split", default="test", show_default=True, help="Which pairs, or 'all'.")
@click.option("-m", "--metric", "metrics", multiple=True, help="Metrics, separated by commas.  [default: the task's]")
@click.option("-p", "--profile", help="Convention, see 'fusionkit metrics'.  [default: the task's]")
@click.option("--maps/--no-maps", default=True, show_default=True, help="Whether to draw the methods' weight maps.")
@run_options(limit="Fuse only the first N pairs of each data set.")
def command(
    tasks: tuple[str, ...],
    fusers: tuple[str, ...],
    results: tuple[str, ...],
    data: tuple[str, ...],
    split: str,
    metrics: tuple[str, ...],
    profile: str | None,
    maps: bool,
    out: Path,
    stretch: Literal["full", "none", "method"],
    gamut: Literal["keep-luminance", "clip"],
    device: str,
    backend: Literal["auto", "torch", "native"],
    limit: int | None,
    quiet: bool,
) -> None:
    """Compare methods: fuse every pair, score the saved images, print leaderboards and write them as a page.

    Writes one JSON file per method and data set under --out, with every image's value of every metric, and the fused
    images. What is there already is not done again: the same command resumes where it was stopped, and more metrics
    or methods are added to it. 'torchrun --nproc-per-node N -m fusionkit bench ...' shares the pairs between N
    processes; 'fusionkit board' writes the page again from the files alone.

    \b
    fusionkit bench --task mif
    fusionkit bench --task ivif --data MSRS:data/MSRS --fuser ours=runs/refusion-ivif-paper --fuser laplacian
    fusionkit bench --task ivif --data TNO:data/TNO --results theirs=results/theirs --metric EN,SSIM,Qabf
    """
    from fusionkit.bench.benchmark import BenchRequest, run_bench
    from fusionkit.bench.quality_scorer import QualityScorer
    from fusionkit.bench.report.board import write_board
    from fusionkit.bench.report.quality_tables import quality_tables
    from fusionkit.bench.report.terminal import print_tables
    from fusionkit.errors import DataError

    names = tuple(name.strip() for part in metrics for name in part.split(",") if name.strip())
    if metrics and not names:
        raise UsageError("--metric: name at least one metric, as in --metric EN,SSIM")
    request = BenchRequest(
        tasks=tasks,
        fusers=fusers,
        results=results,
        data=data,
        split=split,
        device=device,
        limit=limit,
        stretch=None if stretch == "method" else stretch,
        gamut=gamut,
        backend=backend,
        scorer=QualityScorer(metrics=names or None, profile=profile, maps=maps),
    )
    with bench_progress(quiet) as progress:
        outcome = run_bench(request, out, progress=progress, say=say)
    if not outcome.leads:
        return
    board = write_board(out)  # before anything is printed: the files do not depend on the terminal
    print_tables(quality_tables(record for records in outcome.records for record in records))
    say(f"board: {board.page}")
    if outcome.failures:
        raise DataError(f"{outcome.failures} results or values are missing (named above); the rest is in {out}")
