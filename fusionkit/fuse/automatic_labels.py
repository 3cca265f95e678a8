"""Labels pairs by a trained network, into the files that training, benches and other programs read."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from fusionkit.contracts import Boxes
from fusionkit.data.labels.label_writing import write_coco, write_mask, write_voc, write_yolo
from fusionkit.data.pair_set import Pair, PairSet
from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.fuse.model import Model
from fusionkit.fuse.reading import Reading, upright_where_they_differ
from fusionkit.io.atomic import write_text
from fusionkit.io.images import Image
from fusionkit.io.text import as_csv_cell
from fusionkit.models.labelling import Labeller, mask_of

__all__ = ["LabelForm", "LabelPlan", "label_pairs"]

LabelForm = Literal["yolo", "coco", "voc", "mask"]
"""Files of labels: YOLO text, COCO JSON and Pascal VOC XML for boxes, PNG masks of class ids."""


@dataclass(frozen=True)
class LabelPlan:
    """Pairs to label.

    Attributes:
        pairs: the pairs.
        labeller: the network.
        form: files to write.
        out: folder of the files; with several splits, one below it per split. Where None, ``label`` beside the source
            folders, which training finds.
        source: place of the source that the network sees, counted from 0; None for the fused image.
        model: fuses the sources where the network sees the fused image.
        confidence: boxes of a lower score are left out, pixels of a lower probability do not count.
        keep: names of the classes to keep, in the order of their new ids; all where empty.
        reading: how the sources are read.
    """

    pairs: PairSet
    labeller: Labeller
    form: LabelForm
    out: Path | None = None
    source: int | None = 0
    model: Model | None = None
    confidence: float = 0.5
    keep: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)


def label_pairs(plan: LabelPlan, *, report: Callable[[str, int, int], None] | None = None) -> dict[str, int]:
    """Write a label for every pair, the list of classes, and ``confidence.csv`` with what the network is sure of.

    Nothing is written before all pairs are labelled.

    Returns:
        Number of ``images``, of ``boxes`` or labelled ``pixels``, and of images with ``nothing`` in them.

    Raises:
        fusionkit.errors.UsageError: a form for another kind of labels, or a class that the network does not know.
        fusionkit.errors.DataError: a label is there already, a source cannot be read, or a file cannot be written.
    """
    labeller = plan.labeller
    if (plan.form == "mask") != (labeller.kind == "segmentation"):
        fitting = "mask" if labeller.kind == "segmentation" else "yolo, coco or voc"
        raise UsageError(f"--format {plan.form}: {labeller.name} gives {labeller.kind} labels: choose {fitting}")
    for name in plan.keep:
        if name not in labeller.classes:
            raise UsageError(
                f"--keep {name}: {labeller.name} has no such class: {did_you_mean(name, labeller.classes)}"
            )
    targets = [_target(plan, pair) for pair in plan.pairs]
    lists = {target.parent if plan.out else _top(plan, pair) for target, pair in zip(targets, plan.pairs, strict=True)}
    _check_free(targets, lists, plan)
    ids = [labeller.classes.index(name) for name in plan.keep] if plan.keep else list(range(len(labeller.classes)))
    labels = []
    for done, pair in enumerate(plan.pairs, start=1):
        labels.append(_label(plan, pair, ids))
        if report:
            report("labelling", done, len(plan.pairs))
    classes = [labeller.classes[k] for k in ids]
    counts = _write(plan, targets, labels, classes)
    for folder in lists:
        write_text(folder / "classes.txt", "".join(f"{name}\n" for name in classes))
        rows = [row for target, (_, own) in zip(targets, labels, strict=True) for row in _rows(target, own, classes)]
        write_text(folder / "confidence.csv", _csv(plan.form, rows))
    return counts


def _target(plan: LabelPlan, pair: Pair) -> Path:
    suffix = {"yolo": ".txt", "voc": ".xml", "mask": ".png", "coco": ".json"}[plan.form]
    stem = pair.files[0].stem
    if plan.out is None:
        if plan.form == "coco":
            raise UsageError("--format coco: name the folder of its file, -o")
        return pair.files[0].parent.parent / "label" / f"{stem}{suffix}"
    folder = plan.out / pair.split if len(plan.pairs.splits) > 1 else plan.out
    return folder / f"{stem}{suffix}"


def _top(plan: LabelPlan, pair: Pair) -> Path:
    """Folder of the list of classes: that of the data set."""
    origin = Path(plan.pairs.origin)
    return origin if origin.is_dir() else pair.files[0].parent.parent


def _check_free(targets: Sequence[Path], lists: set[Path], plan: LabelPlan) -> None:
    seen: set[Path] = set()
    for target in targets:
        if target in seen:
            raise DataError(f"{target}: two pairs would have this label: rename one")
        seen.add(target)
    for file in [*targets, *(folder / "classes.txt" for folder in lists)]:
        if file.exists():
            raise DataError(f"{file}: is there already: remove it, or name another folder with -o")
    if not targets:
        raise DataError(f"{plan.pairs.origin}: holds no pairs to label")


def _label(plan: LabelPlan, pair: Pair, ids: Sequence[int]) -> tuple[tuple[int, int], Any]:
    images = upright_where_they_differ(plan.reading.read(pair.files), note=False)
    seen = _seen(plan, images)
    size = (int(seen.shape[-2]), int(seen.shape[-1]))
    if plan.labeller.kind == "segmentation":
        probabilities = plan.labeller.probabilities(seen)[list(ids)]
        return size, (mask_of(probabilities, plan.confidence), probabilities.amax(0))
    found = plan.labeller.boxes(seen)
    assert found.scores is not None
    corners = found.corners.clone()
    corners[:, 0::2].clamp_(0, size[1])
    corners[:, 1::2].clamp_(0, size[0])
    new = torch.full((len(plan.labeller.classes),), -1)
    new[list(ids)] = torch.arange(len(ids))
    classes = new[found.classes]
    kept = (found.scores >= plan.confidence) & (classes >= 0) & ((corners[:, 2:] - corners[:, :2]) > 0.5).all(1)
    return size, Boxes(corners[kept], classes[kept], found.scores[kept])


def _seen(plan: LabelPlan, images: Sequence[Image]) -> torch.Tensor:
    if plan.source is not None:
        return images[plan.source].tensor()
    assert plan.model is not None
    return plan.model.fuse(*images).tensor


def _write(plan: LabelPlan, targets: Sequence[Path], labels: Sequence[Any], classes: Sequence[str]) -> dict[str, int]:
    if plan.form == "mask":
        for target, (_, (mask, _)) in zip(targets, labels, strict=True):
            write_mask(target, mask)
        known = [int((mask != 255).sum()) for _, (mask, _) in labels]
        return {"images": len(labels), "pixels": sum(known), "nothing": known.count(0)}
    if plan.form == "coco":
        by_folder: dict[Path, dict[str, Any]] = {}
        for target, pair, label in zip(targets, plan.pairs, labels, strict=True):
            by_folder.setdefault(target.parent, {})[pair.files[plan.source or 0].name] = label
        for folder, images in by_folder.items():
            write_coco(folder / "instances.json", images, classes)
    else:
        for target, pair, (size, boxes) in zip(targets, plan.pairs, labels, strict=True):
            if plan.form == "yolo":
                write_yolo(target, boxes, size)
            else:
                write_voc(target, boxes, size, classes, image=pair.files[plan.source or 0].name)
    counts = [len(boxes.corners) for _, boxes in labels]
    return {"images": len(labels), "boxes": sum(counts), "nothing": counts.count(0)}


def _rows(target: Path, label: Any, classes: Sequence[str]) -> list[list[object]]:
    name = as_csv_cell(target.stem)
    if isinstance(label, Boxes):
        assert label.scores is not None
        found = zip(label.classes.tolist(), label.scores.tolist(), label.corners.tolist(), strict=True)
        return [
            [name, as_csv_cell(classes[number]), f"{score:.4f}", *(f"{value:.1f}" for value in box)]
            for number, score, box in found
        ]
    mask, confidence = label
    known = mask != 255
    return [[name, f"{float(known.float().mean()):.4f}", f"{float(confidence.mean()):.4f}"]]


def _csv(form: LabelForm, rows: Sequence[Sequence[object]]) -> str:
    head = (
        ["image", "labelled", "confidence"]
        if form == "mask"
        else ["image", "class", "confidence", "x0", "y0", "x1", "y1"]
    )
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([head, *rows])
    return stream.getvalue()
