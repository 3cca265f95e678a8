"""Records of benches: one JSON file per method and data set, with every image's value of every metric.

``OUT/results/TASK/DATASET-SPLIT/PROFILE/METHOD.json`` holds a :class:`Record`; paths in it are relative to ``OUT``.
Averages are computed from it (:meth:`Record.mean`) and never stored. Nothing here imports torch.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.atomic import write_text
from fusionkit.io.strict_records import Digest, StrictRecord, read_json_record

__all__ = [
    "FORMAT",
    "BenchRecord",
    "Cost",
    "DataNote",
    "ImageResult",
    "Method",
    "MetricUse",
    "Record",
    "common_images",
    "file_name",
    "fused_folder",
    "map_file",
    "maps_folder",
    "read_record",
    "read_records",
    "record_path",
    "write_record",
]

FORMAT: Literal[1] = 1
"""Version of the file's form; a newer one is refused."""

RESULTS = "results"
"""Sub-folder of the records."""

FUSED = "fused"
"""Sub-folder of the fused images."""

MAPS = "maps"
"""Sub-folder of the weight maps."""

_NO_DIGEST = r"^([0-9a-f]{64})?$"


class Cost(StrictRecord):
    """Cost of fusing one image.

    Attributes:
        device: where, with its name (``"cpu (x86_64)"``, ``"cuda (NVIDIA H200)"``).
        seconds: wall time of the model call on tensors that are on the device already, synchronised, after a warm-up.
        peak_bytes: memory that such a call needed at its peak above what was in use before it; None if not measured.
        memory: how that was measured: by torch's CUDA allocator; as the rise of the process's resident set, which is
            done for each image that is larger than those before it; or not at all.
    """

    device: str
    seconds: float = Field(ge=0)
    peak_bytes: int | None = Field(default=None, ge=0)
    memory: Literal["cuda allocator", "resident set", "not measured"] = "not measured"


class ImageResult(StrictRecord):
    """One fused image and its scores.

    Attributes:
        name: the pair's name.
        sources: its source files in the task's order, relative to the bench's folder, POSIX form.
        sources_sha256: their digests.
        fused: the fused image, likewise relative.
        fused_sha256: its digest.
        height: in pixels.
        width: in pixels.
        scores: metric -> value; None where it is not defined.
        reasons: metric -> why there is no value, for exactly the metrics whose value is None.
        truth: the known result, relative, or "".
        truth_sha256: its digest, or "".
        cost: of fusing; None for results of another program.
        maps: names of its weight maps, see :func:`maps_folder`; None where they were not drawn.
        unmapped: why maps could not be drawn, or "".
    """

    name: str = Field(min_length=1)
    sources: tuple[str, ...] = Field(min_length=1)
    sources_sha256: tuple[Digest, ...]
    fused: str = Field(min_length=1)
    fused_sha256: Digest
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    scores: dict[str, float | None]
    reasons: dict[str, str] = {}
    truth: str = ""
    truth_sha256: str = Field(default="", pattern=_NO_DIGEST)
    cost: Cost | None = None
    maps: tuple[str, ...] | None = None
    unmapped: str = ""

    @model_validator(mode="after")
    def _every_null_has_a_reason(self) -> Self:
        nulls = {metric for metric, value in self.scores.items() if value is None}
        if nulls != set(self.reasons):
            raise ValueError(f"{self.name}: a value is null exactly where a reason is given, not {sorted(nulls)}")
        if len(self.sources) != len(self.sources_sha256):
            raise ValueError(f"{self.name}: {len(self.sources)} sources but {len(self.sources_sha256)} digests")
        return self


