"""Choices that the page offers: tasks, the methods of each, ranges, alignments, profiles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from fusionkit.app.workroom import SUFFIXES
from fusionkit.bench.published_tables import protocol_profile
from fusionkit.errors import FusionkitError, UsageError
from fusionkit.fuse.aligning import ALIGN_CHOICES, RESIZE
from fusionkit.fuse.model import Model, load
from fusionkit.io.ranges import WINDOWS
from fusionkit.metrics.profiles import find_profile
from fusionkit.models.listing import default_fuser, list_models
from fusionkit.plugins import catalogue
from fusionkit.runtime.devices import choose_device

__all__ = ["Choices"]

_RANGES = ("auto", "full", "minmax", "percentile:1,99", *(f"window:{name}" for name in WINDOWS))
_LOADED = 4


class Choices:
    """Models, tasks and rules to choose from. Only what is listed here can be asked for.

    Args:
        own: models of the user beside the installed ones: run folders and weights files.
        device: device to fuse on.

    Raises:
        fusionkit.errors.FusionkitError: a model of the user cannot be loaded.
    """

    def __init__(self, own: Sequence[str] = (), *, device: str = "auto") -> None:
        self.tasks = {name: catalogue.tasks.get(name) for name in catalogue.tasks.usable()}
        choose_device(device)  # a device that is not there is refused now, not at the first fusing
        self._device = device
        self._load = lru_cache(_LOADED)(self._load_model)
        entries, self.problems = list_models()
        usable = [entry for entry in entries if entry.usable and entry.current]
        last = [Path(name).name for name in own]
        self._own = {name if last.count(short) > 1 else short: name for short, name in zip(last, own, strict=True)}
        kept = {label: self._load(name, None) for label, name in self._own.items()}
        self.methods: dict[str, tuple[str, ...]] = {}
        for name, task in self.tasks.items():
            mine = [label for label, model in kept.items() if model.task in ("", name)]
            fitting = [entry for entry in usable if not entry.task or name in entry.task.split(", ")]
            anything = [entry for entry in usable if entry.task == "any"]
            listed = [f"{e.fuser}:{e.task}" if e.tag else e.name for e in (*fitting, *anything)]
            self.methods[name] = tuple(dict.fromkeys([*mine, *self._preferred(task.name, listed), *listed]))

    def _preferred(self, task: str, listed: Sequence[str]) -> list[str]:
        """Name the method that fuses a task by default, if one does."""
        try:
            fuser = default_fuser(task)
        except FusionkitError:
            return []
        return [name for name in (f"{fuser}:{task}", fuser) if name in listed][:1] or [fuser]

    def model(self, method: str, task: str) -> Model:
        """Load a model that is listed for a task; the last few stay loaded.

        Raises:
            fusionkit.errors.FusionkitError: it is not listed, or cannot be loaded.
        """
        if task not in self.tasks:
            raise UsageError(f"the task {task!r} is not known: choose one of {', '.join(self.tasks)}")
        if method not in self.methods[task]:
            raise UsageError(f"the method {method!r} is not offered for {task}: choose one from the list")
        return self._load(self._own.get(method, method), None if method in self._own else task)

    def _load_model(self, name: str, task: str | None) -> Model:
        return load(name, task, device=self._device)

    def profiles(self) -> list[str]:
        """List the metric profiles."""
        return list(catalogue.profiles.usable())

    def describe(self) -> dict[str, Any]:
        """Write everything for the page."""
        return {
            "tasks": [
                {
                    "name": name,
                    "title": task.title,
                    "sources": task.sources,
                    "folders": task.folders,
                    "methods": self.methods[name],
                    "profile": protocol_profile(task),
                }
                for name, task in self.tasks.items()
            ],
            "ranges": _RANGES,
            "aligns": [*ALIGN_CHOICES, RESIZE],
            "matches": ["stem", "number", "order"],
            "profiles": [{"name": name, "title": find_profile(name).title} for name in self.profiles()],
            "suffixes": sorted(SUFFIXES),
        }
