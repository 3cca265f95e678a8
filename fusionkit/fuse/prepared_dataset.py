"""Prepares a data set of raw pairs: scales ranges and aligns sources once, so that all else reads plain images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from fusionkit.contracts import Alignment
from fusionkit.contracts.label_types import IGNORE, Boxes
from fusionkit.data.labels.label_checks import read_label
from fusionkit.data.labels.label_transforms import warp_boxes
from fusionkit.data.labels.label_writing import write_mask, write_yolo
from fusionkit.data.manifest import FILENAME, write_manifest
from fusionkit.data.pair_checks import report as report_faults
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, UsageError
from fusionkit.fuse.aligning import Aligning
from fusionkit.fuse.reading import Reading, upright_where_they_differ
from fusionkit.io.atomic import write_text
from fusionkit.io.images import Image, write_image
from fusionkit.runtime.threads import in_threads

__all__ = ["PREPARED_RECORD", "Preparation", "prepare_dataset"]

PREPARED_RECORD = "prepared.json"
"""Name of the record in the folder of a prepared data set."""

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Preparation:
    """Plan of a prepared data set.

    Attributes:
        pairs: the raw pairs, with labels where these go along.
        out: the folder to make.
        reading: how the sources are read.
        aligning: how they are aligned, or None.
        labelled_source: place of the source that the labels were drawn on; where None, the one that stays.
        skip_bad: leave out pairs that cannot be prepared.
    """

    pairs: PairSet
    out: Path
    reading: Reading = field(default_factory=Reading)
    aligning: Aligning | None = None
    labelled_source: int | None = None
    skip_bad: bool = False

    def read(self, pair: Pair) -> tuple[Image, ...]:
        """Read the sources of a pair, in their ranges and upright."""
        return upright_where_they_differ(self.reading.read(pair.files), note=False)


def prepare_dataset(plan: Preparation, *, report: Report | None = None) -> dict[str, Any]:
    """Write a set of pairs as PNG files of one size per pair, 8 bits where a source has 8, else 16, with a manifest.

    The folder is a spec for training, benches and all other commands. Labels keep their files; those that were drawn on
    a source that is moved are moved with it, by the same transform.

    Args:
        plan: what to prepare.
        report: called after every pair that is checked or written.

    Returns:
        The record: rules, limits, transforms, pairs left out, and number of boxes that left the image.

    Raises:
        fusionkit.errors.UsageError: the folder holds something, or an option does not fit the sources.
        fusionkit.errors.DataError: pairs cannot be read or aligned, by name, before anything is written.
    """
    if plan.out.exists() and (not plan.out.is_dir() or any(plan.out.iterdir())):
        raise UsageError(f"{plan.out}: is there already; name a new folder")
    plan = replace(plan, reading=plan.reading.fixed([pair.files for pair in plan.pairs]))
    if plan.aligning is not None:
        plan = replace(plan, aligning=plan.aligning.over(plan.pairs.pairs, plan.read))
    skipped = {problem.key: str(problem.what) for problem in plan.pairs.problems}
    found: dict[str, tuple[Alignment | None, ...]] = {}
    good: list[Pair] = []
    for done, (pair, outcome) in enumerate(_checked(plan), start=1):
        if isinstance(outcome, str):
            skipped[pair.key] = outcome
        else:
            found[_place(pair)] = outcome
            good.append(pair)
        if report:
            report("checking", done, len(plan.pairs))
    if skipped and not (plan.skip_bad and good):
        report_faults(plan.pairs, [f"{key}: {why}" for key, why in skipped.items()])
    limits: dict[str, list[tuple[float, float] | None]] = {}
    written: list[Pair] = []
    lost = 0
    for done, pair in enumerate(good, start=1):
        made, taken, out_of_image = _write(plan, pair, found[_place(pair)])
        written.append(made)
        limits[_place(pair)] = taken
        lost += out_of_image
        if report:
            report("preparing", done, len(good))
    spec = plan.pairs.labels
    if spec is not None:
        write_text(plan.out / "classes.txt", "".join(f"{name}\n" for name in spec.classes))
    record = {
        **plan.reading.describe(len(plan.pairs[0].files)),
        "limits": limits,
        "align": plan.aligning and plan.aligning.describe(),
        "transforms": {
            key: [one and {"matrix": one.matrix.tolist(), "confidence": round(one.confidence, 4)} for one in alignments]
            for key, alignments in found.items()
        }
        if plan.aligning is not None
        else None,
        "pairs": len(written),
        "skipped": skipped,
        "boxes_outside": lost,
    }
    write_text(plan.out / PREPARED_RECORD, json.dumps(record, indent=2) + "\n")
    # The manifest comes last: a folder with one is whole.
    write_manifest(plan.out / FILENAME, replace(plan.pairs, pairs=tuple(written), problems=()))
    return record


def _place(pair: Pair) -> str:
    return "/".join(part for part in (pair.split, pair.key) if part)


def _checked(plan: Preparation) -> list[tuple[Pair, str | tuple[Alignment | None, ...]]]:
    """Each pair with its alignments, or with why it cannot be prepared."""

    def check(pair: Pair) -> str | tuple[Alignment | None, ...]:
        try:
            images = plan.read(pair)
            if plan.aligning is not None:
                found = plan.aligning.find(images)
                reference = images[plan.aligning.reference]
            else:
                found = (None,) * len(images)
                reference = images[0]
                if len({image.size for image in images}) > 1:
                    listed = ", ".join(image.size for image in images)
                    raise DataError(f"sources differ in size ({listed}): --align or --resize brings them to one")
            if plan.pairs.labels is not None:
                labelled = reference if plan.labelled_source is None else images[plan.labelled_source]
                read_label(pair, plan.pairs.labels, labelled.pixels.shape[:2])
        except DataError as error:
            return str(error)
        return found

    return list(zip(plan.pairs, in_threads(check, plan.pairs.pairs), strict=True))


def _write(
    plan: Preparation, pair: Pair, found: Sequence[Alignment | None]
) -> tuple[Pair, list[tuple[float, float] | None], int]:
    """Write one pair; returns it with its new files, the limits of its ranges, and the boxes that left the image."""
    before = plan.read(pair)
    images = before if plan.aligning is None else plan.aligning.apply(before, found)
    name = f"{pair.dataset}_{pair.name}" if len(plan.pairs.datasets) > 1 else pair.name
    names = [folders[0] for folders in plan.pairs.task.folders]
    if len(pair.files) > len(names):
        names = list("abcdefghijklmnopqrstuvwxyz")
    files = []
    for place, (raw, image) in enumerate(zip(before, images, strict=True)):
        file = plan.out / pair.split / names[place] / f"{name}.png"
        bits = min(raw.bits, 16)
        write_image(file, image if image.bits == bits else Image.from_tensor(image.tensor(), bits=bits))
        files.append(file)
    truth = _copy(pair.truth, plan.out / pair.split / "truth", name)
    label, lost = _write_label(plan, pair, found, before, images[0].pixels.shape[:2], name)
    made = Pair(pair.name, tuple(files), pair.dataset, pair.split, truth=truth, label=label)
    return made, [image.limits for image in before], lost


def _copy(file: Path | None, folder: Path, name: str) -> Path | None:
    if file is None:
        return None
    target = folder / f"{name}{file.suffix.lower()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror}): choose another place") from None
    return target


def _write_label(
    plan: Preparation,
    pair: Pair,
    found: Sequence[Alignment | None],
    before: Sequence[Image],
    size: tuple[int, int],
    name: str,
) -> tuple[Path | None, int]:
    spec = plan.pairs.labels
    if spec is None:
        return None, 0
    folder = plan.out / pair.split / "label"
    moved = None if plan.labelled_source is None else found[plan.labelled_source]
    if moved is None or plan.labelled_source is None:
        return _copy(pair.label, folder, name), 0
    label = read_label(pair, spec, before[plan.labelled_source].pixels.shape[:2])
    if isinstance(label, Boxes):
        kept = warp_boxes(label, np.linalg.inv(moved.matrix).astype(np.float64), size)
        write_yolo(folder / f"{name}.txt", kept, size)
        return folder / f"{name}.txt", len(label.classes) - len(kept.classes)
    mask = cv2.warpPerspective(
        label.numpy().astype(np.uint8),
        moved.matrix,
        size[::-1],
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderValue=IGNORE,
    )
    write_mask(folder / f"{name}.png", torch.from_numpy(mask.astype(np.int64)))
    return folder / f"{name}.png", 0
