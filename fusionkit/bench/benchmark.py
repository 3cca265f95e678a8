"""A whole bench: every method on every data set, shared between processes, going on where it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fusionkit.bench.datasets import Dataset, find_datasets
from fusionkit.bench.image_scores import INFINITE, UNDEFINED, choose_metrics, score_image
from fusionkit.bench.methods import (
    BenchMethod,
    FuserSpec,
    ResultsSpec,
    check_names,
    load_methods,
    parse_fuser,
    parse_results,
    usable,
)
from fusionkit.bench.quality_job import QualityJob
from fusionkit.bench.records import Record
from fusionkit.bench.shards import Shard, shard_from
from fusionkit.bench.weight_maps import MapDrawer, drawer
from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.tensors import Stretch
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.runtime.devices import choose_device
from fusionkit.train.run_folder import environment

__all__ = ["NO_FUSER", "BenchRequest", "Outcome", "run_bench"]

Report = Callable[[str, int, int], None]
"""Called as work goes on with what is being done, how many pairs are done and how many there are."""

Say = Callable[[str], None]
"""Called with a line for the user."""

NO_FUSER = "none"
"""The word that stands for no fuser at all."""

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What to compare.

    Attributes:
        tasks: names of tasks; where empty, all that the data has.
        fusers: ``[LABEL=]MODEL``, see :func:`fusionkit.bench.methods.parse_fuser`; where empty, every usable fuser of
            each task; :data:`NO_FUSER` to score results alone.
        results: ``NAME=DIR``: images that another program fused.
        data: data sets, as :func:`fusionkit.data.find_pairs` takes them.
        split: which pairs; ``"all"`` for every split.
        metrics: names; the task's own if None.
        profile: the metrics' convention; the task's own if None.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        limit: how many pairs of each data set; None for all.
        stretch: range stretch of every fused luminance; each method's own if None.
        maps: whether to write the weight maps of methods that have some.
    """

    tasks: tuple[str, ...] = ()
    fusers: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    data: tuple[str, ...] = ("sample",)
    split: str = "test"
    metrics: tuple[str, ...] | None = None
    profile: str | None = None
    device: str = "auto"
    limit: int | None = None
    stretch: Stretch | None = None
    maps: bool = True


@dataclass(frozen=True)
class Outcome:
    """What a bench came to.

    Attributes:
        records: for each data set, the record of each method, with only the images and metrics that were asked for.
        failures: how many results or values are missing that were asked for.
        leads: whether this process is the one to print and to write the board; the only one, or the first of several.
    """

    records: tuple[tuple[Record, ...], ...]
    failures: int
    leads: bool


def run_bench(request: BenchRequest, out: Path, *, report: Report | None = None, say: Say = print) -> Outcome:
    """Fuse, score and write everything down below ``out``; what is there already is not done again.

    Args:
        request: what to compare.
        out: folder of the results, images and notes.
        report: told of progress.
        say: told in words of what failed and what is done.

    Raises:
        fusionkit.errors.FusionkitError: the request cannot be met, a model not be loaded or a file not be written.
        KeyboardInterrupt: interrupted; what was done is kept.
    """
    shard = shard_from()
    device = choose_device(request.device)
    results = [parse_results(text) for text in request.results]
    fusers = _fusers(request)
    check_names([*(fusers or ()), *results])
    datasets = find_datasets(request.data, request.tasks, split=request.split, limit=request.limit)
    _check_tasks(fusers or (), datasets)
    if shard.rank:
        report = None
    say = _silent if shard.rank else _once(say)
    contests = []
    for dataset in datasets:
        specs: list[FuserSpec | ResultsSpec] = [
            *(_every_fuser(dataset, device, say) if fusers is None else fusers),
            *results,
        ]
        check_names(specs)
        contests += _contests(request, out, dataset, specs, device, say)
    contests = _answering(contests, say)
    about = environment()
    for contest in contests:
        _run(contest, shard, about, report)
    shard.wait()
    outcome = _outcome(contests, about, shard, say)
    shard.leave()
    return outcome


def _fusers(request: BenchRequest) -> list[FuserSpec] | None:
    """The fusers that are asked for; None for every usable one."""
    if not request.fusers:
        return None
    if NO_FUSER not in request.fusers:
        return [parse_fuser(text) for text in request.fusers]
    if len(request.fusers) > 1 or not request.results:
        raise UsageError(f"--fuser {NO_FUSER}: is to score --results alone: give these, and no other fuser")
    return []


def _every_fuser(dataset: Dataset, device: torch.device, say: Say) -> list[FuserSpec]:
    found, problems = usable(dataset.task.name, device=device)
    for problem in problems:
        say(f"note: {problem}")
    if not found:
        raise UsageError(f"no installed fuser can be used for {dataset.task.name} as it is: name one with --fuser")
    return found


