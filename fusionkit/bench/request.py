"""Requests to a bench, and the scorers that answer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from fusionkit.bench.jobs import Job, Say
from fusionkit.bench.methods import BenchMethod, FuserSpec, FusionSettings, ResultsSpec, load_methods
from fusionkit.bench.records import BenchRecord
from fusionkit.errors import UsageError

__all__ = ["Bench", "BenchRequest", "Scorer"]


@dataclass(frozen=True, kw_only=True)
class BenchRequest(FusionSettings):
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
        scorer: a :class:`fusionkit.bench.quality_scorer.QualityScorer`, or a
            :class:`fusionkit.bench.downstream.scorer.DownstreamScorer`.
    """

    tasks: tuple[str, ...] = ()
    fusers: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    data: tuple[str, ...] = ("sample",)
    split: str = "test"
    device: str = "auto"
    limit: int | None = None
    scorer: Scorer


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A request with the folder and the device that it runs in and on.

    Attributes:
        request: what is compared.
        out: folder of records, images and logs.
        device: where.
        say: called with one line for the user.
    """

    request: BenchRequest
    out: Path
    device: torch.device
    say: Say

    def methods(self, specs: Sequence[FuserSpec | ResultsSpec], task: str) -> list[BenchMethod]:
        """Make methods ready for a task; those that are for other tasks are left out.

        Raises:
            fusionkit.errors.FusionkitError: a model cannot be loaded.
        """
        return load_methods(specs, task, self.device, self.request)

    @staticmethod
    def check_tasks(specs: Sequence[FuserSpec | ResultsSpec], tasks: Sequence[str]) -> None:
        """Refuse a model that is for none of the tasks; one that is for some of them is compared on those."""
        for spec in specs:
            own = spec.tasks() if isinstance(spec, FuserSpec) else None
            if own is not None and not set(own) & set(tasks):
                there = ", ".join(dict.fromkeys(tasks))
                raise UsageError(f"--fuser {spec.name}: is for {', '.join(own)}, and the data is for {there}")


class Scorer(Protocol):
    """Way to compare methods."""

    def jobs(self, bench: Bench) -> Sequence[Job]:
        """List the jobs in the order in which they run.

        Raises:
            fusionkit.errors.FusionkitError: the request cannot be met, or a model not be loaded.
        """

    def records(self, bench: Bench, jobs: Sequence[Any]) -> tuple[tuple[tuple[BenchRecord, ...], ...], int]:
        """Read the records of the jobs, grouped by table, and count the missing results and values."""
