"""Results of one method on one data set by metrics: one record on disk, which several processes add to."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionkit.bench.datasets import Dataset
from fusionkit.bench.image_scores import metric_use, present_use, use_key
from fusionkit.bench.jobs import lock_file
from fusionkit.bench.methods import BenchMethod
from fusionkit.bench.paths import fused_folder, record_path, relative_path
from fusionkit.bench.record_files import read_record, write_record
from fusionkit.bench.records import DataNote, ImageResult, MetricUse, Record
from fusionkit.bench.request import Bench
from fusionkit.contracts import Metric
from fusionkit.data.pair_set import Pair
from fusionkit.data.pairing import image_files
from fusionkit.errors import DataError
from fusionkit.io.locks import file_lock
from fusionkit.plugins.guard import PluginCallFailed

__all__ = ["QualityResults", "joined"]

Result = ImageResult | str
"""The result of a pair, or why there is none."""

_WORK_PER_WRITE = 20.0
"""Writing the record takes at most about one part in so many of the time."""


@dataclass(kw_only=True, eq=False)
class QualityResults:
    """Results of one method on one data set under one profile.

    Attributes:
        bench: the bench that they belong to.
        dataset: the data set.
        method: the method.
        metrics: metrics to score by, by name.
        profile: the metrics' convention.
        environment: versions and machine, for the record.
        began: start of this bench, in seconds since 1970.
        repaired: results that were changed on the disk and are done again, a few words each.
    """

    bench: Bench
    dataset: Dataset
    method: BenchMethod
    metrics: Mapping[str, Metric]
    profile: str
    environment: Mapping[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    repaired: dict[str, None] = field(init=False, default_factory=dict)
    _given: Mapping[str, list[Path]] = field(init=False, repr=False, default_factory=dict)
    _known: dict[str, Result] = field(init=False, repr=False, default_factory=dict)
    _unwritten: dict[str, Result] = field(init=False, repr=False, default_factory=dict)
    _seen: object = field(init=False, repr=False, default=None)
    _write_at: float = field(init=False, repr=False, default=0.0)

    def __post_init__(self) -> None:
        if self.method.folder is not None:
            self._given = image_files(self.method.folder)

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method.about.name

    @property
    def title(self) -> str:
        """Method and data set, for messages."""
        return f"{self.name} on {self.dataset.title}"

    @property
    def place(self) -> tuple[Path, str, str, str]:
        """Folder of the bench, task, data set with its split, and method, which files are called by."""
        return self.bench.out, self.dataset.task.name, self.dataset.label, self.name

    @property
    def path(self) -> Path:
        """The record's file."""
        return record_path(*self.place[:3], self.profile, self.name)

    def has_images(self) -> bool:
        """Return whether a folder of results has an image of any of the pairs; True for what fuses by itself."""
        return self.method.folder is None or any(pair.name in self._given for pair in self.dataset.selected)

    def fused_file(self, pair: Pair) -> Path:
        """The fused image of a pair.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: a folder of results has none of it, or two.
        """
        if self.method.folder is None:
            return fused_folder(*self.place) / f"{pair.name}.png"
        files = self._given.get(pair.name, [])
        if len(files) != 1:
            listed = (
                f"two images of that name ({', '.join(file.name for file in files)})" if files else "no image of it"
            )
            raise PluginCallFailed(f"{self.method.folder}: {listed}")
        return files[0]

    def paths(self, pair: Pair) -> dict[str, Any]:
        """The files of a pair as records have them: relative to the bench's folder."""
        out = self.bench.out
        return {
            "sources": tuple(relative_path(file, out) for file in pair.files),
            "fused": relative_path(self.fused_file(pair), out),
            "truth": relative_path(pair.truth, out) if pair.truth else "",
        }

    def of(self, pair: Pair) -> ImageResult | None:
        """Return the result of a pair with the scores that still hold; None without one, or if its sources changed.

        Raises:
            fusionkit.errors.DataError: a file of the pair cannot be read.
        """
        known = self._known.get(pair.name)
        if not isinstance(known, ImageResult):
            return None
        return known if (known.sources_sha256, known.truth_sha256) == self.dataset.digests(pair) else None

    def add(self, name: str, result: Result) -> None:
        """Add the result of a pair, or why there is none; it is written now or with a later one."""
        self._unwritten[name] = self._known[name] = joined(self._known.get(name), result)
        if time.monotonic() >= self._write_at:
            self.save()

    def refresh(self) -> None:
        """Read what other processes wrote meanwhile.

        Raises:
            fusionkit.errors.DataError: a record is there that cannot be read.
        """
        seen = self._signature()
        if seen == self._seen:
            return
        self._known = {}
        for other, *_ in seen:
            if other != self.path:
                self._known |= self._images_of_another_profile(other)
        if self.path.is_file():
            self._known |= self._recorded()
        for name, result in self._unwritten.items():
            self._known[name] = joined(self._known.get(name), result)
        self._seen = seen

    def save(self) -> Record:
        """Write the record of all results that this and other processes have.

        Raises:
            fusionkit.errors.DataError: it cannot be written, or one is there that cannot be read.
        """
        began = time.monotonic()
        with file_lock(lock_file(self.bench.out, "record", *map(str, self.place[1:]), self.profile), wait=True):
            self.refresh()
            record = write_record(self.bench.out, self._record())
            self._unwritten.clear()
            self._seen = self._signature()
        ended = time.monotonic()
        self._write_at = ended + _WORK_PER_WRITE * (ended - began)
        return record

    def _signature(self) -> list[tuple[Path, int, int]]:
        """The records of this method on this data set under any profile, with their times and sizes."""
        found = sorted(self.path.parent.parent.glob(f"*/{self.path.name}"))
        return [(file, file.stat().st_mtime_ns, file.stat().st_size) for file in found]

    def _recorded(self) -> dict[str, Result]:
        """Read the results of this method in the record, without scores that are computed otherwise today."""
        record = read_record(self.path, Record)
        if why := [fault for fault in record.faults if fault not in record.contradictions()]:
            self.repaired[f"its record was {why[0]}: done again"] = None
            return {}
        today = {name: present_use(name, self.profile) for name in record.metrics}
        for name, use in record.metrics.items():
            own = today[name]
            if own and (use.higher_is_better, use.unit) != (own.higher_is_better, own.unit):
                self.repaired[f"its record had another direction or unit of {name}"] = None
        if self._identity(record) != self.method.identity:
            return {}
        holds = {m for m, use in record.metrics.items() if (own := today[m]) and use_key(use) == use_key(own)}
        return {**{image.name: _with_scores(image, holds) for image in record.images}, **record.failures}

    def _images_of_another_profile(self, path: Path) -> dict[str, Result]:
        """The images of a record, which were fused alike, without its scores."""
        try:
            record = read_record(path, Record)
        except DataError:
            return {}
        if self._identity(record) != self.method.identity or set(record.faults) - set(record.contradictions()):
            return {}
        return {image.name: _with_scores(image, set()) for image in record.images}

    def _identity(self, record: Record) -> str:
        return BenchMethod(record.method, self.method.model, self.method.folder).identity

    def _record(self) -> Record:
        selected = {pair.name for pair in self.dataset.selected}
        images: list[ImageResult] = []
        failures = dict(self.dataset.incomplete)
        readable = []
        for pair in self.dataset.pairs:
            known = self._known.get(pair.name)
            scored = isinstance(known, str) or (known is not None and bool(known.scores))
            if not scored and pair.name not in selected:
                continue
            try:
                self.dataset.digests(pair)
                image = self.of(pair)
            except DataError as error:
                failures[pair.name] = str(error)
                continue
            readable.append(pair.name)
            if isinstance(known, str):
                failures[pair.name] = known
            elif image is not None and scored:
                images.append(self._placed(image, pair))
        named = {metric: None for image in images for metric in image.scores}
        metrics: dict[str, MetricUse] = {name: metric_use(name, self.profile) for name in (*self.metrics, *named)}
        return Record(
            task=self.dataset.task.name,
            dataset=self.dataset.name,
            split=self.dataset.split,
            profile=self.profile,
            method=self.method.about,
            data=DataNote(
                origin=self.dataset.spec,
                fingerprint=self.dataset.fingerprint(readable),
                pairs=len(set(readable) | set(failures)),
                licence=self.dataset.pairs.licence,
                citation=self.dataset.pairs.citation,
            ),
            metrics=metrics,
            # Several processes computed the scores: here they are in one order.
            images=tuple(_with_scores(image, metrics) for image in images),
            failures=failures,
            environment=dict(self.environment),
        )

    def _placed(self, image: ImageResult, pair: Pair) -> ImageResult:
        """The result with the paths of today: data and results may have moved since."""
        try:
            return image.model_copy(update=self.paths(pair))
        except PluginCallFailed:
            return image