class Method(StrictRecord):
    """Method that fused.

    Attributes:
        name: what it is called in tables.
        kind: a registered fuser, a training run's folder, a weights file, or a folder of another program's results.
        origin: as it was given: the fuser's name, the folder or the file.
        fuser: ``module:Class``, "" for results.
        version: distribution and version that the fuser comes from, "" for results.
        config: the fuser's options.
        weights_sha256: digest of the weights, or "".
        parameters: number of learned parameters; None for results.
        stretch: range stretch of the fused luminance, "" for results.
        own_stretch: the one that its authors use, "" where that is not known.
        gamut: how colours that leave RGB were brought back; records without it are of the time when each channel was
            clipped.
        backend: ``"torch"``, or ``"native"`` with the name of the form; "" for results and in older records.
        training: what the weights file says of its training.
        reference: the paper, or "".
    """

    name: str = Field(min_length=1)
    kind: Literal["fuser", "run", "weights", "results"]
    origin: str
    fuser: str = ""
    version: str = ""
    config: dict[str, Any] = {}
    weights_sha256: str = Field(default="", pattern=_NO_DIGEST)
    parameters: int | None = Field(default=None, ge=0)
    stretch: Literal["full", "none", ""] = ""
    own_stretch: Literal["full", "none", ""] = ""
    gamut: Literal["keep-luminance", "clip"] = "clip"
    backend: str = ""
    training: dict[str, Any] = {}
    reference: str = ""


class MetricUse(StrictRecord):
    """Computation of a metric.

    Attributes:
        version: distribution and version that it comes from (``"image-fusionkit 0.1.0"``).
        settings: the fields that the profile sets, as text.
        higher_is_better: its direction.
        unit: of its values.
    """

    version: str
    settings: dict[str, str] = {}
    higher_is_better: bool = True
    unit: str = "1"


class DataNote(StrictRecord):
    """Data that were fused.

    Attributes:
        origin: where the pairs come from, as given.
        fingerprint: :meth:`fusionkit.data.PairSet.fingerprint` of all the pairs that were asked for.
        pairs: how many these are.
        licence: as the authors of the data state it.
        citation: what to cite, or "".
    """

    origin: str
    fingerprint: Digest
    pairs: int = Field(ge=0)
    licence: str = ""
    citation: str = ""


class BenchRecord(StrictRecord):
    """Content of every record of a benchmark, for any scorer.

    Attributes:
        format: of the file.
        task: name of the task.
        dataset: name of the data set.
        method: what fused the images.
        environment: versions, machine, threads.
    """

    format: Literal[1] = FORMAT
    task: str = Field(min_length=1)
    dataset: str = Field(min_length=1)
    method: Method
    environment: dict[str, Any] = {}


class Record(BenchRecord):
    """Fusion quality of one method on one data set.

    Attributes:
        split: of the data set, or "".
        profile: the metric profile.
        data: what was fused.
        metrics: how each metric was computed.
        images: the results, in the data set's order.
        failures: pair -> why there is no result.
    """

    split: str = ""
    profile: str = Field(min_length=1)
    data: DataNote
    metrics: dict[str, MetricUse]
    images: tuple[ImageResult, ...]
    failures: dict[str, str] = {}

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        names = [image.name for image in self.images]
        if len(set(names)) < len(names):
            raise ValueError("an image is listed twice")
        if both := set(names) & set(self.failures):
            raise ValueError(f"{sorted(both)[0]} has both a result and a failure")
        for image in self.images:
            if strange := set(image.scores) - set(self.metrics):
                raise ValueError(f"{image.name} has a score of {sorted(strange)[0]}, which metrics does not describe")
        return self

    @property
    def label(self) -> str:
        """The data set with its split, for headings and folders: ``"MSRS-test"``."""
        return f"{self.dataset}-{self.split}" if self.split else self.dataset

    def values(self, metric: str) -> dict[str, float | None]:
        """Image -> value of one metric, for the images that it was asked for; None where it is not defined."""
        return {image.name: image.scores[metric] for image in self.images if metric in image.scores}

    def mean(self, metric: str, images: Iterable[str] | None = None) -> float | None:
        """Average of one metric.

        Args:
            metric: its name.
            images: over which; all of the record's if None.

        Returns:
            The mean; None where a value is missing or undefined, since a mean over fewer images would hide that.
        """
        values = self.values(metric)
        chosen = [values.get(name) for name in ((i.name for i in self.images) if images is None else images)]
        known = [value for value in chosen if value is not None]
        return statistics.fmean(known) if known and len(known) == len(chosen) else None

    def median_seconds(self) -> float | None:
        """Median time of fusing one image; None where none was measured."""
        times = [image.cost.seconds for image in self.images if image.cost]
        return statistics.median(times) if times else None

    def peak_bytes(self) -> int | None:
        """Greatest memory that fusing an image took; None where it was not measured."""
        return max((i.cost.peak_bytes for i in self.images if i.cost and i.cost.peak_bytes is not None), default=None)