def _contests(
    request: BenchRequest,
    out: Path,
    dataset: Dataset,
    specs: Sequence[FuserSpec | ResultsSpec],
    device: torch.device,
    say: Say,
) -> list[QualityJob]:
    task = dataset.task
    profile = request.profile or task.profile
    metrics = choose_metrics(task, request.metrics, profile)
    found = []
    for method in load_methods(specs, task.name, device, stretch=request.stretch):
        if method.folder is not None:
            place = ResultsSpec(method.about.name, method.folder).place(task.name, dataset.name, dataset.label)
            method = replace(method, folder=place)
        found.append(
            QualityJob(
                out,
                dataset,
                method,
                metrics,
                profile,
                lambda file, pair, some: score_image(
                    file, pair.files, some, truth=pair.truth, profile=profile, device=device
                ),
                _drawer(method, say) if request.maps else None,
            )
        )
    return found


def _drawer(method: BenchMethod, say: Say) -> MapDrawer | None:
    if method.model is None:
        return None
    try:
        return drawer(method.model, method.about.origin)
    except PluginCallFailed as error:
        say(f"note: no weight maps of {method.about.name}: {error}")
        return None


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


def _answering(contests: Sequence[QualityJob], say: Say) -> list[QualityJob]:
    """The contests without those in which a folder of results has no image of the data set.

    Raises:
        fusionkit.errors.DataError: a folder has no image of any data set.
    """
    names = {contest.name for contest in contests if contest.answers()}
    for contest in contests:
        if contest.answers():
            continue
        pair = contest.dataset.selected[0].name
        line = f"{contest.method.folder}: has no image of {contest.dataset.title} (called {pair}, ...)"
        if contest.name not in names:
            raise DataError(f"--results {contest.name}: {line}")
        say(f"note: {contest.name} is left out: {line}")
    return [contest for contest in contests if contest.answers()]


def _check_tasks(specs: Sequence[FuserSpec], datasets: Sequence[Dataset]) -> None:
    """Refuse a model that is for none of the tasks; one that is for some of them is compared on those."""
    asked = list(dict.fromkeys(dataset.task.name for dataset in datasets))
    for spec in specs:
        tasks = spec.tasks()
        if tasks is not None and not set(tasks) & set(asked):
            raise UsageError(f"--fuser {spec.name}: is for {', '.join(tasks)}, and the data is for {', '.join(asked)}")


def _run(contest: QualityJob, shard: Shard, about: dict[str, Any], report: Report | None) -> None:
    """Do this process's share of a contest and write its record."""
    what = f"{contest.name} on {contest.dataset.title}"
    pairs = shard.of(contest.dataset.selected)
    try:
        contest.look()
        for done, pair in enumerate(pairs):
            if report:
                report(what, done, len(pairs))
            contest.do(pair)
        if report:
            report(what, len(pairs), len(pairs))
    except KeyboardInterrupt:
        contest.save(about)
        raise KeyboardInterrupt(f"what is done is kept in {contest.out}; the same command goes on from there") from None
    contest.save(about)


def _outcome(contests: Sequence[QualityJob], about: dict[str, Any], shard: Shard, say: Say) -> Outcome:
    """Gather the records, and say what is missing in them."""
    if shard.rank:
        return Outcome((), 0, leads=False)
    tables: dict[str, list[Record]] = {}
    failures = 0
    for contest in contests:
        record = _asked_for(contest.save(about), contest)
        tables.setdefault(contest.dataset.title, []).append(record)
        failed, undefined = _missing(record, contest)
        for word, causes in (("note", undefined), ("failed", failed)):
            for why, names in causes.items():
                say(f"{word}: {contest.name} on {contest.dataset.title}: {_listed(names)}: {why}")
        failures += sum(len(names) for names in failed.values())
    return Outcome(tuple(tuple(records) for records in tables.values()), failures, leads=True)


def _asked_for(record: Record, contest: QualityJob) -> Record:
    names = {pair.name for pair in contest.dataset.selected}
    images = tuple(image for image in record.images if image.name in names)
    failures = {
        name: why for name, why in record.failures.items() if name in names or name in contest.dataset.incomplete
    }
    return record.model_copy(
        update={
            "images": images,
            "failures": failures,
            "metrics": {name: record.metrics[name] for name in contest.metrics},
            "data": record.data.model_copy(update={"pairs": len(names | set(failures))}),
        }
    )


def _missing(record: Record, contest: QualityJob) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The images of each cause for which something is missing, and of each for which a formula has no value."""
    failed: dict[str, list[str]] = {}
    undefined: dict[str, list[str]] = {}
    for name, why in record.failures.items():
        failed.setdefault(why, []).append(name)
    for image in record.images:
        if contest.draw is not None and image.unmapped:
            undefined.setdefault(f"no weight maps: {image.unmapped}", []).append(image.name)
    for metric in contest.metrics:
        for image in record.images:
            if image.scores.get(metric) is None:
                why = image.reasons.get(metric, "not computed yet")
                causes = undefined if why in (UNDEFINED, INFINITE) else failed
                causes.setdefault(f"{metric} {'is ' if causes is undefined else 'has no value: '}{why}", []).append(
                    image.name
                )
    there = {image.name for image in record.images} | set(record.failures)
    for pair in contest.dataset.selected:
        if pair.name not in there:
            failed.setdefault("not done yet", []).append(pair.name)
    return failed, undefined


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _NAMED else f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