def joined(before: Result | None, later: Result) -> Result:
    """Join two results of one pair; of two scores the later counts, unless only the earlier one is a value.

    Nothing is kept of an earlier failure, of another fused image or of other sources.
    """
    if not isinstance(before, ImageResult) or isinstance(later, str) or _files(before) != _files(later):
        return later
    # A value stands against a later null: that is a plugin that failed this time.
    values = {m: v for m, v in later.scores.items() if v is not None or before.scores.get(m) is None}
    scores = {**before.scores, **values}
    reasons = {m: {**before.reasons, **later.reasons}[m] for m, value in scores.items() if value is None}
    drawn = later if later.maps is not None or later.unmapped else before
    return later.model_copy(
        update={"scores": scores, "reasons": reasons, "maps": drawn.maps, "unmapped": drawn.unmapped}
    )


def _files(image: ImageResult) -> tuple[tuple[str, ...], str, str]:
    return image.sources_sha256, image.truth_sha256, image.fused_sha256


def _with_scores(image: ImageResult, metrics: Mapping[str, object] | set[str]) -> ImageResult:
    """The result with the scores by ``metrics`` alone, in their order."""
    scores = {name: image.scores[name] for name in metrics if name in image.scores}
    reasons = {name: image.reasons[name] for name in scores if name in image.reasons}
    return image.model_copy(update={"scores": scores, "reasons": reasons})