def common_images(records: Sequence[Record], metrics: Iterable[str] = ()) -> tuple[str, ...]:
    """The images that every record has, of equal sources, with a value of each of ``metrics``, in the first's order."""
    if not records:
        return ()
    wanted = tuple(metrics)
    usable = [
        {i.name: i.sources_sha256 for i in record.images if all(i.scores.get(m) is not None for m in wanted)}
        for record in records
    ]
    return tuple(name for name, sums in usable[0].items() if all(other.get(name) == sums for other in usable[1:]))


def file_name(name: str) -> str:
    """A name as it stands in files: what is not a letter, a digit or one of ``._+-`` becomes ``_``."""
    return re.sub(r"[^\w.+-]", "_", name).lstrip(".") or "_"


def record_path(out: Path, task: str, label: str, profile: str, method: str) -> Path:
    """The file of the record of a method (its name) on a data set (:attr:`Record.label`) under a profile."""
    return out / RESULTS / file_name(task) / file_name(label) / file_name(profile) / f"{file_name(method)}.json"


def fused_folder(out: Path, task: str, label: str, method: str) -> Path:
    """The folder of the images that a method fused."""
    return out / FUSED / file_name(task) / file_name(label) / file_name(method)


def maps_folder(out: Path, task: str, label: str, method: str) -> Path:
    """The folder of the weight maps of a method: ``IMAGE.MAP.png``."""
    return out / MAPS / file_name(task) / file_name(label) / file_name(method)


def map_file(folder: Path, image: str, name: str) -> Path:
    """The file of a map of an image in the folder of a method's maps."""
    return folder / f"{image}.{name}.png"


def write_record(out: Path, record: Record) -> Path:
    """Write a record to its place below ``out``, whole or not at all.

    Raises:
        fusionkit.errors.DataError: it cannot be written.
    """
    path = record_path(out, record.task, record.label, record.profile, record.method.name)
    write_text(path, record.model_dump_json(indent=1) + "\n")
    return path


def read_record(path: Path) -> Record:
    """Read a record; see :func:`fusionkit.io.strict_records.read_json_record`."""
    return read_json_record(path, Record, FORMAT, "result of a bench")


def read_records(out: Path, *, task: str | None = None) -> tuple[Record, ...]:
    """Every record of a bench's folder, sorted by task, data set, profile and method.

    Args:
        out: the folder that the bench wrote to.
        task: only those of this task.

    Raises:
        fusionkit.errors.DataError: there is no bench in the folder, or a record is damaged.
        fusionkit.errors.UsageError: the bench has no such task.
    """
    if not (out / RESULTS).is_dir():
        raise DataError(f"{out}: holds no results of a bench (no folder {RESULTS}): run 'fusionkit bench --out {out}'")
    files = sorted((out / RESULTS).glob("*/*/*/[!.]*.json"))
    records = tuple(read_record(file) for file in files)
    if task is not None and task not in (known := {record.task for record in records}):
        raise UsageError(f"{out}: no results of task {task!r}: {did_you_mean(task, known)}")
    return tuple(record for record in records if task in (None, record.task))
