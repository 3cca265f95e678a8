"""Experiments of a downstream bench: what the methods of one table share, and each method's images in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from fusionkit.bench.downstream.fused_splits import Split, files_digest, fused_files
from fusionkit.bench.downstream.protocol import Protocol, network_digest
from fusionkit.bench.downstream.samples import load_samples
from fusionkit.bench.jobs import Progress
from fusionkit.bench.methods import BenchMethod
from fusionkit.config import as_dict
from fusionkit.contracts import Downstream, Options
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.plugins.guard import run_guarded

__all__ = ["Experiment", "ExperimentMethod"]


@dataclass(frozen=True)
class Experiment:
    """One table: the network, schedule and data that every method of it shares.

    Attributes:
        out: the bench's folder.
        name: registered name of the network.
        network: its class.
        options: its options.
        version: distribution and version that it comes from.
        protocol: the schedule, with its size.
        train: labelled pairs to train on.
        test: labelled pairs to score on.
        device: where.
    """

    out: Path
    name: str
    network: type[Downstream]
    options: Options
    version: str
    protocol: Protocol
    train: Split
    test: Split
    device: torch.device
    _samples: dict[tuple[str, str], LabelledStore] = field(default_factory=dict, repr=False, compare=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by id."""
        assert self.train.pairs.labels is not None
        return self.train.pairs.labels.classes

    @property
    def about(self) -> dict[str, Any]:
        """The network, as far as it decides results."""
        implementation = f"{self.network.__module__}:{self.network.__qualname__}"
        config = as_dict(self.options)
        return {"name": self.name, "implementation": implementation, "version": self.version, "config": config}

    @property
    def table(self) -> tuple[str, str, str, str]:
        """Names of the table that its records make: task, test split, network, and a digest of network and protocol."""
        task = self.train.pairs.task.name
        return task, self.test.label, self.name, network_digest(self.about, as_dict(self.protocol))

    def samples(self, method: str, split: str, load: Callable[[], LabelledStore]) -> LabelledStore:
        """The samples of a method, kept in memory until another method's are asked for."""
        if any(name != method for name, _ in self._samples):
            self._samples.clear()
        if (method, split) not in self._samples:
            self._samples[method, split] = load()
        return self._samples[method, split]


class ExperimentMethod:
    """A method in an experiment: its images are fused once for all seeds.

    Args:
        experiment: the table that it belongs to.
        method: the method.
    """

    def __init__(self, experiment: Experiment, method: BenchMethod) -> None:
        self.experiment = experiment
        self.method = method
        self._files: dict[str, list[Path]] = {}

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method.about.name

    def files(self, split: Split, progress: Progress | None = None) -> list[Path]:
        """Its fused images of a split, fused where they are not there.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: an image cannot be made.
        """
        if split.name not in self._files:
            report = partial(progress, f"{self.name} fuses {split.label}") if progress else None
            self._files[split.name] = fused_files(self.experiment.out, split, self.method, progress=report)
        return self._files[split.name]

    def samples(self, split: Split, progress: Progress | None = None) -> LabelledStore:
        """A split as the network sees it.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: an image cannot be made or read.
        """
        files, size, device = self.files(split, progress), self.experiment.protocol.size, self.experiment.device
        assert size is not None
        return self.experiment.samples(
            self.name, split.name, lambda: run_guarded(lambda: load_samples(files, split.pairs, size, device))
        )

    @cached_property
    def identity(self) -> str:
        """A digest of all that decides its results but for the seed.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: images of another program are missing.
        """
        experiment = self.experiment
        decisive = {
            "method": self.method.identity,
            "images": [files_digest(self.files(split)) for split in (experiment.train, experiment.test)]
            if self.method.folder is not None
            else [],
            "data": [experiment.train.note().fingerprint, experiment.test.note().fingerprint],
            "classes": experiment.classes,
            "course": experiment.table[-1],
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
