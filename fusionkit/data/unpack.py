"""Unpack data sets that store both sources in one image of four channels into a folder of pairs."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fusionkit.contracts.label_types import LabelSpec
from fusionkit.data.dataset_layout import Layout, Part
from fusionkit.data.manifest import FILENAME, write_manifest
from fusionkit.data.named_dataset import NamedDataset
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, UsageError
from fusionkit.io.atomic import folder_written_aside
from fusionkit.plugins.declarations import Dataset
from fusionkit.runtime.threads import in_threads
from fusionkit.tasks import Task

__all__ = ["unpack"]


@dataclass(frozen=True)
class _Packed:
    """One image of four channels, the split it is in, and its mask."""

    name: str
    file: Path
    split: str
    mask: Path | None


def unpack(record: Dataset, folder: Path, task: Task, out: Path) -> PairSet:
    """Separate the sources of a data set whose visible images hold the infrared as their fourth channel.

    Writes ``ir/`` and ``vi/`` as PNG without loss, the masks as they are, ``classes.txt`` and a manifest with the
    published splits. The folder is written atomically.

    Args:
        record: a data set with a packed layout.
        folder: the data set as its authors publish it; it is only read.
        task: the data set's task.
        out: a folder that does not exist yet.

    Returns:
        The pairs in ``out``.

    Raises:
        fusionkit.errors.DataError: no such images are found, an image does not have four channels, ``out`` exists.
        fusionkit.errors.UsageError: the data set is not packed.
    """
    layouts = record.layouts if isinstance(record, NamedDataset) else ()
    layout = next((layout for layout in layouts if layout.packed), None)
    if layout is None:
        raise UsageError(f"data set {record.name}: its sources are files of their own; there is nothing to unpack")
    if out.exists():
        raise DataError(f"{out}: is there already: choose a new folder")
    packed = _find(layout, folder)
    if not packed:
        lists = ", ".join(sorted({part.listed for part in layout.parts}))
        raise DataError(f"{folder}: no {layout.packed} that the lists {lists} name; {record.name}: {record.homepage}")
    classes = next((labels.classes for labels in record.labels if labels.kind == "segmentation"), ())
    with folder_written_aside(out) as aside:
        for place in ("ir", "vi", "labels"):
            (aside / place).mkdir(parents=True)
        (aside / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
        pairs = tuple(in_threads(lambda one: _separate(one, aside, record.name), packed))
        spec = LabelSpec("segmentation", classes)
        write_manifest(aside / FILENAME, PairSet(task, pairs, str(out), labels=spec))
    return record.pairs(out, task)


def _find(layout: Layout, folder: Path) -> list[_Packed]:
    found: list[_Packed] = []
    for part in layout.parts:
        as_is = Part(
            split=part.split,
            sources=(layout.packed,) * 2,
            pairs=None,
            listed=part.listed,
            skip=part.skip,
            masks=part.masks,
        )
        pairs, _ = as_is.find(folder, "", "segmentation")
        found += [_Packed(pair.name, pair.files[0], part.split, pair.label) for pair in pairs]
    return found


def _separate(one: _Packed, folder: Path, dataset: str) -> Pair:
    from PIL import Image as Pillow

    from fusionkit.io.images import Image, read_image, write_image

    # Reading it as an image first finds damage; it drops the fourth channel.
    colour = read_image(one.file).pixels
    with Pillow.open(one.file) as picture:
        if picture.mode != "RGBA":
            raise DataError(f"{one.file}: has not four channels ({picture.mode}): is it unpacked already?")
        fourth = np.asarray(picture)[:, :, 3:]
    files = folder / "ir" / f"{one.name}.png", folder / "vi" / f"{one.name}.png"
    write_image(files[0], Image(np.ascontiguousarray(fourth)))
    write_image(files[1], Image(colour))
    label = folder / "labels" / one.mask.name if one.mask is not None else None
    if one.mask is not None and label is not None:
        shutil.copyfile(one.mask, label)
    return Pair(one.name, files, dataset=dataset, split=one.split, label=label)
