"""Data sets of a benchmark: the pairs of each, with digests that show whether a file changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from fusionkit.data.pair_finding import SAMPLE, find_pairs, task_of
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.data.sample import SAMPLE_TASKS
from fusionkit.errors import DataError, FusionkitError, UsageError
from fusionkit.io.digest import file_digest
from fusionkit.plugins import catalogue
from fusionkit.tasks import Task

__all__ = ["ALL_SPLITS", "Dataset", "find_by_task", "find_datasets"]

ALL_SPLITS = "all"
"""The word that stands for every split."""


@dataclass
class Dataset:
    """One data set of a bench.

    Attributes:
        task: what its sources are.
        name: the data set's name.
        split: its split, or "".
        pairs: all its pairs.
        spec: where they come from, as given.
        limit: how many of them to fuse, from the first; None for all.
    """

    task: Task
    name: str
    split: str
    pairs: PairSet
    spec: str
    limit: int | None = None
    _digests: dict[Path, str] = field(default_factory=dict, repr=False)
    _fingerprints: dict[tuple[str, ...], str] = field(default_factory=dict, repr=False)

    @property
    def label(self) -> str:
        """Name and split: ``"MSRS-test"``."""
        return f"{self.name}-{self.split}" if self.split else self.name

    @property
    def title(self) -> str:
        """Task, name and split, for messages."""
        return f"{self.task.name} {self.label}"

    @property
    def selected(self) -> tuple[Pair, ...]:
        """The pairs to fuse."""
        return self.pairs.pairs[: self.limit]

    @property
    def incomplete(self) -> dict[str, str]:
        """Scenes that cannot be fused, as listing the files showed: name -> why; none with a limit."""
        if self.limit is not None:
            return {}
        return {fault.key.rpartition("/")[2]: fault.what for fault in self.pairs.problems}

    def digests(self, pair: Pair) -> tuple[tuple[str, ...], str]:
        """The digests of a pair's sources and of its truth, "" without one; each file is read once.

        Raises:
            fusionkit.errors.DataError: a file cannot be read, or is not the one that the manifest describes.
        """
        sums = tuple(self.digest(file) for file in pair.files)
        for file, found, stated in zip(pair.files, sums, pair.sha256, strict=False):
            if stated and found != stated:
                raise DataError(f"{file}: is not the file that the manifest describes (its SHA-256 differs)")
        return sums, self.digest(pair.truth) if pair.truth else ""

    def fingerprint(self, names: Sequence[str]) -> str:
        """:meth:`fusionkit.data.PairSet.fingerprint` of the pairs of these names that can be read."""
        key = tuple(names)
        if key not in self._fingerprints:
            chosen = tuple(pair for pair in self.pairs if pair.name in set(names))
            self._fingerprints[key] = replace(self.pairs, pairs=chosen).fingerprint()
        return self._fingerprints[key]

    def digest(self, file: Path) -> str:
        """SHA-256 of a file, which is read once.

        Raises:
            fusionkit.errors.DataError: it cannot be read.
        """
        if file not in self._digests:
            self._digests[file] = file_digest(file)
        return self._digests[file]


def find_datasets(
    specs: Sequence[str], tasks: Sequence[str], *, split: str = "test", limit: int | None = None
) -> tuple[Dataset, ...]:
    """The data sets that ``specs`` stand for, for each of the tasks.

    Args:
        specs: as :func:`fusionkit.data.find_pairs` takes them.
        tasks: names of tasks; where empty, every one that the sample, the manifest or the named data set has.
        split: which pairs, or :data:`ALL_SPLITS`.
        limit: how many pairs of each data set.

    Raises:
        fusionkit.errors.UsageError: an unknown task, a data set of another task, a folder without a task, or two data
            sets of one name.
        fusionkit.errors.DataError: nothing usable is there.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: give the number of pairs of each data set, 1 or more")
    asked = [catalogue.tasks.get(name) for name in tasks]
    found: list[Dataset] = []
    for spec in specs:
        for pairs in _pairs(spec, asked, None if split == ALL_SPLITS else split):
            found += _parted(pairs, spec, split, limit)
    repeated = [key for key, count in Counter(dataset.title for dataset in found).items() if count > 1]
    if repeated:
        raise UsageError(f"--data: several data sets are called {repeated[0]!r}: give them one by one, each its --out")
    return tuple(found)


def find_by_task(spec: str, find: Callable[[Task], PairSet]) -> list[PairSet]:
    """Find the pairs of every task that data has pairs of, where nothing names its task.

    Args:
        spec: the data.
        find: finds its pairs of a task.

    Raises:
        fusionkit.errors.FusionkitError: there are none of any task; of a task whose sources are there if one is.
    """
    found: list[PairSet] = []
    faults: dict[str, FusionkitError] = {}
    for name in catalogue.tasks.names():
        try:
            found.append(find(catalogue.tasks.get(name)))
        except FusionkitError as error:
            faults[name] = error
    if not found:
        raise next((fault for name, fault in faults.items() if _has_sources(spec, name)), next(iter(faults.values())))
    return found


def _has_sources(spec: str, task: str) -> bool:
    try:
        return bool(find_pairs(spec, catalogue.tasks.get(task)))
    except FusionkitError:
        return False


def _pairs(spec: str, asked: Sequence[Task], split: str | None) -> list[PairSet]:
    own = task_of(spec)
    if own is not None:
        if asked and own not in [task.name for task in asked]:
            raise UsageError(f"--data {spec}: is for task {own}, and --task says {', '.join(t.name for t in asked)}")
        return [find_pairs(spec, catalogue.tasks.get(own), split=split)]
    if asked:
        return [find_pairs(spec, task, split=split) for task in asked]
    if spec == SAMPLE:
        return [find_pairs(spec, catalogue.tasks.get(name), split=split) for name in SAMPLE_TASKS]
    return _of_manifest(spec, split)


def _of_manifest(spec: str, split: str | None) -> list[PairSet]:
    """The pairs of every task that a manifest has rows of."""
    from fusionkit.data.manifest import FILENAME

    path = Path(spec).expanduser()
    if path.is_dir() and not (path / FILENAME).is_file():
        raise UsageError(f"--data {spec}: a folder of sources does not say what they are: add --task")
    found = find_by_task(spec, lambda task: find_pairs(spec, task))
    if split is None:
        return found
    there = [pairs for pairs in found if {"", split} & set(pairs.splits)]
    return [pairs.split(split) for pairs in there or found]


def _parted(pairs: PairSet, spec: str, split: str, limit: int | None) -> list[Dataset]:
    """A set of pairs, data set by data set."""
    parts = []
    for given in pairs.datasets:
        own = tuple(pair for pair in pairs if pair.dataset == given)
        names = Counter(pair.name for pair in own)
        doubled = [name for name, count in names.items() if count > 1]
        if doubled:
            raise DataError(f"{spec}: {given or 'it'} has two pairs called {doubled[0]!r}: choose one --split")
        problems = tuple(fault for fault in pairs.problems if fault.key.rpartition("/")[0] == given)
        name = given or Path(spec).resolve().stem or "data"
        label = split if any(pair.split for pair in own) else ""
        parts.append(Dataset(pairs.task, name, label, replace(pairs, pairs=own, problems=problems), spec, limit))
    if not parts:
        raise DataError(f"{spec}: has no pairs of task {pairs.task.name} to compare methods on")
    return parts
