"""One piece of a downstream bench: a network trained on one method's images with one seed, and the record of it."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from fusionkit.bench.cost import Meter, cost_of
from fusionkit.bench.downstream.evaluation import confusion, detection_scores, segmentation_scores
from fusionkit.bench.downstream.images import Split, files_digest, fused_files, relative
from fusionkit.bench.downstream.protocol import Protocol, protocol_digest
from fusionkit.bench.downstream.records import (
    DownstreamRecord,
    Network,
    PredictedBox,
    Prediction,
    TrainingCost,
    read_downstream,
    table_folder,
    write_downstream,
)
from fusionkit.bench.downstream.samples import Samples, load_samples
from fusionkit.bench.downstream.training import Checkpoint, Trained, train, weights_digest
from fusionkit.bench.methods import Contender
from fusionkit.bench.records import file_name
from fusionkit.config import as_dict
from fusionkit.contracts import Downstream, Options
from fusionkit.data.pairset import file_digest
from fusionkit.errors import DataError
from fusionkit.io.atomic import written_aside
from fusionkit.label_types import Boxes
from fusionkit.plugins.guard import Failed, attempt

__all__ = ["Course", "Entrant", "Unit"]

_MOST_BOXES = 100
"""What COCO's average precision looks at."""

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Course:
    """What every method of one table goes through.

    Attributes:
        out: the bench's folder.
        name: registered name of the network.
        network: its class.
        options: its options.
        version: distribution and version that it comes from.
        protocol: the schedule, with its size.
        train: labelled pairs to train on.
        test: labelled pairs to score on.
        device: where.
    """

    out: Path
    name: str
    network: type[Downstream]
    options: Options
    version: str
    protocol: Protocol
    train: Split
    test: Split
    device: torch.device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by id."""
        assert self.train.pairs.labels is not None
        return self.train.pairs.labels.classes

    @property
    def about(self) -> dict[str, Any]:
        """The network, as far as it decides results."""
        implementation = f"{self.network.__module__}:{self.network.__qualname__}"
        config = as_dict(self.options)
        return {"name": self.name, "implementation": implementation, "version": self.version, "config": config}

    @property
    def folder(self) -> Path:
        """Where the table's records are."""
        digest = protocol_digest(self.about, self.protocol)
        return table_folder(self.out, self.train.pairs.task.name, self.test.label, self.name, digest)


