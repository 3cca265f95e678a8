"""One job of a quality bench: some pairs of a data set, fused by one method and scored by metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionkit.bench.image_scores import score_image
from fusionkit.bench.jobs import Job, Progress, lock_file
from fusionkit.bench.pair_fuser import PairFuser
from fusionkit.bench.paths import file_name, map_file, maps_folder
from fusionkit.bench.quality_results import QualityResults
from fusionkit.bench.records import ImageResult
from fusionkit.data.pair_set import Pair
from fusionkit.errors import DataError
from fusionkit.io.digest import file_digest
from fusionkit.plugins.guard import PluginCallFailed, run_guarded

__all__ = ["QualityJob", "quality_jobs"]

Draw = Callable[[Pair, Path], tuple[str, ...]]

_PAIRS, _MOST_JOBS = 8, 64


@dataclass(frozen=True, kw_only=True)
class QualityJob(Job):
    """Some pairs of a method on a data set, which one process does at a time.

    Attributes:
        results: the results that the pairs' own are added to.
        fuse: fuses a pair; None for results of another program.
        draw: writes the weight maps of a pair into a folder; None where there are none.
        start: place of the first pair in the data set.
        pairs: the pairs.
    """

    results: QualityResults
    fuse: PairFuser | None
    draw: Draw | None
    start: int
    pairs: Sequence[Pair]

    def known(self) -> bool:
        """Return whether every pair has an image, a value of each metric, and its weight maps.

        What is missing after a process of this bench did the pairs is not tried again: it cannot be had.

        Raises:
            fusionkit.errors.DataError: a record is there that cannot be read.
        """
        mark = self._tried
        if mark.is_file() and mark.stat().st_mtime >= self.results.began:
            return True
        self.results.refresh()
        return all(self._is_done(pair) for pair in self.pairs)

    def run(self, progress: Progress | None) -> str:
        """Do what is left of every pair and write the record; what fails is in the record.

        Raises:
            fusionkit.errors.DataError: something cannot be written.
            KeyboardInterrupt: interrupted; the record of what is done is written.
        """
        total = len(self.results.dataset.selected)
        try:
            for done, pair in enumerate(self.pairs, self.start):
                if progress:
                    progress(self.title, done, total)
                try:
                    self._do(pair)
                except PluginCallFailed as error:
                    self.results.add(pair.name, str(error))
        finally:
            self.results.save()
        self._tried.touch()
        if progress:
            progress(self.title, self.start + len(self.pairs), total)
        return ""

    @property
    def _tried(self) -> Path:
        """A file whose time is that of the last attempt at these pairs, metrics and maps."""
        asked = (*self.key, self.results.profile, *self.results.metrics, str(self.draw is not None))
        return lock_file(self.results.bench.out, *asked).with_suffix(".tried")

    def _is_done(self, pair: Pair) -> bool:
        try:
            image = self.results.of(pair)
            return image is not None and self._is_there(image, pair) and not self._lacks(image)
        except (PluginCallFailed, DataError):
            return False

    def _is_there(self, image: ImageResult, pair: Pair) -> bool:
        file = self.results.fused_file(pair)
        return file.is_file() and run_guarded(lambda: file_digest(file)) == image.fused_sha256

    def _lacks(self, image: ImageResult) -> list[str]:
        """The metrics without a value, and "maps" where these are not drawn."""
        folder = maps_folder(*self.results.place)
        drawn = image.maps is not None and all(map_file(folder, image.name, m).is_file() for m in image.maps)
        metrics = [metric for metric in self.results.metrics if image.scores.get(metric) is None]
        return [*metrics, *(["maps"] if self.draw is not None and not drawn else [])]

    def _do(self, pair: Pair) -> None:
        """Bring one pair up to date: fuse it, score it by the metrics without a value, draw its maps."""
        results = self.results
        image = self._present(pair)
        lacks = self._lacks(image)
        if not lacks:
            return
        changes = results.paths(pair)
        if metrics := {name: metric for name, metric in results.metrics.items() if name in lacks}:
            fused, device = results.fused_file(pair), results.bench.device
            found = score_image(fused, pair.files, metrics, truth=pair.truth, profile=results.profile, device=device)
            scores = {**image.scores, **found.scores}
            reasons = {m: {**image.reasons, **found.reasons}[m] for m, value in scores.items() if value is None}
            changes |= {"height": found.height, "width": found.width, "scores": scores, "reasons": reasons}
        if "maps" in lacks:
            changes |= self._drawn(pair)
        # Validated here, since what comes from a plugin's metric goes into a file that is read strictly.
        results.add(pair.name, ImageResult(**{**dict(image), **changes}))

    def _present(self, pair: Pair) -> ImageResult:
        """The fused image as it is on the disk now, with the scores that hold for it."""
        results = self.results
        sources, truth = run_guarded(lambda: results.dataset.digests(pair))
        file, before = results.fused_file(pair), results.of(pair)
        if before and self._is_there(before, pair):
            return before
        if before and self.fuse and file.is_file():
            results.repaired["fused images that are not those that were scored: fused again"] = None
        cost = self.fuse(pair, file) if self.fuse else None
        fused = run_guarded(lambda: file_digest(file))
        if before and before.fused_sha256 == fused:
            # The file was lost or spoilt; the image is the one that was scored.
            return before.model_copy(update={"cost": cost})
        return ImageResult.model_construct(
            name=pair.name,
            sources_sha256=sources,
            truth_sha256=truth,
            fused_sha256=fused,
            scores={},
            reasons={},
            cost=cost,
        )

    def _drawn(self, pair: Pair) -> dict[str, Any]:
        """Draw the maps of a pair; a method that fails in that keeps its result."""
        assert self.draw is not None
        try:
            return {"maps": self.draw(pair, maps_folder(*self.results.place)), "unmapped": ""}
        except PluginCallFailed as error:
            return {"maps": None, "unmapped": str(error)}


def quality_jobs(results: QualityResults, draw: Draw | None) -> list[QualityJob]:
    """The pairs to score, in jobs that depend on the data alone, so that all processes have the same.

    Args:
        results: of the method on the data set.
        draw: writes the weight maps of a pair into a folder; None where there are none.
    """
    dataset, method = results.dataset, results.method
    pairs = dataset.selected
    fuse = PairFuser(method.model) if method.model else None
    size = max(_PAIRS, -(-len(pairs) // _MOST_JOBS))
    return [
        QualityJob(
            title=results.title,
            label=(file_name(results.name), dataset.task.name, dataset.label),
            part=str(start),
            identity=method.label_digest,
            results=results,
            fuse=fuse,
            draw=draw,
            start=start,
            pairs=pairs[start : start + size],
        )
        for start in range(0, len(pairs), size)
    ]
