"""Tests plugins that are data against their contracts: data sets, tasks and metric profiles."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fusionkit.data.named_dataset import NamedDataset
from fusionkit.errors import DataError, FusionkitError, UsageError
from fusionkit.fuse.model import load
from fusionkit.plugins import catalogue
from fusionkit.plugins.declarations import Dataset, Profile
from fusionkit.tasks import Task
from fusionkit.testing.rules import Notes, fail, require

__all__ = ["check_dataset", "check_profile", "check_task"]

_FACTS = ("name", "title", "task", "homepage", "licence", "citation", "images")


def check_dataset(dataset: Dataset) -> Notes:
    """Check that a data set keeps its contract.

    Every fact is stated, the task is registered, layouts have one template per source, labels have classes, and a
    wrong task, a missing folder and an empty one are refused.

    Args:
        dataset: the record that the entry point names.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
    """
    subject = f"Data set {getattr(dataset, 'name', '?')}"
    require(isinstance(dataset, Dataset), subject, "it is not a Dataset", "give an instance of NamedDataset")
    for name in _FACTS:
        require(bool(getattr(dataset, name, "")), subject, f"{name} is blank", f"state {name}")
    require(dataset.task in catalogue.tasks.names(), subject, f"no task {dataset.task!r}", "name a registered task")
    task = catalogue.tasks.get(dataset.task)
    require(bool(dataset.splits), subject, "it has no splits", 'give the pairs per split, {"": None} if unknown')
    for labels in dataset.labels:
        require(bool(labels.classes), subject, f"its {labels.kind} labels have no classes", "name the classes by id")
    if isinstance(dataset, NamedDataset):
        for part in (part for layout in dataset.layouts for part in layout.parts):
            count = len(part.sources)
            fits = count in (1, len(task.sources))
            what = f"split {part.split!r} has {count} templates and the task {len(task.sources)} sources"
            require(fits, subject, what, "give one template per source, or one that matches a stack of exposures")
    with TemporaryDirectory() as folder:
        for place, what in ((Path(folder), "an empty folder"), (Path(folder) / "missing", "a missing folder")):
            try:
                dataset.pairs(place, task)
            except DataError:
                continue
            fail(subject, f"{what} is accepted", "raise fusionkit.errors.DataError where no pairs are found")
        other = next(catalogue.tasks.get(name) for name in catalogue.tasks.names() if name != dataset.task)
        try:
            dataset.pairs(Path(folder), other)
        except (UsageError, DataError):
            return ()
    fail(subject, f"the task {other.name} is accepted", "raise fusionkit.errors.UsageError for another task")


def check_task(task: Task) -> Notes:
    """Check that a task keeps its contract.

    It names two or more sources and the usual folders of each, no folder stands for two sources, its metrics and its
    profile are registered, and the model that it states can be loaded for it.

    Args:
        task: the record that the entry point names.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
    """
    subject = f"Task {getattr(task, 'name', '?')}"
    require(isinstance(task, Task), subject, "it is not a Task", "give an instance of fusionkit.tasks.Task")
    named = re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", task.name)
    require(bool(named), subject, "its name cannot be typed", "use lower-case letters and digits, words joined by '-'")
    require(bool(task.title and task.reference), subject, "title or reference is blank", "state both")
    require(len(task.sources) >= 2, subject, f"it has {len(task.sources)} sources", "name two or more")
    fits = len(task.folders) == len(task.sources) and all(task.folders)
    require(fits, subject, "not every source has folders", "give one tuple of usual names per source")
    names = [name for names in task.folders for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    require(not twice, subject, f"the folder {twice} stands for two sources", "give each name to one source")
    require(bool(task.metrics), subject, "it has no metrics", "name the metrics of its tables")
    for name in task.metrics:
        try:
            catalogue.metrics.get(name)
        except FusionkitError as error:
            fail(subject, f"metric {name!r}: {error}", "list registered metrics only")
    if task.profile:
        try:
            catalogue.profiles.get(task.profile)
        except FusionkitError as error:
            fail(subject, f"profile {task.profile!r}: {error}", "name a registered profile")
    if task.default_model:
        try:
            load(task.default_model, task.name if task.name in catalogue.tasks.names() else None, device="cpu")
        except FusionkitError as error:
            fail(subject, f"its model {task.default_model!r}: {error}", "name a shipped model, FUSER:TASK, or a fuser")
    return ()


def check_profile(profile: Profile) -> Notes:
    """Check that every metric of a profile is registered and can be built with its settings.

    Args:
        profile: the record that the entry point names.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
    """
    subject = f"Profile {getattr(profile, 'name', '?')}"
    require(isinstance(profile, Profile), subject, "it is not a Profile", "give an instance of Profile")
    for name, settings in (profile.settings or {}).items():
        try:
            kind = catalogue.metrics.get(name)
        except FusionkitError as error:
            fail(subject, f"metric {name!r}: {error}", "list registered metrics only")
        try:
            built, default = kind(**settings), kind()
        except (TypeError, ValueError, FusionkitError) as error:
            fail(subject, f"metric {name!r} cannot be built with {dict(settings)} ({error})", "correct the settings")
        if is_dataclass(built):
            values = {field.name: getattr(default, field.name) for field in fields(built)}
            same = [key for key, value in settings.items() if values.get(key) == value]
            require(not same, subject, f"metric {name!r}: {', '.join(same)} is the default", "leave defaults out")
    return ()
