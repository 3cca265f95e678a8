"""Records of downstream benches: one JSON file per method, data set and seed.

``OUT/downstream/results/TASK/DATASET-SPLIT/NETWORK-DIGEST/METHOD/seed-K.json`` holds a :class:`DownstreamRecord`; paths
in it are relative to ``OUT``, and predicted masks lie beside it. Nothing here imports torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from fusionkit.bench.records import FORMAT, BenchRecord, Cost, file_name
from fusionkit.io.atomic import write_text
from fusionkit.io.strict_records import Digest, StrictRecord, read_json_record
from fusionkit.label_types import LabelKind

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
    "read_downstream",
    "read_downstreams",
    "table_folder",
    "write_downstream",
]

DOWNSTREAM = "downstream"
"""Sub-folder of everything here."""


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
    parameters: int = Field(ge=0)
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
    pairs: int = Field(ge=1)
    fingerprint: Digest


class PredictedBox(StrictRecord):
    """One predicted box.

    Attributes:
        corners: x0, y0, x1, y1 in pixels of the size that the network saw.
        label: class id.
        score: its confidence.
    """

    corners: tuple[float, float, float, float]
    label: int = Field(ge=0)
    score: float = Field(ge=0, le=1)


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

    name: str = Field(min_length=1)
    fused: str = Field(min_length=1)
    fused_sha256: Digest
    sources: tuple[str, ...]
    label: str = Field(min_length=1)
    label_sha256: Digest
    mask: str = ""
    confusion: tuple[tuple[int, ...], ...] | None = None
    boxes: tuple[PredictedBox, ...] | None = None


class TrainingCost(Cost):
    """Cost of training, all sittings together, and of predicting.

    Attributes:
        predict_seconds: wall time of predicting the test split.
    """

    predict_seconds: float = Field(ge=0)


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

    identity: Digest
    kind: LabelKind
    classes: tuple[str, ...] = Field(min_length=1)
    network: Network
    protocol: dict[str, Any]
    seed: int = Field(ge=0)
    train: SplitNote
    test: SplitNote
    scores: dict[str, float | None]
    per_class: dict[str, dict[str, float | None]]
    images: tuple[Prediction, ...]
    losses: tuple[tuple[int, float], ...]
    cost: TrainingCost
    licence: str = ""
    citation: str = ""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if set(self.per_class) != set(self.classes):
            raise ValueError("per_class does not have the classes that classes names")
        for image in self.images:
            if (image.boxes is None) != (self.kind == "segmentation") or (image.confusion is None) == bool(image.mask):
                raise ValueError(f"{image.name}: the prediction is not of kind {self.kind}")
        return self

    @property
    def label(self) -> str:
        """The data set with its test split: ``"MSRS-test"``."""
        return f"{self.dataset}-{self.test.split}" if self.test.split else self.dataset


def table_folder(out: Path, task: str, label: str, network: str, digest: str) -> Path:
    """The folder of the records that make one table.

    Args:
        out: the bench's folder.
        task: name of the fusion task.
        label: data set and test split.
        network: name of the downstream network.
        digest: of network and protocol.
    """
    return out / DOWNSTREAM / "results" / file_name(task) / file_name(label) / f"{file_name(network)}-{digest[:8]}"


def write_downstream(path: Path, record: DownstreamRecord) -> None:
    """Write a record, whole or not at all.

    Raises:
        fusionkit.errors.DataError: it cannot be written.
    """
    # In one line: boxes of a whole split, indented, are most of them spaces.
    write_text(path, record.model_dump_json() + "\n")


def read_downstream(path: Path) -> DownstreamRecord:
    """Read a record; see :func:`fusionkit.io.strict_records.read_json_record`."""
    return read_json_record(path, DownstreamRecord, FORMAT, "result of a downstream bench")


def read_downstreams(out: Path) -> tuple[tuple[Path, DownstreamRecord], ...]:
    """Every record below a bench's folder with its file, in the order of their paths; empty if there is none.

    Raises:
        fusionkit.errors.DataError: a record is damaged.
    """
    files = sorted((out / DOWNSTREAM / "results").glob("*/*/*/*/seed-*.json"))
    return tuple((file, read_downstream(file)) for file in files)
