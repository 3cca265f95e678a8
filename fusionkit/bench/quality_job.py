"""One method on one data set, scored by metrics: its pairs, resumed from a log, and the record of all results."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fusionkit.bench.datasets import Dataset
from fusionkit.bench.image_scores import ImageScores, metric_use, present_use, score_image, use_key
from fusionkit.bench.methods import BenchMethod
from fusionkit.bench.pair_fuser import PairFuser
from fusionkit.bench.record_files import read_record, write_record
from fusionkit.bench.records import (
    DataNote,
    ImageResult,
    MetricUse,
    Record,
    fused_folder,
    map_file,
    maps_folder,
    record_path,
)
from fusionkit.bench.request import Bench
from fusionkit.bench.results_log import LogEntry, ResultsLog, logs_folder, merge, now, read_logs, signature
from fusionkit.contracts import Metric
from fusionkit.data.pair_set import Pair
from fusionkit.data.pairing import image_files
from fusionkit.errors import DataError
from fusionkit.io.digest import file_digest
from fusionkit.plugins.guard import PluginCallFailed, run_guarded

__all__ = ["QualityJob"]

Draw = Callable[[Pair, Path], tuple[str, ...]]


@dataclass(kw_only=True, eq=False)
class QualityJob:
    """One method on one data set. Processes share it part by part.

    Attributes:
        bench: the bench that the job belongs to.
        dataset: data set to fuse.
        method: method to fuse it with.
        metrics: metrics to score by, by name.
        profile: the metrics' convention.
        draw: writes the weight maps of a pair into a folder; None where there are none.
        environment: versions and machine, for the record.
        began: start of this bench, in seconds since 1970: pairs that failed later are not tried again.
        repaired: results that were changed on the disk and are done again, a few words each.
    """

    bench: Bench
    dataset: Dataset
    method: BenchMethod
    metrics: Mapping[str, Metric]
    profile: str
    draw: Draw | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=now)
    repaired: dict[str, None] = field(init=False, default_factory=dict)
    _log: ResultsLog = field(init=False, repr=False)
    _fuse: PairFuser | None = field(init=False, repr=False)
    _given: Mapping[str, list[Path]] = field(init=False, repr=False, default_factory=dict)
    _seen: object = field(init=False, repr=False, default=None)
    _known: dict[str, ImageResult | str] = field(init=False, repr=False, default_factory=dict)
    _tried: dict[str, set[str]] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._fuse = PairFuser(self.method.model) if self.method.model else None
        self._log = ResultsLog(logs_folder(*self._place))
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
    def _place(self) -> tuple[Path, str, str, str]:
        return self.bench.out, self.dataset.task.name, self.dataset.label, self.name

    @property
    def _maps(self) -> Path:
        return maps_folder(*self._place)

    def has_images(self) -> bool:
        """Return whether a folder of results has an image of any of the pairs; True for what fuses by itself."""
        return self._fuse is not None or any(pair.name in self._given for pair in self.dataset.selected)

    def refresh(self) -> None:
        """Read the logs of all processes, and the record.

        Raises:
            fusionkit.errors.DataError: a record or log is there that cannot be read.
        """
        seen = signature(self._log.path.parent)
        if self._seen == seen:
            return
        entries = self._entries()
        self._known = self._merged(entries)
        self._tried = {}
        for entry in entries:
            if entry.at >= self.began and (entry.method, entry.profile) == (self.method.identity, self.profile):
                own = self.metrics if entry.image is None else entry.uses
                self._tried.setdefault(entry.name, set()).update(own)
        self._seen = seen

    def is_done(self, pair: Pair) -> bool:
        """Return whether nothing is left to do of a pair, or what is left failed since this bench began."""
        known = self._known.get(pair.name)
        tried = self._tried.get(pair.name)
        if isinstance(known, str):
            return tried is not None
        try:
            if known is None or not self._is_of(known, pair) or not self._is_there(known, pair):
                return False
        except (PluginCallFailed, DataError):
            return False
        undrawn = self.draw is not None and not self._is_drawn(known) and not (known.unmapped and tried)
        return not undrawn and not {m for m in self.metrics if known.scores.get(m) is None} - (tried or set())

    def do(self, pair: Pair) -> None:
        """Bring one pair up to date: fuse it, score it by the metrics that are missing, draw its maps, log the result.

        Raises:
            fusionkit.errors.DataError: a result or log cannot be written.
        """
        try:
            image = self._present(pair)
            missing = {name: metric for name, metric in self.metrics.items() if image.scores.get(name) is None}
            undrawn = self.draw is not None and not self._is_drawn(image)
            if not missing and not undrawn:
                return
            found = self._scored(pair, missing) if missing else ImageScores(image.height, image.width, {}, {})
            if undrawn:
                image = image.model_copy(update=self._drawn(pair))
        except PluginCallFailed as error:
            self._add(pair, failure=str(error))
            return
        self._add(pair, image=image, found=found)

    def _scored(self, pair: Pair, metrics: Mapping[str, Metric]) -> ImageScores:
        target, device = self._target(pair), self.bench.device
        return score_image(target, pair.files, metrics, truth=pair.truth, profile=self.profile, device=device)

    def _is_of(self, image: ImageResult, pair: Pair) -> bool:
        return (image.sources_sha256, image.truth_sha256) == run_guarded(lambda: self.dataset.digests(pair))

    def _is_there(self, image: ImageResult, pair: Pair) -> bool:
        target = self._target(pair)
        return target.is_file() and run_guarded(lambda: file_digest(target)) == image.fused_sha256

    def _present(self, pair: Pair) -> ImageResult:
        """The fused image as it is on the disk now, with the scores that hold for it."""
        sums, truth_sum = run_guarded(lambda: self.dataset.digests(pair))
        target = self._target(pair)
        known = self._known.get(pair.name)
        before = known if isinstance(known, ImageResult) and self._is_of(known, pair) else None
        if before and self._is_there(before, pair):
            return before
        if before and self._fuse and target.is_file():
            self.repaired["fused images that are not those that were scored: fused again"] = None
        cost = self._fuse(pair, target) if self._fuse else None
        fused_sum = run_guarded(lambda: file_digest(target))
        if before and before.fused_sha256 == fused_sum:
            # The file was lost or spoilt; the image is the one that was scored.
            return before.model_copy(update={"cost": cost})
        return ImageResult.model_construct(
            name=pair.name,
            sources_sha256=sums,
            truth_sha256=truth_sum,
            fused_sha256=fused_sum,
            scores={},
            reasons={},
            cost=cost,
        )

    def _is_drawn(self, image: ImageResult) -> bool:
        return image.maps is not None and all(map_file(self._maps, image.name, m).is_file() for m in image.maps)

    def _drawn(self, pair: Pair) -> dict[str, Any]:
        """Draw the maps of a pair; a method that fails in that keeps its result."""
        assert self.draw is not None
        try:
            return {"maps": self.draw(pair, self._maps), "unmapped": ""}
        except PluginCallFailed as error:
            return {"maps": None, "unmapped": str(error)}

    def _target(self, pair: Pair) -> Path:
        if self._fuse is not None:
            return fused_folder(*self._place) / f"{pair.name}.png"
        files = self._given.get(pair.name, [])
        if len(files) != 1:
            listed = (
                f"two images of that name ({', '.join(file.name for file in files)})" if files else "no image of it"
            )
            raise PluginCallFailed(f"{self.method.folder}: {listed}")
        return files[0]

    def _paths(self, pair: Pair) -> dict[str, Any]:
        return {
            "sources": tuple(self._relative(file) for file in pair.files),
            "fused": self._relative(self._target(pair)),
            "truth": self._relative(pair.truth) if pair.truth else "",
        }

    def _relative(self, file: Path) -> str:
        return Path(os.path.relpath(file.absolute(), self.bench.out.absolute())).as_posix()

    def _add(
        self, pair: Pair, *, image: ImageResult | None = None, found: ImageScores | None = None, failure: str = ""
    ) -> None:
        uses: dict[str, str] = {}
        if image is not None and found is not None:
            # Validated here, since what comes from a plugin's metric goes into a file that is read strictly.
            image = ImageResult(
                **{
                    **dict(image),
                    **self._paths(pair),
                    "height": found.height,
                    "width": found.width,
                    "scores": dict(found.scores),
                    "reasons": dict(found.reasons),
                }
            )
            uses = {name: use_key(metric_use(name, self.profile)) for name in found.scores}
        self._log.add(
            LogEntry(
                at=now(),
                method=self.method.identity,
                profile=self.profile,
                name=pair.name,
                image=image,
                uses=uses,
                failure=failure,
            )
        )

    def _merged(self, entries: Sequence[LogEntry]) -> dict[str, ImageResult | str]:
        def use(name: str) -> str | None:
            found = present_use(name, self.profile)
            return use_key(found) if found else None

        return merge(entries, method=self.method.identity, profile=self.profile, use=use)

    def _entries(self) -> list[LogEntry]:
        """Read the record, which may have come here without the logs, and all logs: entries, oldest first.

        What was changed since it was written does not count, and is done again.
        """
        entries = read_logs(self._log.path.parent)
        if any(entry.changed for entry in entries):
            self.repaired["entries of its log were changed after they were written: scored again"] = None
        return [*self._recorded(), *(entry for entry in entries if not entry.changed)]

    def _recorded(self) -> list[LogEntry]:
        path = record_path(*self._place[:3], self.profile, self.name)
        if not path.is_file():
            return []
        record = read_record(path, Record)
        if why := [fault for fault in record.faults if fault not in record.contradictions()]:
            self.repaired[f"its record was {why[0]}: scored again"] = None
            return []
        for name, use in record.metrics.items():
            now_used = present_use(name, self.profile)
            if now_used and (use.higher_is_better, use.unit) != (now_used.higher_is_better, now_used.unit):
                self.repaired[f"its record had another direction or unit of {name}"] = None
        identity = BenchMethod(record.method, self.method.model, self.method.folder).identity
        uses = {name: use_key(use) for name, use in record.metrics.items()}
        return [
            LogEntry(at=0, method=identity, profile=record.profile, name=image.name, image=image, uses=uses)
            for image in record.images
        ]

    def save(self) -> Record:
        """Write the record of all results of this method on this data set, from the logs of all processes.

        If another process logged a result meanwhile, the record is written once more: the last of several processes
        leaves the whole of it, and none waits for a lock.

        Raises:
            fusionkit.errors.DataError: it cannot be written.
        """
        seen = None
        while seen != (seen := signature(self._log.path.parent)):
            record = write_record(self.bench.out, self._assembled(self._merged(self._entries())))
        return record

    def _placed(self, image: ImageResult, pair: Pair) -> ImageResult:
        """The result with the paths of today: data and results may have moved since."""
        try:
            return image.model_copy(update=self._paths(pair))
        except PluginCallFailed:
            return image

    def _assembled(self, state: Mapping[str, ImageResult | str]) -> Record:
        selected = {pair.name for pair in self.dataset.selected}
        images: list[ImageResult] = []
        failures = dict(self.dataset.incomplete)
        readable = []
        for pair in self.dataset.pairs:
            known = state.get(pair.name)
            if known is None and pair.name not in selected:
                continue
            try:
                sums = self.dataset.digests(pair)
            except DataError as error:
                failures[pair.name] = str(error)
                continue
            readable.append(pair.name)
            if isinstance(known, str):
                failures[pair.name] = known
            elif known is not None and (known.sources_sha256, known.truth_sha256) == sums:
                images.append(self._placed(known, pair))
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
            images=tuple(_in_order(image, metrics) for image in images),
            failures=failures,
            environment=dict(self.environment),
        )


def _in_order(image: ImageResult, metrics: Mapping[str, MetricUse]) -> ImageResult:
    """Sort the scores, which several processes computed, into one order."""
    return image.model_copy(update={"scores": {name: image.scores[name] for name in metrics if name in image.scores}})
