"""The cells of a table: trainings that are started, resumed or found finished, and benches of their models."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import benchmarks.paper.schemes  # noqa: F401  registers the ablations of the scheme
from benchmarks.paper.schedules import TRAINER, Schedule
from benchmarks.paper.variants import Variant
from fusionkit.bench.benchmark import BenchRequest, run_bench
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.records import Record
from fusionkit.config import current_names, merged
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_set import PairSet
from fusionkit.errors import DivergedError, UsageError
from fusionkit.io.locks import file_lock
from fusionkit.plugins import catalogue
from fusionkit.train.run import Report, TrainRequest, resume, start
from fusionkit.train.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One training.

    Attributes:
        variant: how.
        seed: of weights and draws.
        path: the run's folder.
        failure: why there is no model, or "".
        steps: its length; 0 where it failed.
        seconds: time of all its steps.
    """

    variant: Variant
    seed: int
    path: Path
    failure: str = ""
    steps: int = 0
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """Its name in a bench."""
        return f"{self.variant.key}-{self.seed}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """What all cells of a table share.

    Attributes:
        task: name of the task.
        schedule: how long to train; None where nothing is trained.
        train: the training pairs.
        data: the test sets.
        out: everything goes below it.
        seeds: one training each.
        options: over every cell's own.
        metrics: beside the task's own.
        limit: number of test pairs of each set, or None.
        stretch: range stretch of every fused luminance; each method's own where None.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"``.
        say: told in words of what is done.
        progress: gives a training's progress function.
    """

    task: str
    schedule: Schedule | None
    train: str
    data: tuple[str, ...]
    out: Path
    seeds: tuple[int, ...] = (0,)
    options: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    limit: int | None = None
    stretch: Literal["full", "none"] | None = None
    device: str = "auto"
    precision: str = "fp32"
    say: Callable[[str], None]
    progress: Callable[[], AbstractContextManager[Report | None]]

    @cached_property
    def pairs(self) -> PairSet:
        """The training pairs."""
        return find_pairs(self.train, catalogue.tasks.get(self.task), split="train")

    @cached_property
    def fingerprint(self) -> str:
        """Their digest."""
        return self.pairs.fingerprint()

    def trained(self, variants: Sequence[Variant]) -> list[Cell]:
        """Every variant under every seed, trained; those that are done already are left as they are.

        Another command with the same folder takes part: each does what the other does not.

        Raises:
            UsageError: a folder of the study holds another run.
        """
        asked = [(variant, seed) for variant in variants for seed in self.seeds]
        cells: dict[int, Cell] = {}
        for wait in (False, True):
            for k, (variant, seed) in enumerate(asked):
                if k in cells:
                    continue
                lock = self.out / "locks" / f"{self._path(variant, seed).parent.name}-{variant.key}-{seed}.lock"
                with file_lock(lock, wait=wait) as held:
                    if held:
                        cells[k] = self._cell(variant, seed, f"{k + 1} of {len(asked)}")
        return [cells[k] for k in range(len(asked))]

    def compared(self, fusers: Sequence[str]) -> tuple[tuple[Record, ...], ...]:
        """The records of these fusers (as ``fusionkit bench --fuser`` takes them) on every test set."""
        if not fusers:
            return ()
        task = catalogue.tasks.get(self.task)
        request = BenchRequest(
            tasks=(self.task,),
            fusers=tuple(fusers),
            data=self.data,
            device=self.device,
            limit=self.limit,
            stretch=self.stretch,
            scorer=QualityScorer(metrics=tuple(dict.fromkeys((*task.metrics, *self.metrics))), maps=False),
        )
        name = self.schedule.name if self.schedule else "installed"
        place = self.out / "bench" / (f"{name}-stretch-{self.stretch}" if self.stretch else name)
        return run_bench(request, place, progress=self._bench_report(), say=self.say).records

    def _path(self, variant: Variant, seed: int) -> Path:
        assert self.schedule is not None
        return self.out / "runs" / f"{self.task}-{self.schedule.name}" / f"{variant.key}-{seed}"

    def _cell(self, variant: Variant, seed: int, place: str) -> Cell:
        assert self.schedule is not None
        path = self._path(variant, seed)
        request = TrainRequest(
            method=variant.method,
            task=self.task,
            data=self.train,
            preset=self.schedule.preset,
            options=merged(self.schedule.options, variant.options, self.options),
            device=self.device,
            precision=self.precision,
            seed=seed,
        )
        try:
            with self.progress() as report:
                if (path / "run.json").is_file():
                    self._check(path, request)
                    self.say(f"{place}: {path} is there")
                    folder = resume(path, report=report)
                else:
                    self.say(f"{place}: training {path}")
                    folder = start(request, path, report=report)
        except DivergedError as error:
            self.say(f"{place}: {error}")
            return Cell(variant=variant, seed=seed, path=path, failure="diverged")
        rows = list(folder.metrics())
        steps = int(rows[-1]["step"])
        return Cell(
            variant=variant, seed=seed, path=path, steps=steps, seconds=steps * float(rows[-1]["seconds_per_step"])
        )

    def _check(self, path: Path, request: TrainRequest) -> None:
        """Refuse to take another run's results for this cell's."""
        record = RunFolder.open(path).record
        config = catalogue.trainers.get(TRAINER).Config
        kept, wanted = (current_names(config, o, str(path)) for o in (record.given, request.options or {}))
        given = {"options": kept, "pairs": record.fingerprint, "precision": record.precision}
        asked = {"options": wanted, "pairs": self.fingerprint, "precision": request.precision}
        for name in given:
            if json.dumps(given[name], sort_keys=True) != json.dumps(asked[name], sort_keys=True):
                raise UsageError(f"{path}: holds a run with other {name}: choose another --out, or remove it")

    def _bench_report(self) -> Callable[[str, int, int], None]:
        def report(what: str, done: int, total: int) -> None:
            if done == total:
                self.say(f"compared: {what}, {total} pairs")

        return report


def specs(cells: Sequence[Cell]) -> Iterator[str]:
    """The trained cells, as a bench takes them."""
    return (f"{cell.label}={cell.path}" for cell in cells if not cell.failure)
