"""Runs a bench: methods on data sets, scored by fusion quality or by a downstream network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionkit.bench.jobs import Progress, Say, locked_labels, run_jobs, shared
from fusionkit.bench.request import Bench, BenchRequest, Scorer
from fusionkit.errors import UsageError
from fusionkit.runtime.devices import choose_device
from fusionkit.runtime.processes import launched_processes

__all__ = ["BenchRequest", "Outcome", "Scorer", "run_bench"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Result of a benchmark.

    Attributes:
        records: for each table, the records of its methods: of quality with only the images and metrics that were asked
            for, of a downstream network all that the table has.
        failures: number of results, values or trainings that are missing.
        leads: whether this process is the one to print and to write the board: the only one, or the first of several.
    """

    records: tuple[tuple[Any, ...], ...] = ()
    failures: int = 0
    leads: bool = True


def run_bench(request: BenchRequest, out: Path, *, progress: Progress | None = None, say: Say = print) -> Outcome:
    """Fuse, score and write everything below ``out``; what is there already is not done again.

    Under ``torchrun``, and where several benches work in one folder, each job is done by one of the processes.

    Args:
        request: what to compare.
        out: folder of records, images and logs.
        progress: called as work goes on.
        say: called with one line on what failed, what is done and what was repaired.

    Raises:
        fusionkit.errors.FusionkitError: the request cannot be met, a model not be loaded, a file not be written, or
            another process works on another method under the same label.
        KeyboardInterrupt: interrupted; what was done is kept.
    """
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit}: give the number of pairs of each data set and split, 1 or more")
    processes = launched_processes()
    first = _once(say) if processes.first else _silent
    bench = Bench(request=request, out=out, device=choose_device(request.device), say=first)
    jobs = request.scorer.jobs(bench)
    try:
        with locked_labels(out, jobs):
            own = shared(jobs, processes)
            failures = run_jobs(own, out, progress=progress if processes.first else None, say=say)
            if not processes.first:
                return Outcome(failures=failures, leads=False)
            records, missing = request.scorer.records(bench, jobs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"what is done is kept in {out}; the same command goes on from there") from None
    return Outcome(records=records, failures=failures + missing)


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
