"""Records of benches: one JSON file per method and data set, with every image's value of every metric.

``OUT/results/TASK/DATASET-SPLIT/PROFILE/METHOD.json`` holds a :class:`Record`; paths in it are relative to ``OUT``.
Averages are computed from it (:meth:`Record.mean`) and never stored. How records are written, read and checked is in
:mod:`fusionkit.bench.record_files`. Nothing here imports torch.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from fusionkit.bench.paths import RESULTS, record_path
from fusionkit.io.strict_records import Digest, StrictRecord

__all__ = [
    "FORMAT",
    "BenchRecord",
    "Cost",
    "Count",
    "DataNote",
    "ImageResult",
    "Method",
    "MetricUse",
    "Name",
    "Record",
    "RecordPath",
    "Score",
    "Seconds",
    "common_images",
]

FORMAT: Literal[1] = 1
"""Version of the file's form; a newer one is refused."""

_NO_DIGEST = r"^([0-9a-f]{64})?$"
_LONGEST_PATH = 4096


def _relative(path: str) -> str:
    """Refuse a path that no bench writes: an absolute one, or one that a system cannot open."""
    if "\0" in path or path.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", path):
        raise ValueError("a path relative to the bench's folder is needed")
    return path


def _inside(name: str) -> str:
    """Refuse the name of a pair or map that would lead out of the folder that its files are in."""
    if ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise ValueError("a name inside its folder is needed")
    return _relative(name)


RecordPath = Annotated[str, Field(max_length=_LONGEST_PATH), AfterValidator(_relative)]
"""A file's path relative to the bench's folder, POSIX form; sources and results of other programs lie outside it."""

Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_PATH), AfterValidator(_inside)]
"""The name of a pair or map, which files are called by."""

