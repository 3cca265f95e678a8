"""Runs a bench: methods on data sets, scored by fusion quality or by a downstream network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from fusionkit.bench.jobs import Job, Progress, Say, run_jobs, shared
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.records import Record
from fusionkit.errors import UsageError
from fusionkit.fuse.backends import Backend
from fusionkit.fuse.tensors import Gamut, Stretch
from fusionkit.runtime.devices import choose_device
from fusionkit.runtime.processes import launched_processes

__all__ = ["BenchRequest", "Outcome", "Scorer", "run_bench"]


class Scorer(Protocol):
    """Way to compare methods."""

    def jobs(self, request: BenchRequest, out: Path, device: torch.device, say: Say) -> Sequence[Job]:
        """The jobs of a bench, in order.

        Raises:
            fusionkit.errors.FusionkitError: the request cannot be met, or a model not be loaded.
        """

    def records(self, jobs: Sequence[Any], say: Say) -> tuple[tuple[tuple[Record, ...], ...], int]:
        """Read the results of the jobs from disk: grouped by data set, and the number of missing ones."""

    def folders(self, jobs: Sequence[Any]) -> tuple[Path, ...]:
        """The folders of the tables that the jobs belong to; none where records say it."""


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """Methods, data and settings to compare.

    Attributes:
        tasks: names of tasks; where empty, all that the data has, or the scorer's own.
        fusers: ``[LABEL=]MODEL``, see :func:`fusionkit.bench.methods.parse_fuser`; where empty, the scorer's choice;
            :data:`fusionkit.bench.methods.NO_FUSER` to score results alone.
        results: ``NAME=DIR``: images that another program fused.
        data: data sets, as :func:`fusionkit.data.find_pairs` takes them.
        split: which pairs to score on.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        limit: how many pairs of each data set and split; None for all.
        stretch: range stretch of every fused luminance; each method's own if None.
        gamut: how fused colours that leave RGB are brought back, see :func:`fusionkit.fuse.tensors.fuse_tensors`.
        backend: ``"auto"``, ``"torch"`` or ``"native"``, see :class:`fusionkit.fuse.model.Model`.
        scorer: fusion quality, or a :class:`fusionkit.bench.downstream.scorer.DownstreamScorer`.
    """

    tasks: tuple[str, ...] = ()
    fusers: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    data: tuple[str, ...] = ("sample",)
    split: str = "test"
    device: str = "auto"
    limit: int | None = None
    stretch: Stretch | None = None
    gamut: Gamut = "keep-luminance"
    backend: Backend = "auto"
    scorer: Scorer = field(default_factory=QualityScorer)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a benchmark.

    Attributes:
        records: for each data set, the record of each method, with only the images and metrics that were asked for;
            none for downstream scores.
        folders: of the downstream tables that were asked for.
        failures: number of results, values or trainings that are missing.
        leads: whether this process is the one to print and to write the board: the only one, or the first of several.
    """

    records: tuple[tuple[Record, ...], ...] = ()
    folders: tuple[Path, ...] = ()
    failures: int = 0
    leads: bool = True


def run_bench(request: BenchRequest, out: Path, *, progress: Progress | None = None, say: Say = print) -> Outcome:
    """Fuse, score and write everything below ``out``; what is there already is not done again.

    Under ``torchrun``, and where several benches work in one folder, each job is done by one of the processes.

    Args:
        request: what to compare.
        out: folder of records, images and logs.
        progress: called as work goes on.
        say: called with one line on what failed and what is done.

    Raises:
        fusionkit.errors.FusionkitError: the request cannot be met, a model not be loaded or a file not be written.
        KeyboardInterrupt: interrupted; what was done is kept.
    """
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit}: give the number of pairs of each data set and split, 1 or more")
    processes = launched_processes()
    device = choose_device(request.device)
    scorer = request.scorer
    jobs = scorer.jobs(request, out, device, _once(say) if processes.first else _silent)
    try:
        failures = run_jobs(shared(jobs, processes), progress=progress if processes.first else None, say=say)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is kept in {out}; the same command goes on from there") from None
    if not processes.first:
        return Outcome(failures=failures, leads=False)
    records, missing = scorer.records(jobs, say)
    return Outcome(records=records, folders=scorer.folders(jobs), failures=failures + missing)


def _once(say: Say) -> Say:
    """Say no line twice: a plugin that cannot be used is met with every task."""
    said: set[str] = set()

    def first(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    return first


def _silent(line: str) -> None:
    """The first of several processes speaks for all."""
