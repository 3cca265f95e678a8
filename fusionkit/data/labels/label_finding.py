"""Find labelled pairs, by the same specifications as pairs without labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from fusionkit.contracts.label_types import LabelKind, LabelSpec
from fusionkit.data.labels.class_names import find_classes
from fusionkit.data.pair_finding import locate
from fusionkit.data.pair_set import LABEL_SUFFIXES, Pair, PairSet, Problem
from fusionkit.data.pairing import children
from fusionkit.errors import DataError, UsageError
from fusionkit.tasks import Task

__all__ = ["LABEL_FOLDERS", "find_labelled"]

LABEL_FOLDERS: dict[LabelKind, tuple[str, ...]] = {
    "segmentation": (
        *("label_segmentation", "label_seg", "masks", "mask", "segmentation_labels", "segmentation"),
        *("label", "labels"),
    ),
    "detection": (
        *("label_detection", "label_det", "boxes", "annotations", "annotation"),
        *("label", "labels"),
    ),
}
"""Names, in lower case, of the sub-folders beside the source folders that may hold labels of a kind."""


def find_labelled(
    spec: str | Path,
    task: Task,
    kind: LabelKind,
    *,
    split: str | None = None,
    names: Iterable[str] | None = None,
    dataset: str | None = None,
    folders: Sequence[str] | None = None,
    label_folder: str | None = None,
) -> PairSet:
    """Find the pairs that ``spec`` names, each with its label. Only the list of classes is read.

    Args:
        spec: as for :func:`fusionkit.data.find_pairs`:

            - a folder whose labels lie in ``label/`` (or another of :data:`LABEL_FOLDERS`) beside its source folders,
              matched by stem, with the class names in ``classes.txt``: PNG masks of class ids, YOLO text files, or
              Pascal VOC XML files;
            - a ``MANIFEST.csv`` with label columns (:mod:`fusionkit.data.manifest`), or the folder of one of its data
              sets; ``classes.txt`` lies in the data set's folder. Labels that no column names are looked for as in a
              folder;
            - ``sample``: the built-in labelled sample;
            - ``NAME:DIR`` or ``NAME``: a registered data set that has labels.
        task: the fusion task, which names the sources.
        kind: masks or boxes.
        split: only this split; a set without splits is taken whole.
        names: only the pairs with these names.
        dataset: of a manifest, only the rows of this data set.
        folders: of a folder, the source sub-folders by name.
        label_folder: name of the folder of labels beside the source folders, in place of :data:`LABEL_FOLDERS` and of
            the columns of a manifest.

    Returns:
        The pairs, with ``labels`` set; a pair whose label is missing has none, which
        :func:`fusionkit.data.labels.verify_labels` reports.

    Raises:
        fusionkit.errors.UsageError: no such split, name or data set; data sets of different classes at once.
        fusionkit.errors.DataError: nothing usable is there, no labels of that kind, no list of classes.
    """
    found = locate(spec, task, dataset=dataset, folders=folders, labels=kind)
    if label_folder is not None:
        origin = Path(found.origin)
        found = _beside(found, kind, top=origin if origin.is_dir() else origin.parent, names=(label_folder,))
    elif found.labels is None:
        origin = Path(found.origin)
        found = _beside(found, kind, top=origin) if origin.is_dir() else _of_manifest(found, kind)
    if split is not None:
        found = found.split(split)
    if names is not None:
        found = found.named(names)
    return found


def _of_manifest(found: PairSet, kind: LabelKind) -> PairSet:
    """The data sets of a manifest that have labels of the kind, with their classes."""
    top = Path(found.origin).parent
    places = {pair.label.parent: pair.dataset for pair in found if pair.label is not None}
    if not places:
        try:
            return _beside(found, kind, top=top)
        except DataError as error:
            raise DataError(f"{found.origin}: no {kind} labels in a column 'label', and {error}") from None
    classes = {dataset: find_classes(place, kind, top=top) for place, dataset in places.items()}
    if len(set(classes.values())) > 1:
        listed = "; ".join(f"{dataset}: {', '.join(names[:4])}" for dataset, names in classes.items())
        first = next(iter(classes))
        raise UsageError(
            f"{found.origin}: its data sets have different classes ({listed}): choose one, for example {top / first}"
        )
    kept = tuple(pair for pair in found if pair.dataset in classes)
    return replace(found, pairs=kept, labels=LabelSpec(kind, next(iter(classes.values()))))


def _beside(found: PairSet, kind: LabelKind, *, top: Path, names: Sequence[str] = ()) -> PairSet:
    """Labels from a folder beside the source folders, by the stem of the first source."""
    listings: dict[Path, tuple[Path, dict[str, list[Path]]]] = {}
    for pair in found:
        place = pair.files[0].parent.parent
        if place not in listings:
            listings[place] = _listing(place, kind, names or LABEL_FOLDERS[kind])
    classes = {find_classes(folder, kind, top=top) for folder, _ in listings.values()}
    if len(classes) > 1:
        raise DataError(f"{top}: its splits have different classes.txt; one list is needed for all")
    problems = list(found.problems)
    pairs: list[Pair] = []
    for pair in found:
        _, files = listings[pair.files[0].parent.parent]
        own = files.get(pair.files[0].stem, [])
        if len(own) > 1:
            problems.append(Problem(pair.key, f"two labels ({', '.join(file.name for file in own)})", pair.split))
        pairs.append(replace(pair, label=own[0] if own else None))
    return replace(found, pairs=tuple(pairs), problems=tuple(problems), labels=LabelSpec(kind, classes.pop()))


def _listing(place: Path, kind: LabelKind, names: Sequence[str]) -> tuple[Path, dict[str, list[Path]]]:
    below = {child.name.lower(): child for child in children(place) if child.is_dir()}
    for name in (name.lower() for name in names):
        if name in below:
            files: dict[str, list[Path]] = {}
            for file in children(below[name]):
                if file.suffix.lower() in LABEL_SUFFIXES[kind] and not file.name.lower().startswith("classes"):
                    files.setdefault(file.stem, []).append(file)
            if files:
                return below[name], files
    what = "masks (.png)" if kind == "segmentation" else "boxes (.txt or .xml)"
    there = ", ".join(child.name for child in below.values()) or "no sub-folders"
    wanted = names[0] if len(names) == 1 else "label"
    raise DataError(f"{place}: no sub-folder with {what} for {kind}: {wanted} expected; it holds: {there}")