class Entrant:
    """A method in a course: its images are read once for all seeds.

    Args:
        course: what it goes through.
        contender: the method.
    """

    def __init__(self, course: Course, contender: Contender) -> None:
        self.course = course
        self.contender = contender
        self._files: dict[str, list[Path]] = {}
        self._samples: dict[str, Samples] = {}

    @property
    def name(self) -> str:
        """The method's name."""
        return self.contender.method.name

    def files(self, split: Split, told: Told | None = None) -> list[Path]:
        """Its fused images of a split, fused where they are not there.

        Raises:
            fusionkit.plugins.guard.Failed: an image cannot be made.
        """
        if split.name not in self._files:
            what = f"{self.name} fuses {split.label}"
            heard = (lambda done, total: told(what, done, total)) if told else None
            self._files[split.name] = fused_files(self.course.out, split, self.contender, told=heard)
        return self._files[split.name]

    def samples(self, split: Split, told: Told | None = None) -> Samples:
        """A split as the network sees it.

        Raises:
            fusionkit.plugins.guard.Failed: an image cannot be made or read.
        """
        if split.name not in self._samples:
            files, size = self.files(split, told), self.course.protocol.size
            assert size is not None
            self._samples[split.name] = attempt(lambda: load_samples(files, split.pairs, size))
        return self._samples[split.name]

    def forget(self) -> None:
        """Give the images' memory back."""
        self._samples.clear()

    def identity(self) -> str:
        """A digest of all that decides its results but for the seed.

        Raises:
            fusionkit.plugins.guard.Failed: images of another program are missing.
        """
        course = self.course
        decisive = {
            "method": self.contender.identity,
            "images": [files_digest(self.files(split)) for split in (course.train, course.test)]
            if self.contender.folder is not None
            else [],
            "data": [course.train.note().fingerprint, course.test.note().fingerprint],
            "classes": course.classes,
            "course": protocol_digest(course.about, course.protocol),
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Unit:
    """One training.

    Attributes:
        entrant: the method.
        seed: of weights and draws.
        identity: digest of all that decides the result.
    """

    entrant: Entrant
    seed: int
    identity: str

    @property
    def path(self) -> Path:
        """The record's file."""
        return self.entrant.course.folder / file_name(self.entrant.name) / f"seed-{self.seed}.json"

    def known(self) -> DownstreamRecord | None:
        """The result, if it is on the disk already.

        Raises:
            fusionkit.errors.DataError: a record is there that cannot be read.
        """
        if not self.path.is_file():
            return None
        record = read_downstream(self.path)
        return record if record.identity == self.identity else None

    def do(self, environment: Mapping[str, Any], told: Told | None = None) -> DownstreamRecord:
        """Train, predict, score and write the record.

        Raises:
            fusionkit.plugins.guard.Failed: the method or the network fails.
            fusionkit.errors.DataError: something cannot be written.
        """
        course, entrant = self.entrant.course, self.entrant
        learned = entrant.samples(course.train, told)
        shown = entrant.samples(course.test, told)
        network = attempt(self._fresh)
        initial = weights_digest(network)
        trained, peak = self._trained(network, learned, told)
        began = time.perf_counter()
        predicted = attempt(lambda: _predict(network, shown, course))
        seconds = time.perf_counter() - began
        images, scores = self._judged(predicted, shown)
        cost = cost_of(course.device, trained.seconds, peak)
        record = DownstreamRecord(
            identity=self.identity,
            task=course.train.pairs.task.name,
            dataset=course.test.dataset,
            kind=course.network.kind,
            classes=course.classes,
            method=entrant.contender.method,
            network=Network(
                **course.about,
                parameters=sum(parameter.numel() for parameter in network.parameters()),
                initial_sha256=initial,
                trained_sha256=weights_digest(network),
            ),
            protocol=as_dict(course.protocol),
            seed=self.seed,
            train=course.train.note(),
            test=course.test.note(),
            scores=scores.overall,
            per_class=scores.per_class,
            images=images,
            losses=trained.losses,
            cost=TrainingCost(
                device=cost.device,
                seconds=cost.seconds,
                predict_seconds=seconds,
                peak_bytes=cost.peak_bytes,
                memory=cost.memory,
            ),
            licence=course.test.pairs.licence,
            citation=course.test.pairs.citation,
            environment=dict(environment),
        )
        write_downstream(self.path, record)
        self._checkpoint.path.unlink(missing_ok=True)
        return record

    @property
    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.path.with_name(f".seed-{self.seed}.safetensors"), self.identity)

    def _fresh(self) -> Downstream:
        course = self.entrant.course
        devices = [course.device] if course.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # Made on the CPU, so that a seed means the same weights on every device.
            torch.manual_seed(self.seed)
            network = course.network(course.options, classes=course.classes)
        return network.to(course.device)

    def _trained(self, network: Downstream, samples: Samples, told: Told | None) -> tuple[Trained, int | None]:
        course = self.entrant.course
        what = f"{self.entrant.name} trains {course.name} on {course.train.label}, seed {self.seed}"
        meter = Meter(course.device, memory=True)
        meter.begin()
        trained = attempt(
            lambda: train(
                network,
                samples,
                course.protocol,
                seed=self.seed,
                device=course.device,
                checkpoint=self._checkpoint,
                told=(lambda done, total: told(what, done, total)) if told else None,
            )
        )
        meter.end()
        return trained, meter.peak

    def _judged(self, predicted: Sequence[Tensor | Boxes], samples: Samples) -> tuple[tuple[Prediction, ...], Any]:
        course = self.entrant.course
        images, counts, boxes = [], [], []
        for pair, file, seen, known in zip(
            course.test.pairs, self.entrant.files(course.test), predicted, samples.targets, strict=True
        ):
            about: dict[str, Any] = {
                "name": pair.name,
                "fused": relative(file, course.out),
                "fused_sha256": file_digest(file),
                "sources": tuple(relative(source, course.out) for source in pair.files),
                "label": relative(pair.label, course.out) if pair.label else "",
                "label_sha256": course.test.digests(pair)[-1],
            }
            if isinstance(seen, Tensor) and isinstance(known, Tensor):
                counts.append(confusion(seen, known, len(course.classes)))
                mask = self._write_mask(pair.name, seen)
                rows = tuple(tuple(row) for row in counts[-1].tolist())
                images.append(Prediction(**about, mask=relative(mask, course.out), confusion=rows))
            elif isinstance(seen, Boxes) and isinstance(known, Boxes):
                written = _written(seen)
                boxes.append((_read_back(written), known))
                images.append(Prediction(**about, boxes=written))
            else:
                raise Failed(f"{course.name} predicts {type(seen).__name__} where {course.network.kind} is its kind")
        if counts:
            return tuple(images), segmentation_scores(torch.stack(counts).sum(0), course.classes)
        return tuple(images), detection_scores([p for p, _ in boxes], [k for _, k in boxes], course.classes)

    def _write_mask(self, name: str, mask: Tensor) -> Path:
        path = self.path.with_suffix("") / f"{file_name(name)}.png"
        pixels = mask.to(torch.uint8).cpu().numpy()
        with written_aside(path) as aside:
            aside.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())
        return path


