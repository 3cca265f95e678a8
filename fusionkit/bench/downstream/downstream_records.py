"""Records of downstream benches: one JSON file per method, data set and seed.

``OUT/downstream/results/TASK/DATASET-SPLIT/NETWORK-DIGEST/METHOD/seed-K.json`` holds a :class:`DownstreamRecord`; paths
in it are relative to ``OUT``, and predicted masks lie beside it. Nothing here imports torch.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator

from fusionkit.bench.downstream.protocol import network_digest
from fusionkit.bench.paths import file_name
from fusionkit.bench.records import BenchRecord, Cost, Count, Name, RecordPath, Seconds
from fusionkit.contracts.label_types import LabelKind
from fusionkit.io.strict_records import Digest, StrictRecord

__all__ = [
    "COLUMNS",
    "DOWNSTREAM",
    "PER_CLASS",
    "DownstreamRecord",
    "Network",
    "PredictedBox",
    "Prediction",
    "SplitNote",
    "TrainingCost",
    "downstream_path",
    "split_scores",
]

DOWNSTREAM = "downstream"
"""Sub-folder of everything here."""

Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=1, lt=2**16)]
Corner = Annotated[float, Field(ge=-1e6, le=1e6)]

COLUMNS: dict[LabelKind, tuple[str, ...]] = {
    "segmentation": ("mIoU", "mAcc"),
    "detection": ("mAP50-95", "mAP50", "mAP75"),
}
"""The scores of each kind; tables are in the order of the first."""

PER_CLASS: dict[LabelKind, tuple[str, ...]] = {"segmentation": ("IoU", "Acc"), "detection": ("AP50-95", "AP50")}
"""The scores of each class."""


class Network(StrictRecord):
    """The downstream network, which every method of a table shares.

    Attributes:
        name: registered name.
        implementation: ``module:Class``.
        version: distribution and version that it comes from.
        config: its options.
        parameters: number of them.
        initial_sha256: digest of the weights before training: equal seeds start equal.
        trained_sha256: digest of the weights after it.
    """

    name: str = Field(min_length=1)
    implementation: str = Field(min_length=1)
    version: str
    config: dict[str, Any] = {}
    parameters: Count
    initial_sha256: Digest
    trained_sha256: Digest


class SplitNote(StrictRecord):
    """One split of the data.

    Attributes:
        split: its name, or "".
        pairs: how many.
        fingerprint: digest of the names, the sources and the labels.
    """

    split: str
    pairs: Annotated[Count, Field(ge=1)]
    fingerprint: Digest


class PredictedBox(StrictRecord):
    """One predicted box.

    Attributes:
        corners: x0, y0, x1, y1 in pixels of the size that the network saw.
        label: class id.
        score: its confidence.
    """

    corners: tuple[Corner, Corner, Corner, Corner]
    label: int = Field(ge=0, lt=2**31)
    score: Share


class Prediction(StrictRecord):
    """Predictions of the network on one test image.

    Attributes:
        name: the pair's name.
        fused: the fused image, relative to the bench's folder, POSIX form.
        fused_sha256: its digest.
        sources: the source files, likewise relative.
        label: the label file, likewise relative.
        label_sha256: its digest.
        mask: predicted class ids as an 8-bit PNG, relative; "" for boxes.
        confusion: rows of counts, known class by predicted class; None for boxes.
        boxes: predicted boxes, best first; None for masks.
    """

    name: Name
    fused: RecordPath = Field(min_length=1)
    fused_sha256: Digest
    sources: tuple[RecordPath, ...]
    label: RecordPath = Field(min_length=1)
    label_sha256: Digest
    mask: RecordPath = ""
    confusion: tuple[tuple[Count, ...], ...] | None = None
    boxes: tuple[PredictedBox, ...] | None = None


class TrainingCost(Cost):
    """Cost of training, all sittings together, and of predicting.

    Attributes:
        predict_seconds: wall time of predicting the test split.
    """

    predict_seconds: Seconds


class ProtocolNote(StrictRecord):
    """The schedule, as :class:`fusionkit.bench.downstream.protocol.Protocol` has it; other fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True, allow_inf_nan=False)

    size: tuple[Side, Side]
    steps: Count
    batch: Count
    lr: Annotated[float, Field(ge=0, le=1e6)]
    lr_end: Share
    warmup: Count
    flip: Literal["none", "horizontal", "both"]


