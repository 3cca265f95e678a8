"""Fused images of a labelled split, one set per method, fused once and kept below the bench's folder."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fusionkit.bench.downstream.downstream_records import DOWNSTREAM, SplitNote
from fusionkit.bench.jobs import lock_file
from fusionkit.bench.methods import BenchMethod, ResultsSpec
from fusionkit.bench.pair_fuser import PairFuser
from fusionkit.bench.records import file_name
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.data.pairing import image_files
from fusionkit.io.digest import file_digest
from fusionkit.io.locks import file_lock
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.runtime.threads import in_threads

__all__ = ["Split", "files_digest", "fused_files", "relative"]


@dataclass(frozen=True)
class Split:
    """One split of a labelled data set.

    Attributes:
        dataset: name of the data set.
        name: of the split, or "".
        pairs: labelled pairs of that data set and split alone.
    """

    dataset: str
    name: str
    pairs: PairSet
    _digests: dict[Path, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def label(self) -> str:
        """Data set and split: ``"MSRS-train"``."""
        return f"{self.dataset}-{self.name}" if self.name else self.dataset

    def digests(self, pair: Pair) -> tuple[str, ...]:
        """Digests of a pair's sources and, last, of its label; each file is read once.

        Raises:
            fusionkit.errors.DataError: a file cannot be read.
        """
        assert pair.label is not None
        for file in (*pair.files, pair.label):
            if file not in self._digests:
                self._digests[file] = file_digest(file)
        return tuple(self._digests[file] for file in (*pair.files, pair.label))

    def note(self) -> SplitNote:
        """Description for a record."""
        total = hashlib.sha256()
        for pair in self.pairs:
            total.update("\0".join((pair.name, *self.digests(pair))).encode() + b"\n")
        return SplitNote(split=self.name, pairs=len(self.pairs), fingerprint=total.hexdigest())


def fused_files(
    out: Path, split: Split, method: BenchMethod, *, progress: Callable[[int, int], None] | None = None
) -> list[Path]:
    """The fused image of every pair, fused where it is not there yet.

    A file's name holds a digest of the method and the sources, so that one that is there is the right one.

    Args:
        out: the bench's folder.
        split: what to fuse.
        method: what to fuse it with; results of another program are looked up.
        progress: called with the number of images that are done and of all.

    Raises:
        fusionkit.plugins.guard.PluginCallFailed: a pair cannot be fused, or a folder of results lacks its image.
        fusionkit.errors.DataError: a file cannot be read or written.
    """
    task = split.pairs.task.name
    if method.folder is not None:
        return _given(split, method.about.name, method.folder, task)
    assert method.model is not None
    folder = out / DOWNSTREAM / "fused" / file_name(task) / file_name(split.label) / file_name(method.about.name)
    files = [folder / _called(pair, split, method.identity) for pair in split.pairs]
    if all(file.is_file() for file in files):
        return files
    fuse = PairFuser(method.model)
    with file_lock(lock_file(out, "fused", task, split.label, method.about.name), wait=True):
        for done, (pair, file) in enumerate(zip(split.pairs, files, strict=True)):
            if not file.is_file():
                try:
                    fuse(pair, file)
                except PluginCallFailed as error:
                    raise PluginCallFailed(f"{pair.name} of {split.label}: {error}") from error
            if progress:
                progress(done + 1, len(files))
    return files


def files_digest(files: list[Path]) -> str:
    """A digest of the content of files, in their order."""
    return hashlib.sha256("\n".join(in_threads(file_digest, files)).encode()).hexdigest()


def relative(file: Path, out: Path) -> str:
    """A path as records have it: relative to the bench's folder, POSIX form."""
    return Path(os.path.relpath(file.absolute(), out.absolute())).as_posix()


def _given(split: Split, name: str, folder: Path, task: str) -> list[Path]:
    place = ResultsSpec(name, folder).place(task, split.dataset, split.label)
    there: Mapping[str, list[Path]] = image_files(place)
    lacking = [pair.name for pair in split.pairs if len(there.get(pair.name, [])) != 1]
    if lacking:
        raise PluginCallFailed(
            f"{place}: {len(lacking)} of {len(split.pairs)} images of {split.label} are missing or there twice "
            f"({lacking[0]}, ...): a network is trained and scored on whole splits"
        )
    return [there[pair.name][0] for pair in split.pairs]


def _called(pair: Pair, split: Split, identity: str) -> str:
    return f"{file_name(pair.name)}.{_short(identity, *split.digests(pair)[:-1])}.png"


def _short(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
