"""One fusing that the page asked for: images, maps and scores, as 'fusionkit fuse' and 'fusionkit bench' make them."""

from __future__ import annotations

import json
import re
import shutil
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fusionkit.app.choices import Choices
from fusionkit.app.workroom import SourceFolder, SourceSet
from fusionkit.bench.image_scores import choose_metrics, metric_use, score_inputs
from fusionkit.errors import DataError, FusionkitError, FusionNote, UsageError
from fusionkit.fuse.aligning import Aligning, default_aligner
from fusionkit.fuse.batch import RECORD, Job, Plan, check_jobs, plan_jobs, run_jobs
from fusionkit.fuse.model import Model
from fusionkit.fuse.reading import make_reading, upright_where_they_differ
from fusionkit.fuse.source_maps import MapWriter, check_maps
from fusionkit.io.digest import file_digest
from fusionkit.io.images import Image, deepest, read_image, write_image
from fusionkit.metrics.image_files import luminance
from fusionkit.metrics.inputs import MetricInputs
from fusionkit.runtime.devices import is_out_of_memory

__all__ = ["FuseJob", "Order", "write_shown"]

_LARGEST_SHOWN = 4096  # pixels of the longer side


class Order(BaseModel):
    """A wish of the page: sources, method and rules. Everything is looked up in lists of the server."""

    model_config = ConfigDict(extra="forbid", strict=True)

    order: list[int] = Field(max_length=1000)
    task: str = Field(max_length=100)
    method: str = Field(max_length=300)
    ranges: list[str] = Field(max_length=1000)
    align: str = Field("none", max_length=30)
    match: Literal["stem", "number", "order"] = "stem"
    profile: str = Field("standard", max_length=100)


class _Cancelled(Exception):
    pass