class DownstreamRecord(BenchRecord):
    """The result of one training.

    Attributes:
        identity: digest of all that decides the result; a record of another one is not the result that is asked for.
        kind: of the labels.
        classes: their names, by id.
        network: what was trained on them.
        protocol: how, see :class:`fusionkit.bench.downstream.protocol.Protocol`.
        seed: of weights and draws.
        train: what it was trained on.
        test: what it was scored on.
        scores: metric -> value from 0 to 1; None where it is not defined (no known object).
        per_class: class -> metric -> value.
        images: the predictions, in the data set's order.
        losses: update -> mean of the loss since the entry before.
        cost: time and memory.
        licence: of the data, as its authors state it.
        citation: of the data, or "".
    """

    NOUN: ClassVar[str] = "result of a downstream bench"
    PATTERN: ClassVar[str] = f"{DOWNSTREAM}/results/*/*/*/*/seed-*.json"

    identity: Digest
    kind: LabelKind
    classes: tuple[str, ...] = Field(min_length=1)
    network: Network
    protocol: dict[str, Any]
    seed: Count
    train: SplitNote
    test: SplitNote
    scores: dict[str, Share | None]
    per_class: dict[str, dict[str, Share | None]]
    images: tuple[Prediction, ...]
    losses: tuple[tuple[int, float], ...]
    cost: TrainingCost
    licence: str = ""
    citation: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> DownstreamRecord:
        ProtocolNote.model_validate_json(json.dumps(self.protocol))
        if set(self.per_class) != set(self.classes):
            raise ValueError("per_class does not have the classes that classes names")
        if set(self.scores) != set(COLUMNS[self.kind]):
            raise ValueError(f"scores are not {', '.join(COLUMNS[self.kind])}")
        shape = [len(self.classes)] * len(self.classes)
        for image in self.images:
            if (image.boxes is None) != (self.kind == "segmentation") or (image.confusion is None) == bool(image.mask):
                raise ValueError(f"{image.name}: the prediction is not of kind {self.kind}")
            if image.confusion is not None and [len(row) for row in image.confusion] != shape:
                raise ValueError(f"{image.name}: the confusion has not one row and column per class")
        return self

    @property
    def label(self) -> str:
        """The data set with its test split: ``"MSRS-test"``."""
        return f"{self.dataset}-{self.test.split}" if self.test.split else self.dataset

    @property
    def home(self) -> PurePosixPath:
        """``downstream/results/TASK/DATASET-SPLIT/NETWORK-DIGEST/METHOD/seed-K.json``."""
        shared = {"name", "implementation", "version", "config"}
        digest = network_digest(self.network.model_dump(include=shared), self.protocol)
        return downstream_path((self.task, self.label, self.network.name, digest), self.method.name, self.seed)

    @property
    def table(self) -> str:
        """The folder of the records that make one table with it, relative to the bench's folder."""
        return str(PurePosixPath(self.place or self.home).parent.parent)

    def stands_at(self, place: PurePosixPath) -> bool:
        """Return whether a file is the one that it is written to; the digest in it may be of an earlier version."""
        own, there = self.home.parts, place.parts
        network = file_name(self.network.name)
        return own[:4] == there[:4] and own[5:] == there[5:] and there[4].rpartition("-")[0] == network

    def contradictions(self) -> tuple[str, ...]:
        """Missing predictions, and scores that do not follow from the confusion matrices."""
        found = []
        if len(self.images) != self.test.pairs:
            found.append(f"{len(self.images)} predictions of {self.test.pairs} images")
        elif self.kind == "segmentation":
            counts = [image.confusion for image in self.images if image.confusion is not None]
            overall, per_class = split_scores(counts, self.classes)
            told = [(self.scores, overall), *((self.per_class[name], per_class[name]) for name in self.classes)]
            if not all(_equal(own.get(key), value) for own, known in told for key, value in known.items()):
                found.append("its scores do not follow from its confusion matrices")
        return tuple(found)

    def costs(self) -> tuple[Cost, ...]:
        """Cost of the training."""
        return (self.cost,)


def downstream_path(table: tuple[str, str, str, str], method: str, seed: int) -> PurePosixPath:
    """Path of a record's file, relative to the bench's folder.

    Args:
        table: task, data set with its test split, network, and the digest of network and protocol.
        method: name of the method.
        seed: of the training.
    """
    task, label, network, digest = map(file_name, table)
    folder = PurePosixPath(DOWNSTREAM, "results", task, label, f"{network}-{digest[:8]}")
    return folder / file_name(method) / f"seed-{seed}.json"


def split_scores(
    counts: Sequence[Sequence[Sequence[int]]], classes: Sequence[str]
) -> tuple[dict[str, float | None], dict[str, dict[str, float | None]]]:
    r"""IoU and accuracy of each class from the confusion of all images, and their means over the classes.

    .. math:: IoU_c = \frac{n_{cc}}{\sum_k n_{ck} + \sum_k n_{kc} - n_{cc}}, \quad Acc_c = \frac{n_{cc}}{\sum_k n_{ck}}

    A class without a known pixel in the split has neither, and is in no mean.

    Args:
        counts: ``(C, C)`` per image, known class by predicted class.
        classes: their names.

    Returns:
        mIoU and mAcc; and IoU and Acc of each class.
    """
    size = range(len(classes))
    total = [[sum(image[k][p] for image in counts) for p in size] for k in size]
    per_class: dict[str, dict[str, float | None]] = {}
    for k, name in enumerate(classes):
        hit, known, predicted = total[k][k], sum(total[k]), sum(row[k] for row in total)
        per_class[name] = {
            "IoU": hit / (known + predicted - hit) if known else None,
            "Acc": hit / known if known else None,
        }
    return {"mIoU": _mean(per_class, "IoU"), "mAcc": _mean(per_class, "Acc")}, per_class


def _mean(per_class: Mapping[str, Mapping[str, float | None]], score: str) -> float | None:
    known = [value for own in per_class.values() if (value := own[score]) is not None]
    return sum(known) / len(known) if known else None


def _equal(one: float | None, other: float | None) -> bool:
    return one is other is None or (one is not None and other is not None and math.isclose(one, other, abs_tol=1e-9))
