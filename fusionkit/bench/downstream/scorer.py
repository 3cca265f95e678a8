"""Comparing methods by what a network does with their images: it is trained afresh on each method's fused images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from fusionkit.bench.datasets import Dataset, find_by_task
from fusionkit.bench.downstream.downstream_records import DownstreamRecord
from fusionkit.bench.downstream.experiment import Experiment, ExperimentMethod
from fusionkit.bench.downstream.job import DownstreamJob, downstream_jobs
from fusionkit.bench.downstream.label_scores import require_torchmetrics
from fusionkit.bench.downstream.protocol import resolve_protocol, split_assignments
from fusionkit.bench.methods import (
    NO_FUSER,
    FuserSpec,
    ResultsSpec,
    check_names,
    parse_fuser,
    parse_results,
)
from fusionkit.bench.record_files import stored_records
from fusionkit.bench.request import Bench, BenchRequest
from fusionkit.config import resolve
from fusionkit.contracts import Downstream
from fusionkit.contracts.label_types import LabelKind
from fusionkit.data import verify
from fusionkit.data.labels import find_labelled, verify_labels
from fusionkit.data.pair_checks import header_size
from fusionkit.data.pair_finding import task_of
from fusionkit.data.pair_set import PairSet
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.models.roles import controls
from fusionkit.plugins import catalogue
from fusionkit.train.run_folder import environment

__all__ = ["TRAIN", "DownstreamScorer"]

TRAIN = "train"
"""The split that the network is trained on."""

_PACKAGES = ("torchmetrics", "torchvision", "pycocotools", "timm")


@dataclass(frozen=True, kw_only=True)
class DownstreamScorer:
    """Scores methods by a network that is trained on their images of the train split, beside the controls.

    The controls are the fusers whose class says so (:func:`fusionkit.models.roles.controls`).

    Attributes:
        network: registered name of the downstream network.
        seeds: number of trainings per method, with the seeds 0, 1...
        preset: name of a protocol.
        size: ``HEIGHTxWIDTH``; the protocol's if None.
        settings: ``NAME=VALUE`` over the protocol, ``network.NAME=VALUE`` for the network.
    """

    network: str
    seeds: int = 1
    preset: str = "quick"
    size: str | None = None
    settings: tuple[str, ...] = ()

    def jobs(self, bench: Bench) -> list[DownstreamJob]:
        """A training per data set, method and seed.

        Raises:
            fusionkit.errors.FusionkitError: the request cannot be met, or a model not be loaded.
        """
        if self.seeds < 1:
            raise UsageError(f"--seeds {self.seeds}: give the number of trainings per method, 1 or more")
        if len(bench.request.tasks) > 1:
            raise UsageError(f"--task: one at a time, not {', '.join(bench.request.tasks)}")
        require_torchmetrics()
        network = _network(self.network)
        data = [(spec, _labelled(spec, bench.request, network.kind)) for spec in bench.request.data]
        specs = _specs(bench.request, {pairs.task.name for _, pairs in data})
        about = _environment()
        jobs: list[DownstreamJob] = []
        for experiment in _experiments(self, bench, network, data):
            task = experiment.train.task.name
            bench.check_tasks(specs, [task])
            for method in bench.methods(specs, task):
                jobs += downstream_jobs(ExperimentMethod(experiment, method), self.seeds, about)
        return jobs

    def records(
        self, bench: Bench, jobs: Sequence[DownstreamJob]
    ) -> tuple[tuple[tuple[DownstreamRecord, ...], ...], int]:
        """Every record of the jobs' tables; a training that is missing is a job that failed."""
        tables: dict[str, list[DownstreamRecord]] = {
            job.path.parent.parent.relative_to(bench.out).as_posix(): [] for job in jobs
        }
        for record in stored_records(bench.out, DownstreamRecord):
            tables.get(record.table, []).append(record)
        return tuple(tuple(records) for records in tables.values() if records), 0


