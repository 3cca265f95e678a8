"""``fusionkit bench --downstream``: comparing methods by what a network does with their images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fusionkit.fuse.tensors import Stretch

__all__ = ["bench_downstream"]


def bench_downstream(
    *,
    network: str,
    tasks: tuple[str, ...],
    fusers: tuple[str, ...],
    results: tuple[str, ...],
    data: tuple[str, ...],
    split: str,
    metrics: tuple[str, ...],
    out: Path,
    stretch: Stretch | None,
    device: str,
    limit: int | None,
    seeds: int,
    preset: str,
    size: str | None,
    settings: tuple[str, ...],
    report: Callable[[str, int, int], None] | None,
) -> None:
    """Run it, print its tables on stdout and write the board.

    Raises:
        fusionkit.errors.DataError: some trainings are missing; the rest was printed.
    """
    from fusionkit.bench.downstream.experiments import DownstreamRequest, run_downstream
    from fusionkit.bench.report.board import write_board
    from fusionkit.bench.report.downstream_tables import downstream_tables
    from fusionkit.bench.report.terminal import print_tables
    from fusionkit.errors import DataError, UsageError

    if metrics:
        raise UsageError("--metric and --profile: are for fusion quality: bench once more, without --downstream")
    request = DownstreamRequest(
        network=network,
        tasks=tasks,
        fusers=fusers,
        results=results,
        data=data,
        split=split,
        seeds=seeds,
        preset=preset,
        size=size,
        settings=settings,
        device=device,
        limit=limit,
        stretch=stretch,
    )
    outcome = run_downstream(request, out, report=report, say=lambda line: click.echo(line, err=True))
    if not outcome.leads:
        return
    tables = [table for table in downstream_tables(out) if table.folder in outcome.folders]
    print_tables(tables)
    if tables:
        click.echo(f"board: {write_board(out).page}", err=True)
    if outcome.failures:
        raise DataError(f"{outcome.failures} trainings are missing (named above); the rest is in {out}")
