"""Find the pairs that a specification names: a folder, a manifest, the built-in sample or a named data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusionkit.contracts.label_types import LabelKind
from fusionkit.data.folders import folder_pairs
from fusionkit.data.manifest import FILENAME, read_manifest
from fusionkit.data.pair_checks import verify
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.tasks import Task

if TYPE_CHECKING:
    from fusionkit.plugins.declarations import Dataset

__all__ = ["SAMPLE", "Pair", "PairSet", "find_pairs", "locate", "task_of", "verify"]

SAMPLE = "sample"
"""The specification of the built-in sample."""


def find_pairs(
    spec: str | Path,
    task: Task,
    *,
    split: str | None = None,
    names: Iterable[str] | None = None,
    dataset: str | None = None,
    folders: Sequence[str] | None = None,
) -> PairSet:
    """Find the pairs that ``spec`` names. No image is read (see :func:`verify`).

    Args:
        spec: one of

            - a folder with one sub-folder per source (``ir/`` and ``vi/``), files matched by stem, directly or under
              ``train/``, ``val/`` and ``test/``;
            - a folder with a ``MANIFEST.csv``, or a CSV file of that form (:mod:`fusionkit.data.manifest`), or the
              folder of one data set that the manifest beside it lists;
            - ``sample``: the built-in sample, made in the user's cache on first use;
            - ``NAME:DIR`` or ``NAME``: a registered data set, and the folder that holds it.

            A folder that is called ``sample`` or like a data set is written ``./sample``.
        task: what the sources are.
        split: only this split; a set without splits is taken whole.
        names: only the pairs with these names (or ``dataset/name``).
        dataset: of a manifest, only the rows of this data set.
        folders: of a folder, the source sub-folders by name, in the task's order.

    Returns:
        The pairs; files without a partner are in its ``problems``.

    Raises:
        fusionkit.errors.UsageError: no such split, name, data set.
        fusionkit.errors.DataError: nothing usable is there.
    """
    found = locate(spec, task, dataset=dataset, folders=folders)
    if split is not None:
        found = found.split(split)
    if names is not None:
        found = found.named(names)
    return found


def locate(
    spec: str | Path,
    task: Task,
    *,
    dataset: str | None = None,
    folders: Sequence[str] | None = None,
    labels: LabelKind | None = None,
) -> PairSet:
    """Find all pairs that ``spec`` names; with ``labels``, each pair has its label of this kind where it is known.

    Of a plain folder, labels are not looked for here.
    """
    if isinstance(spec, str):
        special = _sample_or_named(spec, task, labels)
        if special is not None:
            if dataset is not None or folders is not None:
                raise UsageError(f"{spec!r}: dataset and folders are only for manifests and plain folders")
            return special
    path = Path(spec).expanduser()
    manifest = path / FILENAME if path.is_dir() else path
    if manifest.is_file() and (path.is_dir() or path.suffix.lower() == ".csv"):
        if folders is not None:
            raise UsageError(f"folders: {path} has a manifest, which names the files")
        return read_manifest(manifest, task, dataset=dataset, labels=labels)
    if path.is_dir() and folders is None and _listed_above(path, task):
        return read_manifest(path.parent / FILENAME, task, dataset=path.name, labels=labels)
    if dataset is not None:
        raise UsageError(f"dataset {dataset!r}: {path} has no {FILENAME}")
    if path.is_file():
        raise DataError(f"{path}: a folder or a CSV manifest is needed, not a file of another kind")
    if not path.exists():
        from fusionkit.plugins.catalogue import datasets

        known = did_you_mean(str(spec).partition(":")[0], (SAMPLE, *datasets.names()))
        raise DataError(f"{spec}: no such folder, and no data set of that name: {known}")
    return folder_pairs(path, task, folders=folders)


def task_of(spec: str) -> str | None:
    """Return the task of a named data set's specification, None for others."""
    record = _record(spec)
    return record.task if record is not None else None


def _listed_above(path: Path, task: Task) -> bool:
    """Return whether ``path`` is the folder of one data set in a folder whose manifest lists its pairs."""
    manifest = path.absolute().parent / FILENAME
    if not manifest.is_file():
        return False
    try:
        listed = read_manifest(manifest, task)
    except DataError:
        return False
    place = path.absolute()
    return any(
        pair.dataset == path.name and all(file.absolute().is_relative_to(place) for file in pair.files)
        for pair in listed
    )


def _sample_or_named(spec: str, task: Task, labels: LabelKind | None) -> PairSet | None:
    if spec == SAMPLE:
        from fusionkit.data.sample import labelled_sample, sample_pairs

        return sample_pairs(task) if labels is None else labelled_sample(task, labels)
    record = _record(spec)
    if record is None:
        return None
    _, colon, folder = spec.partition(":")
    return record.pairs(Path(folder).expanduser() if colon else None, task, labels=labels)


def _record(spec: str) -> Dataset | None:
    from fusionkit.plugins.catalogue import datasets

    name = spec.partition(":")[0]
    return datasets.get(name) if name in datasets.names() else None
