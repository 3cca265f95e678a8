"""A whole downstream bench: every method, data set and seed, shared between processes, going on where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from fusionkit.bench.benchmark import NO_FUSER
from fusionkit.bench.downstream.downstream_records import COLUMNS, DownstreamRecord
from fusionkit.bench.downstream.fused_splits import Split
from fusionkit.bench.downstream.job import DownstreamJob, Experiment, ExperimentMethod, Told
from fusionkit.bench.downstream.label_scores import require_torchmetrics
from fusionkit.bench.downstream.protocol import resolve_protocol, split_assignments
from fusionkit.bench.methods import (
    BenchMethod,
    FuserSpec,
    ResultsSpec,
    check_names,
    load_methods,
    parse_fuser,
    parse_results,
)
from fusionkit.config import resolve
from fusionkit.contracts import Downstream
from fusionkit.data import verify
from fusionkit.data.labels import find_labelled, verify_labels
from fusionkit.data.pair_checks import header_size
from fusionkit.data.pair_finding import task_of
from fusionkit.data.pair_set import PairSet
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.fuse.tensors import Stretch
from fusionkit.io.locks import file_lock
from fusionkit.plugins import catalogue
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.runtime.devices import choose_device
from fusionkit.runtime.processes import Processes, launched_processes
from fusionkit.train.run_folder import environment

__all__ = ["CONTROLS", "TRAIN", "DownstreamOutcome", "DownstreamRequest", "run_downstream"]

CONTROLS = ("copy-a", "copy-b", "average")
"""What every method is held against: either source alone, and their mean."""

TRAIN = "train"
"""The split that the network is trained on."""

_DEFAULT_TASK = "ivif"
_PACKAGES = ("torchmetrics", "torchvision", "pycocotools", "timm")

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class DownstreamRequest:
    """What to compare.

    Attributes:
        network: registered name of the downstream network.
        tasks: name of the fusion task; where empty, the data's own, else infrared-visible fusion.
        fusers: ``[LABEL=]MODEL``, beside :data:`CONTROLS`.
        results: ``NAME=DIR``: images that another program fused, of both splits.
        data: labelled data sets, as :func:`fusionkit.data.labels.find_labelled` takes them.
        split: the split to score on.
        seeds: how many trainings a method, with the seeds 0, 1...
        preset: name of a protocol.
        size: ``HEIGHTxWIDTH``; the protocol's if None.
        settings: ``NAME=VALUE`` over the protocol, ``network.NAME=VALUE`` for the network.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        limit: how many pairs of each split; None for all.
        stretch: range stretch of every fused luminance; each method's own if None.
    """

    network: str
    tasks: tuple[str, ...] = ()
    fusers: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    data: tuple[str, ...] = ("sample",)
    split: str = "test"
    seeds: int = 1
    preset: str = "quick"
    size: str | None = None
    settings: tuple[str, ...] = ()
    device: str = "auto"
    limit: int | None = None
    stretch: Stretch | None = None


@dataclass(frozen=True)
class DownstreamOutcome:
    """What a downstream bench came to.

    Attributes:
        folders: of the tables that were asked for.
        failures: how many trainings are missing that were asked for.
        leads: whether this process is the one to print and to write the board.
    """

    folders: tuple[Path, ...]
    failures: int
    leads: bool


def run_downstream(
    request: DownstreamRequest, out: Path, *, report: Told | None = None, say: Say = print
) -> DownstreamOutcome:
    """Train, score and write everything down below ``out``; what is there already is not done again.

    Args:
        request: what to compare.
        out: folder of records, fused images and predictions.
        report: told of progress.
        say: told in words of what is done and what failed.

    Raises:
        fusionkit.errors.FusionkitError: the request cannot be met, a model not be loaded or a file not be written.
        KeyboardInterrupt: interrupted; what was done is kept.
    """
    if request.seeds < 1:
        raise UsageError(f"--seeds {request.seeds}: give the number of trainings a method, 1 or more")
    if request.limit is not None and request.limit < 1:
        raise UsageError(f"--limit {request.limit}: give the number of pairs of each split, 1 or more")
    processes = launched_processes()
    device = choose_device(request.device)
    specs = _specs(request)
    experiments = _experiments(request, out, device)
    entries = []
    for experiment in experiments:
        entries += [ExperimentMethod(experiment, method) for method in _methods(specs, experiment, request)]
    failed = _work(entries, request.seeds, processes, report, say)
    return DownstreamOutcome(tuple(experiment.folder for experiment in experiments), failed, leads=processes.first)


def _specs(request: DownstreamRequest) -> list[FuserSpec | ResultsSpec]:
    given: list[FuserSpec | ResultsSpec] = [parse_fuser(text) for text in request.fusers if text != NO_FUSER]
    given += [parse_results(text) for text in request.results]
    names = {spec.name for spec in given}
    controls: list[FuserSpec | ResultsSpec] = [FuserSpec(name, name) for name in CONTROLS if name not in names]
    check_names([*controls, *given])
    return [*controls, *given]


def _experiments(request: DownstreamRequest, out: Path, device: torch.device) -> list[Experiment]:
    """A experiment for each data set."""
    require_torchmetrics()
    network = _network(request.network)
    given, options = split_assignments(request.settings)
    protocol = resolve_protocol(request.preset, request.size, given)
    config: Any = resolve(network.Config, (f"--set network ({request.network})", options))
    version = catalogue.outer_losses.entry(request.network).origin
    experiments: list[Experiment] = []
    for spec in request.data:
        for train, test in _splits(spec, request, network):
            width, height = header_size(train.pairs[0].files[0])
            experiment = Experiment(
                out=out,
                name=request.network,
                network=network,
                options=config,
                version=version,
                protocol=protocol.sized(height, width),
                train=train,
                test=test,
                device=device,
            )
            if experiment.folder in {other.folder for other in experiments}:
                raise UsageError(f"--data: several data sets are called {test.label!r}: give each its own --out")
            experiments.append(experiment)
    return experiments


def _network(name: str) -> type[Downstream]:
    found = catalogue.outer_losses.get(name)
    if not issubclass(found, Downstream):
        others = [other for other in catalogue.outer_losses.names() if other != name]
        raise UsageError(
            f"--downstream {name}: is an outer loss without labels and cannot be scored: {did_you_mean(name, others)}"
        )
    return found


def _splits(spec: str, request: DownstreamRequest, network: type[Downstream]) -> list[tuple[Split, Split]]:
    """The training and the test split of every data set that ``spec`` stands for, checked."""
    if len(request.tasks) > 1:
        raise UsageError(f"--task: one at a time with --downstream, not {', '.join(request.tasks)}")
    task = catalogue.tasks.get(request.tasks[0] if request.tasks else task_of(spec) or _DEFAULT_TASK)
    found = find_labelled(spec, task, network.kind)
    if request.split == TRAIN:
        raise UsageError(f"--split {TRAIN}: is what the network is trained on; score on another")
    pairs = []
    for dataset in found.datasets:
        own = replace(found, pairs=tuple(pair for pair in found if pair.dataset == dataset))
        name = dataset or Path(spec).resolve().stem or "data"
        pairs.append(tuple(_checked(own, spec, name, split, request.limit) for split in (TRAIN, request.split)))
    return [(train, test) for train, test in pairs]


def _checked(own: PairSet, spec: str, dataset: str, split: str, limit: int | None) -> Split:
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
    return Split(dataset, split, chosen)


def _methods(
    specs: Sequence[FuserSpec | ResultsSpec], experiment: Experiment, request: DownstreamRequest
) -> list[BenchMethod]:
    task = experiment.train.pairs.task.name
    for spec in specs:
        tasks = spec.tasks() if isinstance(spec, FuserSpec) else None
        if tasks is not None and task not in tasks:
            raise UsageError(f"--fuser {spec.name}: is for {', '.join(tasks)}, and the data is for {task}")
    return load_methods(specs, task, experiment.device, stretch=request.stretch)


def _work(entries: Sequence[ExperimentMethod], seeds: int, processes: Processes, report: Told | None, say: Say) -> int:
    """Do what no other process does, then wait for the others' share; the number of trainings that failed."""
    units: list[DownstreamJob] = []
    failures = 0
    for entry in entries:
        try:
            identity = entry.identity()
        except PluginCallFailed as error:
            say(f"failed: {entry.name} on {entry.experiment.test.label}: {error}")
            failures += seeds
            continue
        units += [DownstreamJob(entry, seed, identity) for seed in range(seeds)]
    about = _environment()
    # Processes begin at different places, so that they rarely ask for the same.
    first = len(units) * processes.rank // processes.count
    left = [*units[first:], *units[:first]]
    for wait in (False, True):
        later = []
        for unit in left:
            done = _attempt(unit, about, wait, report, say)
            if done is None:
                later.append(unit)
            elif not done:
                failures += 1
            if unit.seed == seeds - 1:
                unit.entry.forget()
        left = later
    return failures


