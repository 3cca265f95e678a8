"""``fusionkit bench-downstream``."""

from __future__ import annotations

from typing import Any

import click

from fusionkit.cli.bench_options import compare, method_options, run_options


@click.command("bench-downstream")
@click.argument("network")
@method_options(
    task="Fusion task, one of ivif, mif, mfif, meif, or a plugin's.  [default: the data's]",
    fuser="none; each source alone and their average are always compared",
)
@click.option(
    "--split",
    default="test",
    show_default=True,
    help="Split of the data to score on; the network is trained on 'train'.",
)
@click.option("--seeds", type=int, default=1, show_default=True, help="Trainings per method, 1 or more.")
@click.option("--preset", default="quick", show_default=True, help="Schedule: quick (400 updates) or paper (40,000).")
@click.option(
    "--size", metavar="HxW", help="Height and width in pixels that the network sees.  [default: the preset's]"
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the schedule (steps, batch, lr...) or network.NAME.",
)
@run_options(limit="Use only the first N pairs of each split.")
def command(network: str, seeds: int, preset: str, size: str | None, settings: tuple[str, ...], **asked: Any) -> None:
    """Compare methods by what a network does with their images: segment them, or detect objects in them.

    NETWORK is segmentation, detection, or a plugin's. It is trained afresh on each method's fused images of the
    labelled data's train split, and on either source and their average, and scored on --split. What is there already
    is not done again; 'torchrun --nproc-per-node N -m fusionkit bench-downstream ...' shares the trainings between N
    processes. The board in --out shows the tables with those of 'fusionkit bench'.

    \b
    fusionkit bench-downstream segmentation --data MSRS:data/MSRS --fuser ours=runs/tdfusion --seeds 3
    fusionkit bench-downstream detection --data LLVIP:data/LLVIP --fuser laplacian --preset paper
    """
    from fusionkit.bench.downstream.scorer import DownstreamScorer

    scorer = DownstreamScorer(network=network, seeds=seeds, preset=preset, size=size, settings=settings)
    compare(scorer, missing="trainings", lines=False, **asked)