def _predict(network: Downstream, samples: Samples, course: Course) -> list[Tensor | Boxes]:
    network.eval()
    seen: list[Tensor | Boxes] = []
    with torch.no_grad():
        for start in range(0, len(samples), course.protocol.batch):
            chosen = range(start, min(start + course.protocol.batch, len(samples)))
            fused, _ = samples.batch(chosen, device=course.device)
            predicted = network.predict(fused)
            if len(predicted) != len(fused):
                raise DataError(f"{course.name} predicts {len(predicted)} results for {len(fused)} images")
            if isinstance(predicted, Tensor) and tuple(predicted.shape[1:]) != tuple(fused.shape[2:]):
                raise DataError(
                    f"{course.name} predicts masks {tuple(predicted.shape)} for images {tuple(fused.shape)}"
                )
            seen += [each.cpu() for each in predicted] if isinstance(predicted, Tensor) else list(predicted)
    return seen


def _written(boxes: Boxes) -> tuple[PredictedBox, ...]:
    """Boxes as they are written down, best first: what is scored is what can be read."""
    scores = torch.ones(len(boxes.classes)) if boxes.scores is None else boxes.scores.detach().cpu().double()
    order = scores.argsort(descending=True, stable=True)[:_MOST_BOXES].tolist()
    corners, classes = boxes.corners.detach().cpu().double().tolist(), boxes.classes.tolist()
    return tuple(
        PredictedBox(
            corners=(round(c[0], 2), round(c[1], 2), round(c[2], 2), round(c[3], 2)),
            label=int(classes[k]),
            score=round(float(scores[k]), 6),
        )
        for k in order
        for c in [corners[k]]
    )


def _read_back(written: Sequence[PredictedBox]) -> Boxes:
    return Boxes(
        corners=torch.tensor([box.corners for box in written], dtype=torch.float64).reshape(-1, 4),
        classes=torch.tensor([box.label for box in written], dtype=torch.int64),
        scores=torch.tensor([box.score for box in written], dtype=torch.float64),
    )
