"""Records of downstream trainings that never took place, for what is made of records."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import torch

from fusionkit.bench.downstream.downstream_records import (
    COLUMNS,
    PER_CLASS,
    DownstreamRecord,
    Network,
    PredictedBox,
    Prediction,
    SplitNote,
    TrainingCost,
    split_scores,
)
from fusionkit.bench.downstream.label_scores import detection_scores
from fusionkit.bench.downstream.score_checks import as_boxes
from fusionkit.bench.record_files import write_record
from fusionkit.bench.records import Method
from fusionkit.contracts.label_types import Boxes, LabelKind

ONE, TWO = "1" * 64, "2" * 64


def record(
    method: str,
    seed: int,
    value: float | None,
    *,
    kind: LabelKind = "detection",
    classes: tuple[str, ...] = ("person",),
    images: tuple[Prediction, ...] | None = None,
    data: str = ONE,
    weights: str = "",
    per_class: Mapping[str, float | None] | None = None,
) -> DownstreamRecord:
    """One training with the same value of every score, by default of three images in which nothing is found."""
    if images is None:
        images = tuple(_unseen(f"{k}") for k in range(3))
    given = per_class or dict.fromkeys(classes, value)
    return DownstreamRecord(
        identity=ONE,
        task="ivif",
        dataset="streets",
        kind=kind,
        classes=classes,
        method=Method(name=method, kind="fuser", origin=method, weights_sha256=weights),
        network=Network(
            name="toy",
            implementation="toys:Toy",
            version="toys 1",
            parameters=1500,
            initial_sha256=ONE,
            trained_sha256=TWO,
        ),
        protocol={"size": [64, 96], "steps": 30, "batch": 2, "lr": 1e-3, "lr_end": 0.01, "warmup": 5, "flip": "none"},
        seed=seed,
        train=SplitNote(split="train", pairs=7, fingerprint=data),
        test=SplitNote(split="test", pairs=len(images), fingerprint=ONE),
        scores=dict.fromkeys(COLUMNS[kind], value),
        per_class={name: dict.fromkeys(PER_CLASS[kind], given[name]) for name in classes},
        images=images,
        losses=((10, 2.0), (20, 1.0), (30, 0.5)),
        cost=TrainingCost(device="cpu (x, 1 thread)", seconds=60.0 + seed, predict_seconds=1.0, peak_bytes=2**20),
        licence="for research alone",
        citation="Nobody, Streets, 2020",
    )


def _unseen(name: str) -> Prediction:
    """A prediction without boxes on an image that is not there."""
    return Prediction(
        name=name,
        fused=f"fused/{name}.png",
        fused_sha256=ONE,
        sources=(f"data/{name}_ir.png",),
        label=f"data/{name}.txt",
        label_sha256=TWO,
        boxes=(),
    )


def keep(out: Path, *records: DownstreamRecord) -> None:
    """Write records to where a bench writes them."""
    for one in records:
        write_record(out, one)


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def street(out: Path, name: str) -> Prediction:
    """A test image of 64 x 96 with a person on the left that is found and one on the right that is missed."""
    for folder in ("data", "fused"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(out / f"data/{name}_ir.png"), np.full((64, 96), 60, np.uint8))
    cv2.imwrite(str(out / f"data/{name}_vi.png"), np.full((64, 96, 3), 100, np.uint8))
    cv2.imwrite(str(out / f"fused/{name}.png"), np.full((64, 96), 80, np.uint8))
    lines = [f"0 {(x + 8) / 96} {32 / 64} {16 / 96} {32 / 64}" for x in (8, 72)]
    (out / f"data/{name}.txt").write_text("\n".join(lines) + "\n")
    return Prediction(
        name=name,
        fused=f"fused/{name}.png",
        fused_sha256=digest(out / f"fused/{name}.png"),
        sources=(f"data/{name}_ir.png", f"data/{name}_vi.png"),
        label=f"data/{name}.txt",
        label_sha256=digest(out / f"data/{name}.txt"),
        boxes=(
            PredictedBox(corners=(9.0, 17.0, 25.0, 49.0), label=0, score=0.9),
            PredictedBox(corners=(40.0, 17.0, 56.0, 49.0), label=0, score=0.6),
            PredictedBox(corners=(72.0, 16.0, 88.0, 48.0), label=0, score=0.1),
        ),
    )


def masks(method: str, seed: int) -> DownstreamRecord:
    """A training whose scores follow from its confusion matrices."""
    classes = ("ground", "road")
    counts = [((50 + seed, 3), (k, 40)) for k in range(3)]
    overall, per_class = split_scores(counts, classes)
    images = tuple(
        Prediction(
            name=f"{k}",
            fused=f"fused/{k}.png",
            fused_sha256=ONE,
            sources=(f"data/{k}.png",),
            label=f"data/{k}_label.png",
            label_sha256=TWO,
            mask=f"downstream/{k}.png",
            confusion=rows,
        )
        for k, rows in enumerate(counts)
    )
    one = record(method, seed, 0.5, kind="segmentation", classes=classes, images=images)
    return one.model_copy(update={"scores": overall, "per_class": per_class})


def boxes(out: Path, method: str, seed: int) -> DownstreamRecord:
    """A training whose scores follow from its boxes and from labels below ``out``."""
    images = tuple(street(out, f"{k}") for k in range(2))
    corners = torch.tensor([[8.0, 16.0, 24.0, 48.0], [72.0, 16.0, 88.0, 48.0]])
    known = Boxes(corners, torch.zeros(2, dtype=torch.int64))
    overall, per_class = detection_scores([as_boxes(image.boxes or ()) for image in images], [known] * 2, ("person",))
    one = record(method, seed, 0.5, images=images)
    return one.model_copy(update={"scores": overall, "per_class": per_class})