def _labelled(spec: str, request: BenchRequest, kind: LabelKind) -> PairSet:
    """Find the labelled pairs of the task that is asked for, else of the only task that the data has pairs of."""
    asked = request.tasks[0] if request.tasks else task_of(spec)
    if asked is not None:
        return find_labelled(spec, catalogue.tasks.get(asked), kind)
    found = find_by_task(spec, lambda task: find_labelled(spec, task, kind))
    if len(found) > 1:
        names = ", ".join(pairs.task.name for pairs in found)
        raise UsageError(f"--data {spec}: can be pairs of several tasks ({names}): add --task")
    return found[0]


def _specs(request: BenchRequest, tasks: Collection[str]) -> list[FuserSpec | ResultsSpec]:
    given: list[FuserSpec | ResultsSpec] = [parse_fuser(text) for text in request.fusers if text != NO_FUSER]
    given += [parse_results(text) for text in request.results]
    names = {spec.name for spec in given}
    beside: list[FuserSpec | ResultsSpec] = [FuserSpec(name, name) for name in controls(*tasks) if name not in names]
    check_names([*beside, *given])
    return [*beside, *given]


def _experiments(
    scorer: DownstreamScorer, bench: Bench, network: type[Downstream], data: Sequence[tuple[str, PairSet]]
) -> list[Experiment]:
    """An experiment for each data set."""
    given, options = split_assignments(scorer.settings)
    protocol = resolve_protocol(scorer.preset, scorer.size, given)
    config: Any = resolve(network.Config, (f"--set network ({scorer.network})", options))
    version = catalogue.outer_losses.entry(scorer.network).origin
    experiments: list[Experiment] = []
    for spec, found in data:
        for train, test in _splits(spec, found, bench.request):
            width, height = header_size(train.pairs[0].files[0])
            experiment = Experiment(
                out=bench.out,
                name=scorer.network,
                network=network,
                options=config,
                version=version,
                protocol=protocol.sized(height, width),
                train=train,
                test=test,
                device=bench.device,
            )
            if experiment.table in {other.table for other in experiments}:
                raise UsageError(f"--data: several data sets are called {test.label!r}: give each its own --out")
            experiments.append(experiment)
    return experiments


def _network(name: str) -> type[Downstream]:
    found = catalogue.outer_losses.get(name)
    if not issubclass(found, Downstream):
        others = [other for other in catalogue.outer_losses.names() if other != name]
        raise UsageError(f"{name}: is an outer loss without labels and cannot be scored: {did_you_mean(name, others)}")
    return found


def _splits(spec: str, found: PairSet, request: BenchRequest) -> list[tuple[Dataset, Dataset]]:
    """The training and the test split of every data set in the pairs that ``spec`` stands for, checked."""
    if request.split == TRAIN:
        raise UsageError(f"--split {TRAIN}: is what the network is trained on; score on another")
    pairs = []
    for dataset in found.datasets:
        own = replace(found, pairs=tuple(pair for pair in found if pair.dataset == dataset))
        name = dataset or Path(spec).resolve().stem or "data"
        pairs.append(tuple(_checked(own, spec, name, split, request.limit) for split in (TRAIN, request.split)))
    return [(train, test) for train, test in pairs]


def _checked(own: PairSet, spec: str, dataset: str, split: str, limit: int | None) -> Dataset:
    if split not in own.splits:
        there = ", ".join(name for name in own.splits if name) or "none"
        raise DataError(
            f"{spec}: {dataset} has no split {split!r} (its splits: {there}): "
            f"a network is trained on {TRAIN!r} and scored on another; see 'fusionkit data'"
        )
    chosen = replace(
        own,
        pairs=tuple(pair for pair in own if pair.split == split)[:limit],
        problems=tuple(fault for fault in own.problems if fault.split == split and limit is None),
    )
    verify(chosen)
    verify_labels(chosen)
    return Dataset(own.task, dataset, split, chosen, spec)


def _environment() -> dict[str, Any]:
    about = environment()
    for name in _PACKAGES:
        try:
            about["versions"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            about["versions"][name] = ""
    return about