@dataclass
class FuseJob:
    """A fusing that waits, runs or is done.

    Attributes:
        key: name in addresses.
        place: the sources, and where the results go.
        order: what is asked for.
        choices: the models.
        state: ``"waiting"``, ``"running"``, ``"done"``, ``"failed"`` or ``"cancelled"``.
        files: what can be asked for, by a name that the server gave it: images to show, results, the record.
    """

    key: str
    place: SourceSet
    order: Order
    choices: Choices
    state: Literal["waiting", "running", "done", "failed", "cancelled"] = "waiting"
    files: dict[str, Path] = field(default_factory=dict)
    _progress: dict[str, Any] = field(default_factory=dict)
    _result: dict[str, Any] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)
    _stop: bool = False

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return self.place.folder / f"fused-{self.key}"

    @property
    def finished(self) -> bool:
        """True when nothing more is done."""
        return self.state in ("done", "failed", "cancelled")

    def cancel(self) -> None:
        """End before the next image."""
        self._stop = True

    def describe(self) -> dict[str, Any]:
        """Write the state for the page."""
        notes = list(dict.fromkeys(_as_fields(self.place.plain(note)) for note in self._notes))
        return {"key": self.key, "state": self.state, "notes": notes, **self._progress, **self._result}

    def run(self) -> None:
        """Fuse, draw and score everything. What goes wrong is said by :meth:`describe`."""
        self.state = "running"
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", FusionNote)
                try:
                    self._run()
                finally:
                    self._notes += [str(one.message) for one in caught]
            self.state = "done"
        except _Cancelled:
            self.state = "cancelled"
        except FusionkitError as error:
            self._fail(_as_fields(self.place.plain(error)))
        except Exception as error:  # a page that waits for ever would say less
            if isinstance(error, MemoryError) or is_out_of_memory(error):
                self._fail("the memory of this machine does not suffice: use smaller images, or another method")
            else:
                self._fail(self.place.plain(f"internal error: {type(error).__name__}: {error} (please report)"))
        if self.state != "done":
            shutil.rmtree(self.folder, ignore_errors=True)

    def _fail(self, message: str) -> None:
        self._result = {"error": " ".join(message.split())}
        self.state = "failed"

    def _run(self) -> None:
        started = time.monotonic()
        self._report("loading the method", 0, 0)
        sources = self.place.ordered(self.order.order)
        model = self.choices.model(self.order.method, self.order.task)
        metrics = choose_metrics(self.choices.tasks[self.order.task], None, self.order.profile)
        plan = self._plan(sources, model)
        plan = check_jobs(plan, model=model, report=self._report)
        if not plan.jobs:
            raise DataError("; ".join(plan.problems) or "there is nothing to fuse")
        run_jobs(model, plan, report=self._report)
        fused = time.monotonic() - started
        scenes = []
        for done, job in enumerate(plan.jobs):
            self._report("scoring", done, len(plan.jobs))
            scenes.append(self._scene(done, job, plan, sources, metrics))
        self._write_record(plan, sources, scenes)
        self._result = {
            "method": self.order.method,
            "task": self.order.task,
            "align": self.order.align,
            "profile": self.order.profile,
            "device": str(model.device),
            "seconds": round(fused, 3),
            "mapped": plan.maps is not None,
            "problems": [self.place.plain(problem) for problem in plan.problems],
            "scenes": scenes,
            "metrics": [
                {
                    "name": name,
                    "title": metric.info.title,
                    "measures": metric.info.measures,
                    "higher_is_better": metric.info.higher_is_better,
                    "unit": metric_use(name, self.order.profile).unit,
                }
                for name, metric in metrics.items()
            ],
        }

    def _plan(self, sources: Sequence[SourceFolder], model: Model) -> Plan:
        if len(self.order.ranges) != len(sources):
            raise UsageError(f"one range per source is needed, got {len(self.order.ranges)} for {len(sources)} sources")
        reading = make_reading(self.order.ranges, sources=len(sources))
        aligning = None
        if self.order.align != "none":
            aligning = Aligning(self.order.align, reference=1, aligner=default_aligner(self.order.task))
        single = all(len(source.files) == 1 for source in sources)
        folders = [source.folder for source in sources]
        match = "order" if single else self.order.match
        plan = plan_jobs(folders, self.folder, match=match, reading=reading, aligning=aligning)
        bits = max(read_image(file, values=reading.range_of(k)).bits for k, file in enumerate(plan.jobs[0].sources))
        if bits > deepest(plan.jobs[0].target):
            plan = plan_jobs(folders, self.folder, suffix=".tif", match=match, reading=reading, aligning=aligning)
        try:
            check_maps(model, len(sources), spacing=None)
        except UsageError:
            return replace(plan, look_for_shift=aligning is None)
        return replace(plan, look_for_shift=aligning is None, maps=MapWriter(inside=True))

    def _report(self, step: str, done: int, total: int) -> None:
        if self._stop:
            raise _Cancelled
        self._progress = {"step": step, "done": done, "total": total}

    def _scene(
        self, number: int, job: Job, plan: Plan, sources: Sequence[SourceFolder], metrics: Any
    ) -> dict[str, Any]:
        """Make what the page shows of one scene, and score it."""
        images: Sequence[Image] = upright_where_they_differ(plan.reading.read(job.sources), note=False)
        if plan.aligning is not None:
            images = plan.aligning.apply(images, plan.alignments[job.target])
        fused = read_image(job.target)
        truth = read_image(self.place.truth) if self.place.truth and len(plan.jobs) == 1 else None
        if truth is not None and truth.size != fused.size:
            truth = None
        inputs = MetricInputs(
            luminance(fused),
            *(luminance(image) for image in images),
            truth=luminance(truth) if truth is not None else None,
        )
        scores = score_inputs(inputs, metrics, self.order.profile)
        shown = {f"source{k}": image for k, image in enumerate(images)}
        shown |= {"fused": fused, **({"truth": truth} if truth is not None else {})}
        shown |= {f"map.{name}": read_image(file) for name, file in self._maps(job).items()}
        for name, image in shown.items():
            self._show(f"{number}.{name}", image)
        self.files[f"{number}.result"] = job.target
        return {
            "name": job.target.stem,
            "size": fused.size,
            "bits": fused.bits,
            "file": job.target.name,
            "sources": [f"{source.label}" for source in sources],
            "maps": [name.removeprefix("map.") for name in shown if name.startswith("map.")],
            "truth": truth is not None,
            "scores": dict(scores.scores),
            "reasons": dict(scores.reasons),
        }

    def _maps(self, job: Job) -> dict[str, Path]:
        """Files of the maps of a scene by their names, which hold no dot."""
        start = f"{job.target.stem}."
        files = sorted((self.folder / "maps").glob("*.png"))
        named = {file.stem.removeprefix(start): file for file in files if file.name.startswith(start)}
        return {name: file for name, file in named.items() if "." not in name}

    def _show(self, name: str, image: Image) -> None:
        """Keep an image as every browser shows it."""
        file = self.folder / "shown" / f"{name}.png"
        write_shown(file, image, longest=_LARGEST_SHOWN)
        self.files[name] = file

    def _write_record(self, plan: Plan, sources: Sequence[SourceFolder], scenes: Sequence[dict[str, Any]]) -> None:
        """Complete the record of the folder: what the user calls the sources, their digests, and the scores."""
        file = self.folder / RECORD
        record = json.loads(file.read_text(encoding="utf-8"))
        record["sources"] = [source.label for source in sources]
        record["sources_sha256"] = {
            job.target.name: [file_digest(source) for source in job.sources] for job in plan.jobs
        }
        record["skipped"] = [self.place.plain(problem) for problem in record["skipped"]]
        record["scores"] = {
            "profile": self.order.profile,
            "values": {scene["file"]: scene["scores"] for scene in scenes},
            "reasons": {scene["file"]: scene["reasons"] for scene in scenes if scene["reasons"]},
        }
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        self.files["record"] = file


def write_shown(file: Path, image: Image, *, longest: int) -> None:
    """Write an image as a PNG of 8 bits, upright, reduced if its longer side has more than ``longest`` pixels."""
    pixels = image.upright().pixels
    height, width = pixels.shape[:2]
    if pixels.dtype != np.uint8:
        full = 1.0 if pixels.dtype == np.float32 else 65535.0
        # Rounded in one pass: copies in float64 would take eight times the memory of a large image.
        pixels = cv2.convertScaleAbs(pixels, alpha=255 / full).reshape(height, width, -1)
    if max(height, width) > longest:
        scale = longest / max(height, width)
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], -1)
    write_image(file, Image(np.ascontiguousarray(pixels)))


def _as_fields(message: str) -> str:
    """Name the page's fields where a message names the command's options."""
    message = re.sub(r"--(align|range|resize|match)(?:-[abs])?\b", r"\1", message)
    return message.replace("name metrics with --metric", "choose another profile").replace("--model", "the method")
