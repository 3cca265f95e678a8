"""``fusionkit bench``."""

from __future__ import annotations

import shlex
from typing import Any

import click

from fusionkit.cli.bench_options import compare, method_options, run_options
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
    task="Fusion task: ivif, mif, mfif, meif, or a plugin's; may be repeated.  [default: every task of the data]",
    fuser="every fuser that needs no training or ships weights; 'none' scores --results alone",
)
@click.option("--split", default="test", show_default=True, help="Split of the data to fuse, or 'all'.")
@click.option("-m", "--metric", "metrics", multiple=True, help="Metrics, separated by commas.  [default: the task's]")
@click.option(
    "-p", "--profile", help="Profile: convention of the metrics, see 'fusionkit metrics'.  [default: the task's]"
)
@click.option(
    "--maps/--no-maps", default=True, show_default=True, help="Write the weight maps of methods that have some."
)
@run_options(limit="Fuse only the first N pairs of each data set.")
def command(metrics: tuple[str, ...], profile: str | None, maps: bool, **asked: Any) -> None:
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
    from fusionkit.bench.quality_scorer import QualityScorer

    names = tuple(name.strip() for part in metrics for name in part.split(",") if name.strip())
    if metrics and not names:
        raise UsageError("--metric: name at least one metric, as in --metric EN,SSIM")
    scorer = QualityScorer(metrics=names or None, profile=profile, maps=maps)
    compare(scorer, missing="results or values", lines=True, **asked)
