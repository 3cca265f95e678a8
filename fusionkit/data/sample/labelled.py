"""The labelled sample: streets with class-id masks and boxes, as a folder with a manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusionkit.contracts.label_types import LabelKind, LabelSpec
from fusionkit.data.manifest import FILENAME, read_manifest, write_manifest
from fusionkit.data.pair_checks import verify
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.data.sample.sample_folder import VERSION, cache_folder, make_once, write_scene
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.tasks import Task

if TYPE_CHECKING:
    from fusionkit.data.sample.street import Labels

__all__ = ["LABELLED_TASKS", "labelled_sample"]

LABELLED_TASKS = ("ivif",)
"""The tasks that have a labelled sample."""

LICENCE = "made by fusionkit; no photographs"

_KINDS: tuple[LabelKind, ...] = ("segmentation", "detection")
_NOTE = """{heading}

Small synthetic streets to try task-driven training with: not a benchmark; {licence}.
MANIFEST.csv lists the pairs with their split, their labels and the digests. label_segmentation/ holds masks of class
ids, label_detection/ boxes as YOLO text, classes_segmentation.txt and classes_detection.txt the names of the classes.
"""


def labelled_sample(task: Task, kind: LabelKind, folder: Path | None = None, *, seed: int = 0) -> PairSet:
    """Return the built-in labelled sample of a task, made on first use: 24 train and 8 test pairs of 128 x 160 pixels.

    Args:
        task: infrared-visible fusion; no other task has one.
        kind: masks or boxes; both are of the same objects.
        folder: where to write it; the user's cache, by version and seed, when None. It is written atomically; a folder
            that already holds this sample is used as it is.
        seed: another seed gives other streets.

    Returns:
        The pairs, with ``labels`` set.

    Raises:
        fusionkit.errors.DataError: ``folder`` holds something else, or cannot be written.
        fusionkit.errors.UsageError: the task has no labelled sample, or ``seed`` is negative.
    """
    if task.name not in LABELLED_TASKS:
        near = did_you_mean(task.name, LABELLED_TASKS)
        raise UsageError(f"there is no built-in labelled sample for task {task.name!r}: {near}")
    if seed < 0:
        raise UsageError(f"seed: a sample's seed is 0 or more, got {seed}")
    target = cache_folder() / f"sample-v{VERSION}-seed{seed}" / f"{task.name}-labelled" if folder is None else folder
    heading = f"fusionkit labelled sample of streets, task {task.name}, version {VERSION}, seed {seed}"

    def check() -> None:
        from fusionkit.data.labels.label_checks import verify_labels

        for one in _KINDS:
            found = _found(target, task, one)
            verify(found)
            verify_labels(found)

    make_once(
        target,
        _NOTE.format(heading=heading, licence=LICENCE),
        lambda aside: _write(aside, task, seed),
        check,
        replace=folder is None,
    )
    found = _found(target, task, kind)
    return replace(found, origin=f"the built-in labelled sample ({target})", licence=LICENCE, citation="none")


def _found(folder: Path, task: Task, kind: LabelKind) -> PairSet:
    from fusionkit.data.labels.class_names import read_classes

    spec = LabelSpec(kind, read_classes(folder / f"classes_{kind}.txt"))
    return replace(read_manifest(folder / FILENAME, task, labels=kind), labels=spec)


def _write(folder: Path, task: Task, seed: int) -> None:
    from numpy.random import default_rng

    from fusionkit.data.sample.street import BOX_CLASSES, MASK_CLASSES, street_scenes

    classes = {"segmentation": MASK_CLASSES, "detection": BOX_CLASSES}
    made: dict[LabelKind, list[Pair]] = {kind: [] for kind in _KINDS}
    for kind in _KINDS:
        (folder / f"label_{kind}").mkdir()
        (folder / f"classes_{kind}.txt").write_text("\n".join(classes[kind]) + "\n", encoding="utf-8")
    for scene, labels in street_scenes(default_rng([seed, 7])):
        pair = write_scene(folder, task, scene)
        for kind, file in zip(_KINDS, _write_labels(folder, scene.name, labels), strict=True):
            made[kind].append(replace(pair, label=file))
    masks, boxes = (
        PairSet(task, tuple(made[kind]), str(folder), labels=LabelSpec(kind, classes[kind])) for kind in _KINDS
    )
    write_manifest(folder / FILENAME, masks, also=boxes)


def _write_labels(folder: Path, name: str, labels: Labels) -> tuple[Path, Path]:
    from fusionkit.io.images import Image, write_image

    files = folder / "label_segmentation" / f"{name}.png", folder / "label_detection" / f"{name}.txt"
    write_image(files[0], Image(labels.mask[:, :, None]))
    height, width = labels.mask.shape
    lines = [
        f"{number} {(x0 + x1) / 2 / width:.6f} {(y0 + y1) / 2 / height:.6f} "
        f"{(x1 - x0) / width:.6f} {(y1 - y0) / height:.6f}\n"
        for number, x0, y0, x1, y1 in labels.boxes
    ]
    files[1].write_text("".join(lines), encoding="utf-8")
    return files