Count = Annotated[int, Field(ge=0, lt=2**62)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Score = Annotated[float, Field(ge=-1e100, le=1e100)]
"""A value of a metric; bounded so that sums stay finite."""


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
    seconds: Seconds
    peak_bytes: Count | None = None
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

    name: Name
    sources: tuple[RecordPath, ...] = Field(min_length=1)
    sources_sha256: tuple[Digest, ...]
    fused: RecordPath = Field(min_length=1)
    fused_sha256: Digest
    height: int = Field(ge=1, lt=2**31)
    width: int = Field(ge=1, lt=2**31)
    scores: dict[str, Score | None]
    reasons: dict[str, str] = {}
    truth: RecordPath = ""
    truth_sha256: str = Field(default="", pattern=_NO_DIGEST)
    cost: Cost | None = None
    maps: tuple[Name, ...] | None = None
    unmapped: str = ""

    @model_validator(mode="after")
    def _every_null_has_a_reason(self) -> ImageResult:
        nulls = {metric for metric, value in self.scores.items() if value is None}
        if nulls != set(self.reasons):
            raise ValueError(f"{self.name}: a value is null exactly where a reason is given, not {sorted(nulls)}")
        if len(self.sources) != len(self.sources_sha256):
            raise ValueError(f"{self.name}: {len(self.sources)} sources but {len(self.sources_sha256)} digests")
        if bool(self.truth) != bool(self.truth_sha256):
            raise ValueError(f"{self.name}: a known result and its digest are given together, or neither")
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
        speed: how many pixels were fused, see :class:`fusionkit.fuse.model.Model`.
        training: what the weights file says of its training.
        trained_on: names of the data sets that the weights were trained on, by the model's card, the run or the
            record of published weights; None where none of these says it.
        reference: the paper, or "".
    """

    name: str = Field(min_length=1)
    kind: Literal["fuser", "run", "weights", "results"]
    origin: str
    fuser: str = ""
    version: str = ""
    config: dict[str, Any] = {}
    weights_sha256: str = Field(default="", pattern=_NO_DIGEST)
    parameters: Count | None = None
    stretch: Literal["full", "none", ""] = ""
    own_stretch: Literal["full", "none", ""] = ""
    gamut: Literal["keep-luminance", "clip"] = "clip"
    backend: str = ""
    speed: Literal["exact", "half", "quarter", "eighth"] = "exact"
    training: dict[str, Any] = {}
    trained_on: tuple[str, ...] | None = None
    reference: str = ""

    def saw(self, dataset: str) -> bool | None:
        """Return whether the method was trained on pairs of a data set, in any split; None where that is not known.

        A part of a data set is named after it, as ``TNO_extra`` after ``TNO``.
        """
        if self.kind != "results" and not self.parameters:
            return False
        if self.trained_on is None:
            return None
        return any(name == dataset or name.startswith((f"{dataset}_", f"{dataset}-")) for name in self.trained_on)


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
    pairs: Count
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
        sha256: digest of all the rest, by which a later change shows; "" in records of before there was one.
        place: the file that it was read from or written to, relative to the bench's folder; not in the file.
        faults: why it cannot be trusted, in a few words each, see :func:`fusionkit.bench.record_files.read_record`; not
            in the file.
    """

    NOUN: ClassVar[str] = "result of a bench"
    """Name of such a file, for messages."""
    PATTERN: ClassVar[str]
    """The files of such records below a bench's folder."""

    format: Literal[1] = FORMAT
    task: str = Field(min_length=1)
    dataset: str = Field(min_length=1)
    method: Method
    environment: dict[str, Any] = {}
    sha256: str = Field(default="", pattern=_NO_DIGEST)
    place: str = Field(default="", exclude=True)
    faults: tuple[str, ...] = Field(default=(), exclude=True)

    @property
    def label(self) -> str:
        """The data set with its split, for headings and folders: ``"MSRS-test"``."""
        raise NotImplementedError

    @property
    def home(self) -> PurePosixPath:
        """Path of the record's file, relative to the bench's folder."""
        raise NotImplementedError

    def stands_at(self, place: PurePosixPath) -> bool:
        """Return whether ``place``, a path relative to the bench's folder, is the record's own."""
        return place == self.home

    def contradictions(self) -> tuple[str, ...]:
        """List the fields that disagree with other fields of the record, a few words each."""
        raise NotImplementedError

    def costs(self) -> tuple[Cost, ...]:
        """Cost of each part, as far as it was measured: of fusing each image, or of one training."""
        raise NotImplementedError

    def seconds(self) -> float | None:
        """Median time of its parts; None where none was measured."""
        times = [cost.seconds for cost in self.costs()]
        return statistics.median(times) if times else None

    def peak_bytes(self) -> int | None:
        """Greatest memory that a part needed at its peak; None where none was measured."""
        return max((cost.peak_bytes for cost in self.costs() if cost.peak_bytes is not None), default=None)

    def devices(self) -> tuple[str, ...]:
        """Devices that these were measured on."""
        return tuple(sorted({cost.device for cost in self.costs()}))


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

    PATTERN: ClassVar[str] = f"{RESULTS}/*/*/*/[!.]*.json"

    split: str = ""
    profile: str = Field(min_length=1)
    data: DataNote
    metrics: dict[str, MetricUse]
    images: tuple[ImageResult, ...]
    failures: dict[str, str] = {}

    @model_validator(mode="after")
    def _names_agree(self) -> Record:
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

    @property
    def home(self) -> PurePosixPath:
        """``results/TASK/DATASET-SPLIT/PROFILE/METHOD.json``."""
        path = record_path(Path(), self.task, self.label, self.profile, self.method.name)
        return PurePosixPath(path.as_posix())

    def contradictions(self) -> tuple[str, ...]:
        """Pairs that have neither a result nor a failure."""
        there = len(self.images) + len(self.failures)
        if there == self.data.pairs:
            return ()
        pairs = self.data.pairs
        lacking = f"{pairs - there} of {pairs} pairs have no result" if there < pairs else f"{there} results of {pairs}"
        return (lacking if there < pairs else f"{lacking} pairs",)

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

    def costs(self) -> tuple[Cost, ...]:
        """Cost of fusing each image that was fused here."""
        return tuple(image.cost for image in self.images if image.cost)


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
