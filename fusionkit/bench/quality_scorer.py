"""Comparing methods by fusion quality: metrics of each fused image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fusionkit.bench.datasets import Dataset, find_datasets
from fusionkit.bench.image_scores import INFINITE, UNDEFINED, choose_metrics
from fusionkit.bench.methods import (
    NO_FUSER,
    BenchMethod,
    FuserSpec,
    ResultsSpec,
    check_names,
    parse_fuser,
    parse_results,
    usable,
)
from fusionkit.bench.published_tables import protocol_profile
from fusionkit.bench.quality_job import QualityJob, quality_jobs
from fusionkit.bench.quality_results import QualityResults
from fusionkit.bench.records import Record
from fusionkit.bench.request import Bench, BenchRequest
from fusionkit.bench.weight_maps import MapDrawer, drawer
from fusionkit.errors import DataError, UsageError
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.train.run_folder import environment

__all__ = ["QualityScorer"]

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class QualityScorer:
    """Scores every fused image by metrics. Without named fusers, every usable one of each task is compared.

    Attributes:
        metrics: names; the task's own if None.
        profile: the metrics' convention; the task's own if None.
        maps: whether to write the weight maps of methods that have some.
    """

    metrics: tuple[str, ...] | None = None
    profile: str | None = None
    maps: bool = True

    def jobs(self, bench: Bench) -> list[QualityJob]:
        """Some pairs of a data set by a method, for each method and data set.

        Raises:
            fusionkit.errors.FusionkitError: the request cannot be met, or a model not be loaded.
        """
        request = bench.request
        results = [parse_results(text) for text in request.results]
        fusers = _fusers(request)
        check_names([*(fusers or ()), *results])
        datasets = find_datasets(request.data, request.tasks, split=request.split, limit=request.limit)
        bench.check_tasks(fusers or (), [dataset.task.name for dataset in datasets])
        found: list[QualityResults] = []
        for dataset in datasets:
            specs: list[FuserSpec | ResultsSpec] = [
                *(_every_fuser(dataset, bench) if fusers is None else fusers),
                *results,
            ]
            check_names(specs)
            found += self._of(dataset, specs, bench)
        jobs: list[QualityJob] = []
        for own in _with_images(found, bench):
            jobs += quality_jobs(own, _drawer(own.method, bench) if self.maps else None)
        return jobs

    def records(self, bench: Bench, jobs: Sequence[QualityJob]) -> tuple[tuple[tuple[Record, ...], ...], int]:
        """The records of the jobs, as far as they were asked for, and the number of results and values missing."""
        tables: dict[str, list[Record]] = {}
        failures = 0
        for results in dict.fromkeys(job.results for job in jobs):
            record = _asked_for(results.save(), results)
            tables.setdefault(results.dataset.title, []).append(record)
            for what in results.repaired:
                bench.say(f"repaired: {results.title}: {what}")
            failed, undefined = _missing(record, results, maps=self.maps)
            for word, causes in (("note", undefined), ("failed", failed)):
                for why, names in causes.items():
                    bench.say(f"{word}: {results.title}: {_listed(names)}: {why}")
            failures += sum(len(names) for names in failed.values())
        return tuple(tuple(records) for records in tables.values()), failures

    def _of(self, dataset: Dataset, specs: Sequence[FuserSpec | ResultsSpec], bench: Bench) -> list[QualityResults]:
        task = dataset.task
        profile = self.profile or protocol_profile(task)
        metrics = choose_metrics(task, self.metrics, profile)
        about = environment()
        found = []
        for method in bench.methods(specs, task.name):
            if method.folder is not None:
                place = ResultsSpec(method.about.name, method.folder).place(task.name, dataset.name, dataset.label)
                method = replace(method, folder=place)
            found.append(
                QualityResults(
                    bench=bench, dataset=dataset, method=method, metrics=metrics, profile=profile, environment=about
                )
            )
        return found


def _fusers(request: BenchRequest) -> list[FuserSpec] | None:
    """The fusers that are asked for; None for every usable one."""
    if not request.fusers:
        return None
    if NO_FUSER not in request.fusers:
        return [parse_fuser(text) for text in request.fusers]
    if len(request.fusers) > 1 or not request.results:
        raise UsageError(f"--fuser {NO_FUSER}: is to score --results alone: give these, and no other fuser")
    return []


def _every_fuser(dataset: Dataset, bench: Bench) -> list[FuserSpec]:
    found, problems = usable(dataset.task.name, device=bench.device)
    for problem in problems:
        bench.say(f"note: {problem}")
    if not found:
        raise UsageError(f"no installed fuser can be used for {dataset.task.name} as it is: name one with --fuser")
    return found


def _drawer(method: BenchMethod, bench: Bench) -> MapDrawer | None:
    if method.model is None:
        return None
    try:
        return drawer(method.model, method.about.origin)
    except PluginCallFailed as error:
        bench.say(f"note: no weight maps of {method.about.name}: {error}")
        return None


def _with_images(found: Sequence[QualityResults], bench: Bench) -> list[QualityResults]:
    """The results without those whose folder has no image of the data set.

    Raises:
        fusionkit.errors.DataError: a folder has no image of any data set.
    """
    names = {results.name for results in found if results.has_images()}
    for results in found:
        if results.has_images():
            continue
        pair = results.dataset.selected[0].name
        line = f"{results.method.folder}: has no image of {results.dataset.title} (called {pair}, ...)"
        if results.name not in names:
            raise DataError(f"--results {results.name}: {line}")
        bench.say(f"note: {results.name} is left out: {line}")
    return [results for results in found if results.has_images()]


def _asked_for(record: Record, asked: QualityResults) -> Record:
    """The record with only the images and metrics that were asked for."""
    names = {pair.name for pair in asked.dataset.selected}
    images = tuple(image for image in record.images if image.name in names)
    failures = {name: why for name, why in record.failures.items() if name in names or name in asked.dataset.incomplete}
    return record.model_copy(
        update={
            "images": images,
            "failures": failures,
            "metrics": {name: record.metrics[name] for name in asked.metrics},
            "data": record.data.model_copy(update={"pairs": len(names | set(failures))}),
        }
    )


def _missing(record: Record, asked: QualityResults, *, maps: bool) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Images per cause: those of which a result or value is missing, and those for which a formula has no value."""
    failed: dict[str, list[str]] = {}
    undefined: dict[str, list[str]] = {}
    for name, why in record.failures.items():
        failed.setdefault(why, []).append(name)
    for image in record.images:
        if maps and image.unmapped:
            undefined.setdefault(f"no weight maps: {image.unmapped}", []).append(image.name)
    for metric in asked.metrics:
        for image in record.images:
            if image.scores.get(metric) is None:
                why = image.reasons.get(metric, "not computed yet")
                causes = undefined if why in (UNDEFINED, INFINITE) else failed
                causes.setdefault(f"{metric} {'is ' if causes is undefined else 'has no value: '}{why}", []).append(
                    image.name
                )
    there = {image.name for image in record.images} | set(record.failures)
    for pair in asked.dataset.selected:
        if pair.name not in there:
            failed.setdefault("not done yet", []).append(pair.name)
    return failed, undefined


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= _NAMED else f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"