def _attempt(unit: DownstreamJob, about: dict[str, Any], wait: bool, report: Told | None, say: Say) -> bool | None:
    """Do a unit that is not done: whether it went well; None where another process is at it."""
    if unit.known() is not None:
        return True
    experiment = unit.entry.experiment
    what = f"{unit.entry.name} on {experiment.test.label}, seed {unit.seed}"
    with file_lock(experiment.out / "locks" / f"{unit.identity[:24]}-{unit.seed}.lock", wait=wait) as held:
        if not held:
            return None
        if unit.known() is not None:
            return True
        try:
            record = unit.do(about, report)
        except PluginCallFailed as error:
            say(f"failed: {what}: {error}")
            return False
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"what is done is kept in {experiment.out}; the same command goes on from there"
            ) from None
    say(f"done: {what}: {_told(record)}")
    return True


def _told(record: DownstreamRecord) -> str:
    scores = ", ".join(
        f"{name} {'-' if record.scores[name] is None else f'{record.scores[name]:.4f}'}"
        for name in COLUMNS[record.kind]
    )
    return f"{scores}, {record.cost.seconds / 60:.1f} min"


def _environment() -> dict[str, Any]:
    about = environment()
    for name in _PACKAGES:
        try:
            about["versions"][name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            about["versions"][name] = ""
    return about
