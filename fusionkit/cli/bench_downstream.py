"""``fusionkit bench-downstream``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from fusionkit.cli.bench_options import bench_progress, method_options, run_options
from fusionkit.cli.notes import say


@click.command("bench-downstream")
@click.argument("network")
@method_options(
    task="ivif, mif, mfif, meif, or a plugin's; one.  [default: the data's own, else ivif]",
    fuser="none beside either source and their average",
)
@click.option("--split", default="test", show_default=True, help="Which pairs to score on.")
@click.option("--seeds", type=int, default=1, show_default=True, help="Trainings per method.")
@click.option("--preset", default="quick", show_default=True, help="Schedule: quick or paper.")
@click.option("--size", metavar="HxW", help="Height and width that the network sees.  [default: the preset's]")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the schedule (steps, batch, lr...) or network.NAME.",
)
@run_options(limit="Use only the first N pairs of each split.")
def command(
    network: str,
    tasks: tuple[str, ...],
    fusers: tuple[str, ...],
    results: tuple[str, ...],
    data: tuple[str, ...],
    split: str,
    seeds: int,
    preset: str,
    size: str | None,
    settings: tuple[str, ...],
    out: Path,
    stretch: Literal["full", "none", "method"],
    gamut: Literal["keep-luminance", "clip"],
    device: str,
    backend: Literal["auto", "torch", "native"],
    limit: int | None,
    quiet: bool,
) -> None:
    """Compare methods by what a network does with their images: segment them, or detect objects in them.

    NETWORK is segmentation, detection, or a plugin's. It is trained afresh on each method's fused images of the
    labelled data's train split, and on either source and their average, and scored on --split. What is there already
    is not done again; 'torchrun --nproc-per-node N -m fusionkit bench-downstream ...' shares the trainings between N
    processes. The tables stand on the board of --out, beside those of 'fusionkit bench'.

    \b
    fusionkit bench-downstream segmentation --data MSRS:data/MSRS --fuser ours=runs/tdfusion --seeds 3
    fusionkit bench-downstream detection --data LLVIP:data/LLVIP --fuser laplacian --preset paper
    """
    from fusionkit.bench.benchmark import BenchRequest, run_bench
    from fusionkit.bench.downstream.scorer import DownstreamScorer
    from fusionkit.bench.report.board import write_board
    from fusionkit.bench.report.downstream_tables import downstream_tables
    from fusionkit.bench.report.terminal import print_tables
    from fusionkit.errors import DataError

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
        scorer=DownstreamScorer(network=network, seeds=seeds, preset=preset, size=size, settings=settings),
    )
    with bench_progress(quiet, lines=False) as progress:
        outcome = run_bench(request, out, progress=progress, say=say)
    if not outcome.leads:
        return
    tables = [table for table in downstream_tables(out) if table.folder in outcome.folders]
    board = write_board(out) if tables else None  # before anything is printed, as in 'fusionkit bench'
    print_tables(tables)
    if board:
        say(f"board: {board.page}")
    if outcome.failures:
        raise DataError(f"{outcome.failures} trainings are missing (named above); the rest is in {out}")
