"""Experiments of a downstream bench: what the methods of one table share, and each method's images in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from fusionkit.bench.datasets import Dataset
from fusionkit.bench.downstream.downstream_records import DOWNSTREAM, SplitNote
from fusionkit.bench.downstream.protocol import Protocol, network_digest
from fusionkit.bench.downstream.samples import load_samples
from fusionkit.bench.jobs import Progress, lock_file
from fusionkit.bench.methods import BenchMethod, ResultsSpec
from fusionkit.bench.pair_fuser import PairFuser
from fusionkit.bench.paths import file_name
from fusionkit.config import as_dict
from fusionkit.contracts import Downstream, Options
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.data.pair_set import Pair
from fusionkit.data.pairing import image_files
from fusionkit.io.digest import file_digest
from fusionkit.io.locks import file_lock
from fusionkit.plugins.guard import PluginCallFailed, run_guarded
from fusionkit.runtime.threads import in_threads

__all__ = ["Experiment", "ExperimentMethod", "pair_digests", "split_note"]


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
    train: Dataset
    test: Dataset
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
        digest = network_digest(self.about, as_dict(self.protocol))
        return self.train.task.name, self.test.label, self.name, digest

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

    def files(self, split: Dataset, progress: Progress | None = None) -> list[Path]:
        """Its fused images of a split, fused where they are not there; results of another program are looked up.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: a pair cannot be fused, or a folder of results lacks its image.
            fusionkit.errors.DataError: a file cannot be read or written.
        """
        if split.split not in self._files:
            self._files[split.split] = self._fused(split, progress) if self.method.model else self._given(split)
        return self._files[split.split]

    def samples(self, split: Dataset, progress: Progress | None = None) -> LabelledStore:
        """Load the fused images and labels of a split in the size that the network sees.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: an image cannot be made or read.
        """
        files, size, device = self.files(split, progress), self.experiment.protocol.size, self.experiment.device
        assert size is not None
        return self.experiment.samples(
            self.name, split.split, lambda: run_guarded(lambda: load_samples(files, split.pairs, size, device))
        )

    @cached_property
    def identity(self) -> str:
        """A digest of all that decides its results but for the seed.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: images of another program are missing.
        """
        experiment = self.experiment
        splits = (experiment.train, experiment.test)
        given = splits if self.method.folder is not None else ()
        decisive = {
            "method": self.method.identity,
            "images": [_joint(in_threads(file_digest, self.files(split))) for split in given],
            "data": [split_note(split).fingerprint for split in splits],
            "classes": experiment.classes,
            "course": experiment.table[-1],
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()

    def _fused(self, split: Dataset, progress: Progress | None) -> list[Path]:
        assert self.method.model is not None
        out, place = self.experiment.out, (split.task.name, split.label, self.name)
        folder = Path(out, DOWNSTREAM, "fused", *map(file_name, place))
        # The name holds a digest of the method and the sources, so that a file that is there is the right one.
        files = [folder / f"{file_name(pair.name)}.{self._digest(split, pair)}.png" for pair in split.pairs]
        if all(file.is_file() for file in files):
            return files
        fuse = PairFuser(self.method.model)
        report = partial(progress, f"{self.name} fuses {split.label}") if progress else None
        with file_lock(lock_file(out, "fused", *place), wait=True):
            for done, (pair, file) in enumerate(zip(split.pairs, files, strict=True), 1):
                if not file.is_file():
                    try:
                        fuse(pair, file)
                    except PluginCallFailed as error:
                        raise PluginCallFailed(f"{pair.name} of {split.label}: {error}") from error
                if report:
                    report(done, len(files))
        return files

    def _digest(self, split: Dataset, pair: Pair) -> str:
        return _joint((self.method.identity, *pair_digests(split, pair)[:-1]))[:16]

    def _given(self, split: Dataset) -> list[Path]:
        assert self.method.folder is not None
        place = ResultsSpec(self.name, self.method.folder).place(split.task.name, split.name, split.label)
        there = image_files(place)
        lacking = [pair.name for pair in split.pairs if len(there.get(pair.name, [])) != 1]
        if lacking:
            raise PluginCallFailed(
                f"{place}: {len(lacking)} of {len(split.pairs)} images of {split.label} are missing or there twice "
                f"({lacking[0]}, ...): a network is trained and scored on whole splits"
            )
        return [there[pair.name][0] for pair in split.pairs]


def pair_digests(split: Dataset, pair: Pair) -> tuple[str, ...]:
    """Digests of a pair's sources and, last, of its label.

    Raises:
        fusionkit.errors.DataError: a file cannot be read.
    """
    assert pair.label is not None
    return tuple(split.digest(file) for file in (*pair.files, pair.label))


def split_note(split: Dataset) -> SplitNote:
    """Describe a split for records."""
    total = hashlib.sha256()
    for pair in split.pairs:
        total.update("\0".join((pair.name, *pair_digests(split, pair))).encode() + b"\n")
    return SplitNote(split=split.split, pairs=len(split.pairs), fingerprint=total.hexdigest())


def _joint(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
