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
from fusionkit.bench.downstream.downstream_records import (
    DownstreamRecord,
    Network,
    PredictedBox,
    Prediction,
    TrainingCost,
    read_downstream,
    table_folder,
    write_downstream,
)
from fusionkit.bench.downstream.fused_splits import Split, files_digest, fused_files, relative
from fusionkit.bench.downstream.label_scores import confusion, detection_scores, segmentation_scores
from fusionkit.bench.downstream.protocol import Protocol, protocol_digest
from fusionkit.bench.downstream.samples import Samples, load_samples
from fusionkit.bench.downstream.training import Checkpoint, Trained, train, weights_digest
from fusionkit.bench.methods import BenchMethod
from fusionkit.bench.records import file_name
from fusionkit.config import as_dict
from fusionkit.contracts import Downstream, Options
from fusionkit.errors import DataError
from fusionkit.io.atomic import written_aside
from fusionkit.io.digest import file_digest
from fusionkit.label_types import Boxes
from fusionkit.plugins.guard import PluginCallFailed, run_guarded

__all__ = ["DownstreamJob", "Experiment", "ExperimentMethod"]

_MOST_BOXES = 100
"""What COCO's average precision looks at."""

Told = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Experiment:
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


class ExperimentMethod:
    """A method in a experiment: its images are read once for all seeds.

    Args:
        experiment: what it goes through.
        method: the method.
    """

    def __init__(self, experiment: Experiment, method: BenchMethod) -> None:
        self.experiment = experiment
        self.method = method
        self._files: dict[str, list[Path]] = {}
        self._samples: dict[str, Samples] = {}

    @property
    def name(self) -> str:
        """The method's name."""
        return self.method.about.name

    def files(self, split: Split, told: Told | None = None) -> list[Path]:
        """Its fused images of a split, fused where they are not there.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: an image cannot be made.
        """
        if split.name not in self._files:
            what = f"{self.name} fuses {split.label}"
            heard = (lambda done, total: told(what, done, total)) if told else None
            self._files[split.name] = fused_files(self.experiment.out, split, self.method, told=heard)
        return self._files[split.name]

    def samples(self, split: Split, told: Told | None = None) -> Samples:
        """A split as the network sees it.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: an image cannot be made or read.
        """
        if split.name not in self._samples:
            files, size = self.files(split, told), self.experiment.protocol.size
            assert size is not None
            self._samples[split.name] = run_guarded(lambda: load_samples(files, split.pairs, size))
        return self._samples[split.name]

    def forget(self) -> None:
        """Give the images' memory back."""
        self._samples.clear()

    def identity(self) -> str:
        """A digest of all that decides its results but for the seed.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: images of another program are missing.
        """
        experiment = self.experiment
        decisive = {
            "method": self.method.identity,
            "images": [files_digest(self.files(split)) for split in (experiment.train, experiment.test)]
            if self.method.folder is not None
            else [],
            "data": [experiment.train.note().fingerprint, experiment.test.note().fingerprint],
            "classes": experiment.classes,
            "course": protocol_digest(experiment.about, experiment.protocol),
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class DownstreamJob:
    """One training.

    Attributes:
        entry: the method.
        seed: of weights and draws.
        identity: digest of all that decides the result.
    """

    entry: ExperimentMethod
    seed: int
    identity: str

    @property
    def path(self) -> Path:
        """The record's file."""
        return self.entry.experiment.folder / file_name(self.entry.name) / f"seed-{self.seed}.json"

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
            fusionkit.plugins.guard.PluginCallFailed: the method or the network fails.
            fusionkit.errors.DataError: something cannot be written.
        """
        experiment, entry = self.entry.experiment, self.entry
        learned = entry.samples(experiment.train, told)
        shown = entry.samples(experiment.test, told)
        network = run_guarded(self._fresh)
        initial = weights_digest(network)
        trained, peak = self._trained(network, learned, told)
        began = time.perf_counter()
        predicted = run_guarded(lambda: _predict(network, shown, experiment))
        seconds = time.perf_counter() - began
        images, scores = self._judged(predicted, shown)
        cost = cost_of(experiment.device, trained.seconds, peak)
        record = DownstreamRecord(
            identity=self.identity,
            task=experiment.train.pairs.task.name,
            dataset=experiment.test.dataset,
            kind=experiment.network.kind,
            classes=experiment.classes,
            method=entry.method.about,
            network=Network(
                **experiment.about,
                parameters=sum(parameter.numel() for parameter in network.parameters()),
                initial_sha256=initial,
                trained_sha256=weights_digest(network),
            ),
            protocol=as_dict(experiment.protocol),
            seed=self.seed,
            train=experiment.train.note(),
            test=experiment.test.note(),
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
            licence=experiment.test.pairs.licence,
            citation=experiment.test.pairs.citation,
            environment=dict(environment),
        )
        write_downstream(self.path, record)
        self._checkpoint.path.unlink(missing_ok=True)
        return record

    @property
    def _checkpoint(self) -> Checkpoint:
        return Checkpoint(self.path.with_name(f".seed-{self.seed}.safetensors"), self.identity)

    def _fresh(self) -> Downstream:
        experiment = self.entry.experiment
        devices = [experiment.device] if experiment.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # Made on the CPU, so that a seed means the same weights on every device.
            torch.manual_seed(self.seed)
            network = experiment.network(experiment.options, classes=experiment.classes)
        return network.to(experiment.device)

    def _trained(self, network: Downstream, samples: Samples, told: Told | None) -> tuple[Trained, int | None]:
        experiment = self.entry.experiment
        what = f"{self.entry.name} trains {experiment.name} on {experiment.train.label}, seed {self.seed}"
        meter = Meter(experiment.device, memory=True)
        meter.begin()
        trained = run_guarded(
            lambda: train(
                network,
                samples,
                experiment.protocol,
                seed=self.seed,
                device=experiment.device,
                checkpoint=self._checkpoint,
                told=(lambda done, total: told(what, done, total)) if told else None,
            )
        )
        meter.end()
        return trained, meter.peak

    def _judged(self, predicted: Sequence[Tensor | Boxes], samples: Samples) -> tuple[tuple[Prediction, ...], Any]:
        experiment = self.entry.experiment
        images, counts, boxes = [], [], []
        for pair, file, seen, known in zip(
            experiment.test.pairs, self.entry.files(experiment.test), predicted, samples.targets, strict=True
        ):
            about: dict[str, Any] = {
                "name": pair.name,
                "fused": relative(file, experiment.out),
                "fused_sha256": file_digest(file),
                "sources": tuple(relative(source, experiment.out) for source in pair.files),
                "label": relative(pair.label, experiment.out) if pair.label else "",
                "label_sha256": experiment.test.digests(pair)[-1],
            }
            if isinstance(seen, Tensor) and isinstance(known, Tensor):
                counts.append(confusion(seen, known, len(experiment.classes)))
                mask = self._write_mask(pair.name, seen)
                rows = tuple(tuple(row) for row in counts[-1].tolist())
                images.append(Prediction(**about, mask=relative(mask, experiment.out), confusion=rows))
            elif isinstance(seen, Boxes) and isinstance(known, Boxes):
                written = _written(seen)
                boxes.append((_read_back(written), known))
                images.append(Prediction(**about, boxes=written))
            else:
                raise PluginCallFailed(
                    f"{experiment.name} predicts {type(seen).__name__} where {experiment.network.kind} is its kind"
                )
        if counts:
            return tuple(images), segmentation_scores(torch.stack(counts).sum(0), experiment.classes)
        return tuple(images), detection_scores([p for p, _ in boxes], [k for _, k in boxes], experiment.classes)

    def _write_mask(self, name: str, mask: Tensor) -> Path:
        path = self.path.with_suffix("") / f"{file_name(name)}.png"
        pixels = mask.to(torch.uint8).cpu().numpy()
        with written_aside(path) as aside:
            aside.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())
        return path


def _predict(network: Downstream, samples: Samples, experiment: Experiment) -> list[Tensor | Boxes]:
    network.eval()
    seen: list[Tensor | Boxes] = []
    with torch.no_grad():
        for start in range(0, len(samples), experiment.protocol.batch):
            chosen = range(start, min(start + experiment.protocol.batch, len(samples)))
            fused, _ = samples.batch(chosen, device=experiment.device)
            predicted = network.predict(fused)
            if len(predicted) != len(fused):
                raise DataError(f"{experiment.name} predicts {len(predicted)} results for {len(fused)} images")
            if isinstance(predicted, Tensor) and tuple(predicted.shape[1:]) != tuple(fused.shape[2:]):
                raise DataError(
                    f"{experiment.name} predicts masks {tuple(predicted.shape)} for images {tuple(fused.shape)}"
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
