"""Fused images of a labelled split, one set per method, fused once and kept below the bench's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from fusionkit.bench.datasets import Dataset
from fusionkit.bench.downstream.downstream_records import DOWNSTREAM, SplitNote
from fusionkit.bench.jobs import lock_file
from fusionkit.bench.methods import BenchMethod, ResultsSpec
from fusionkit.bench.pair_fuser import PairFuser
from fusionkit.bench.records import file_name
from fusionkit.data.pair_set import Pair
from fusionkit.data.pairing import image_files
from fusionkit.io.digest import file_digest
from fusionkit.io.locks import file_lock
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.runtime.threads import in_threads

__all__ = ["files_digest", "fused_files", "split_note"]


def split_note(split: Dataset) -> SplitNote:
    """Describe a split for a record.

    Raises:
        fusionkit.errors.DataError: a file cannot be read.
    """
    total = hashlib.sha256()
    for pair in split.pairs:
        sources, _ = split.digests(pair)
        total.update("\0".join((pair.name, *sources, split.label_digest(pair))).encode() + b"\n")
    return SplitNote(split=split.split, pairs=len(split.pairs), fingerprint=total.hexdigest())


def fused_files(
    out: Path, split: Dataset, method: BenchMethod, *, progress: Callable[[int, int], None] | None = None
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
    task = split.task.name
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


def _given(split: Dataset, name: str, folder: Path, task: str) -> list[Path]:
    place = ResultsSpec(name, folder).place(task, split.name, split.label)
    there: Mapping[str, list[Path]] = image_files(place)
    lacking = [pair.name for pair in split.pairs if len(there.get(pair.name, [])) != 1]
    if lacking:
        raise PluginCallFailed(
            f"{place}: {len(lacking)} of {len(split.pairs)} images of {split.label} are missing or there twice "
            f"({lacking[0]}, ...): a network is trained and scored on whole splits"
        )
    return [there[pair.name][0] for pair in split.pairs]


def _called(pair: Pair, split: Dataset, identity: str) -> str:
    return f"{file_name(pair.name)}.{_short(identity, *split.digests(pair)[0])}.png"


def _short(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
