"""A pair of files to fuse, and an ordered set of pairs."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from fusionkit.contracts.label_types import LabelKind, LabelSpec
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.io.digest import file_digest
from fusionkit.runtime.threads import in_threads
from fusionkit.tasks import Task

__all__ = ["IMAGE_SUFFIXES", "LABEL_SUFFIXES", "NONE_STATED", "Pair", "PairSet", "Problem"]

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Suffixes, in lower case, of the files that count as images when a folder is listed."""

LABEL_SUFFIXES: dict[LabelKind, frozenset[str]] = {
    "segmentation": IMAGE_SUFFIXES,
    "detection": frozenset({".txt", ".xml"}),
}
"""Suffixes, in lower case, of the files that count as labels of a kind."""

NONE_STATED = "none stated"
"""Stands for a licence where the authors of a data set state none."""


@dataclass(frozen=True)
class Pair:
    """The aligned source files of one scene.

    Attributes:
        name: name of the pair and of its fused image.
        files: one file per source, in the task's order; two or more.
        dataset: the data set it comes from, or "".
        split: ``"train"``, ``"test"``..., or "" where the set has no splits.
        sha256: the digest each file should have, "" where none is known; empty where none is known at all.
        truth: the true fused image, where the set has one.
        label: class-id mask or file of boxes, where the pairs were found with labels and there is one.
        label_sha256: the digest that the label should have, "" where none is known.
    """

    name: str
    files: tuple[Path, ...]
    dataset: str = ""
    split: str = ""
    sha256: tuple[str, ...] = ()
    truth: Path | None = None
    label: Path | None = None
    label_sha256: str = ""

    @property
    def key(self) -> str:
        """The name with its data set in front (``"MSRS/00004N"``), since data sets share names."""
        return f"{self.dataset}/{self.name}" if self.dataset else self.name


@dataclass(frozen=True)
class Problem:
    """A problem found while listing the files: the pair's key and what is wrong."""

    key: str
    what: str
    split: str = ""

    def __str__(self) -> str:
        return f"{self.key}: {self.what}"


@dataclass(frozen=True)
class PairSet:
    """An ordered set of pairs for one task.

    It holds file names and reads no file; :func:`fusionkit.data.verify` checks them.

    Attributes:
        task: the fusion task, which names the sources.
        pairs: the pairs, in the order of the manifest, or sorted by name.
        origin: where the pairs come from, for messages and run records.
        licence: the licence as its authors state it.
        citation: what to cite, or "".
        problems: problems found while listing the files (a file without a partner); ``verify`` reports them.
        labels: kind and classes of the labels, where the pairs were found with labels.
    """

    task: Task
    pairs: tuple[Pair, ...]
    origin: str
    licence: str = NONE_STATED
    citation: str = ""
    problems: tuple[Problem, ...] = ()
    labels: LabelSpec | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> PairSet: ...
    def __getitem__(self, index: int | slice) -> Pair | PairSet:
        if isinstance(index, slice):
            return replace(self, pairs=self.pairs[index])
        return self.pairs[index]

    @property
    def splits(self) -> dict[str, int]:
        """Number of pairs of each split, in order of appearance; ``{"": n}`` without splits."""
        return dict(Counter(pair.split for pair in self.pairs))

    @property
    def datasets(self) -> dict[str, int]:
        """Number of pairs of each data set, in order of appearance."""
        return dict(Counter(pair.dataset for pair in self.pairs))

    def split(self, name: str) -> PairSet:
        """Select the pairs of one split; pairs without a split are in every split.

        Raises:
            fusionkit.errors.UsageError: no pair is in that split.
        """
        chosen = tuple(pair for pair in self.pairs if pair.split in ("", name))
        if not chosen and self.pairs:
            raise UsageError(f"{self.origin} has no split {name!r}: {did_you_mean(name, self.splits)}")
        return replace(
            self, pairs=chosen, problems=tuple(fault for fault in self.problems if fault.split in ("", name))
        )

    def named(self, names: Iterable[str]) -> PairSet:
        """Select the pairs with these names or keys, in this set's order.

        Raises:
            fusionkit.errors.UsageError: no pair has one of the names.
        """
        wanted = set(names)
        chosen = tuple(pair for pair in self.pairs if wanted & {pair.name, pair.key})
        faults = tuple(fault for fault in self.problems if wanted & {fault.key, fault.key.rpartition("/")[2]})
        known = {form for pair in chosen for form in (pair.name, pair.key)} | {
            form for fault in faults for form in (fault.key, fault.key.rpartition("/")[2])
        }
        for name in sorted(wanted - known):
            near = did_you_mean(name, (pair.name for pair in self.pairs)).partition("(known:")[0].strip()
            raise UsageError(f"{self.origin} has no pair {name!r} among its {len(self)} pairs{near and '; ' + near}")
        return replace(self, pairs=chosen, problems=faults)

    def fingerprint(self) -> str:
        """Compute a digest of the names, their order and the content of every file: equal sets give equal digests.

        Paths are not included, so a copy of the set elsewhere has the same fingerprint. Names are those of data set and
        pair; the data set of a folder without a manifest is called like the folder. Labels and their classes are
        included where there are any. Reads every file.

        Returns:
            64 hexadecimal digits.

        Raises:
            fusionkit.errors.DataError: a file cannot be read.
        """
        held = [pair.files if pair.label is None else (*pair.files, pair.label) for pair in self.pairs]
        digests = iter(in_threads(file_digest, [file for files in held for file in files]))
        total = hashlib.sha256()
        if self.labels is not None:
            total.update("\0".join((self.labels.kind, *self.labels.classes)).encode() + b"\n")
        for pair, files in zip(self.pairs, held, strict=True):
            fields = [pair.dataset, pair.name, *(next(digests) for _ in files)]
            total.update("\0".join(fields).encode() + b"\n")
        return total.hexdigest()
