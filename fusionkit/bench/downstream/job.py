"""One job of a downstream bench: a network trained on one method's images with one seed, and its record."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from fusionkit.bench.cost import Meter
from fusionkit.bench.downstream.downstream_records import (
    COLUMNS,
    DOWNSTREAM,
    DownstreamRecord,
    Network,
    PredictedBox,
    Prediction,
    TrainingCost,
    downstream_path,
    split_scores,
)
from fusionkit.bench.downstream.experiment import Experiment, ExperimentMethod, pair_digests, split_note
from fusionkit.bench.downstream.label_scores import confusion, detection_scores
from fusionkit.bench.downstream.score_checks import as_boxes, box_faults
from fusionkit.bench.downstream.training import DownstreamTrainer, weights_digest
from fusionkit.bench.jobs import Job, Progress
from fusionkit.bench.paths import file_name, relative_path
from fusionkit.bench.record_files import read_record, write_record
from fusionkit.bench.records import Cost
from fusionkit.config import as_dict
from fusionkit.contracts import Downstream
from fusionkit.contracts.label_types import Boxes
from fusionkit.data.epoch_plan import PAIR, SWAP
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.errors import DataError
from fusionkit.io.atomic import written_aside
from fusionkit.io.digest import file_digest
from fusionkit.plugins.guard import PluginCallFailed, run_guarded
from fusionkit.runtime.precision import float32_products
from fusionkit.train.checkpoints import load_checkpoint
from fusionkit.train.loop import take_steps
from fusionkit.train.run_folder import RunFolder

__all__ = ["DownstreamJob", "downstream_jobs"]

_LOGGED = 60
"""Number of losses in a record, at most about."""

_CHECKPOINT_SECONDS = 45.0

_MOST_BOXES = 100
"""Number of boxes that COCO's average precision counts."""


@dataclass(frozen=True, kw_only=True)
class DownstreamJob(Job):
    """One training.

    Attributes:
        entry: the method in its experiment.
        seed: of weights and draws.
        environment: versions and machine, for the record.
    """

    entry: ExperimentMethod
    seed: int
    environment: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The record's file."""
        experiment = self.entry.experiment
        return experiment.out / downstream_path(experiment.table, self.entry.name, self.seed)

    def known(self) -> bool:
        """Return whether the result is on disk and is what was written there.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: images of another program are missing.
            fusionkit.errors.DataError: a record is there that cannot be read.
        """
        record = self._stored()
        return record is not None and record.identity == self.entry.identity and not record.faults

    def run(self, progress: Progress | None = None) -> str:
        """Train, predict, score and write the record.

        Returns:
            The scores in a line.

        Raises:
            fusionkit.plugins.guard.PluginCallFailed: the method or the network fails.
            fusionkit.errors.DataError: something cannot be written.
        """
        experiment, entry = self.entry.experiment, self.entry
        stored = self._stored()
        before = stored.faults if stored else ()
        learned = entry.samples(experiment.train, progress)
        shown = entry.samples(experiment.test, progress)
        network = run_guarded(self._fresh)
        initial = weights_digest(network)
        cost, losses = self._train(network, learned, progress)
        began = time.perf_counter()
        predicted = run_guarded(lambda: _predict(network, shown, experiment))
        seconds = time.perf_counter() - began
        images, scores, per_class = self._judged(predicted, shown)
        record = DownstreamRecord(
            identity=entry.identity,
            task=experiment.train.task.name,
            dataset=experiment.test.name,
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
            train=split_note(experiment.train),
            test=split_note(experiment.test),
            scores=scores,
            per_class=per_class,
            images=images,
            losses=losses,
            cost=TrainingCost(**dict(cost), predict_seconds=seconds),
            licence=experiment.test.pairs.licence,
            citation=experiment.test.pairs.citation,
            environment=dict(self.environment),
        )
        write_record(experiment.out, record)
        shutil.rmtree(self._folder.path, ignore_errors=True)
        values = ", ".join(
            f"{name} {'-' if record.scores[name] is None else f'{record.scores[name]:.4f}'}"
            for name in COLUMNS[record.kind]
        )
        repaired = f" (repaired: its record was {before[0]})" if before else ""
        return f"{values}, {record.cost.seconds / 60:.1f} min{repaired}"

    def _stored(self) -> DownstreamRecord | None:
        """The record on the disk, with its faults."""
        if not self.path.is_file():
            return None
        record = read_record(self.path, DownstreamRecord)
        faults = box_faults(self.entry.experiment.out, record)
        return record.model_copy(update={"faults": (*record.faults, *faults)})

    @property
    def _folder(self) -> RunFolder:
        """Log and checkpoints of the training while it is not done."""
        return RunFolder(self.path.with_name(f".seed-{self.seed}"))

    def _fresh(self) -> Downstream:
        experiment = self.entry.experiment
        devices = [experiment.device] if experiment.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            # Made on the CPU, so that a seed means the same weights on every device.
            torch.manual_seed(self.seed)
            network = experiment.network(experiment.options, classes=experiment.classes)
        return network.to(experiment.device)

    def _train(
        self, network: Downstream, images: LabelledStore, progress: Progress | None
    ) -> tuple[Cost, tuple[tuple[int, float], ...]]:
        """Train from the last checkpoint on; return the cost of all sittings, and the losses by update."""
        experiment, folder = self.entry.experiment, self._folder
        what = f"{self.entry.name} trains {experiment.name} on {experiment.train.label}, seed {self.seed}"
        facts = {"identity": self.entry.identity, "seed": self.seed}
        try:
            kept = load_checkpoint(folder.path)
        except DataError:
            kept = None
        if kept is None or kept.facts != facts:
            # It is damaged, or of other data or another version of the method: the training starts again.
            shutil.rmtree(folder.path, ignore_errors=True)

        def train() -> float:
            trainer = DownstreamTrainer(network, images, experiment.protocol, seed=self.seed)
            take_steps(
                trainer,
                folder,
                facts=facts,
                advice=trainer.diverged_advice,
                logged=lambda done, _losses: progress(what, done, trainer.steps) if progress else None,
                log_every=max(trainer.steps // _LOGGED, 1),
                checkpoint_seconds=_CHECKPOINT_SECONDS,
            )
            network.eval()
            return trainer.seconds

        meter = Meter(experiment.device, memory=True)
        meter.begin()
        with float32_products():
            seconds = run_guarded(train)
        meter.end()
        meter.seconds = seconds
        return meter.cost(), tuple((row["step"], row["downstream.total"]) for row in folder.metrics())

    def _judged(
        self, predicted: Sequence[Tensor | Boxes], samples: LabelledStore
    ) -> tuple[tuple[Prediction, ...], dict[str, float | None], dict[str, dict[str, float | None]]]:
        """The predictions as they are written down, with the scores of all and of each class that follow from them."""
        experiment = self.entry.experiment
        images, counts, boxes = [], [], []
        files = self.entry.files(experiment.test)
        for k, (pair, file, seen) in enumerate(zip(experiment.test.pairs, files, predicted, strict=True)):
            known = samples.label(k)
            about: dict[str, Any] = {
                "name": pair.name,
                "fused": relative_path(file, experiment.out),
                "fused_sha256": file_digest(file),
                "sources": tuple(relative_path(source, experiment.out) for source in pair.files),
                "label": relative_path(pair.label, experiment.out) if pair.label else "",
                "label_sha256": pair_digests(experiment.test, pair)[-1],
            }
            if isinstance(seen, Tensor) and isinstance(known, Tensor):
                rows = confusion(seen, known, len(experiment.classes)).tolist()
                counts.append(tuple(tuple(row) for row in rows))
                mask = self._write_mask(pair.name, seen)
                images.append(Prediction(**about, mask=relative_path(mask, experiment.out), confusion=counts[-1]))
            elif isinstance(seen, Boxes) and isinstance(known, Boxes):
                written = _written(seen)
                boxes.append((as_boxes(written), known))
                images.append(Prediction(**about, boxes=written))
            else:
                raise PluginCallFailed(
                    f"{experiment.name} predicts {type(seen).__name__} where {experiment.network.kind} is its kind"
                )
        if counts:
            return tuple(images), *split_scores(counts, experiment.classes)
        return tuple(images), *detection_scores([p for p, _ in boxes], [k for _, k in boxes], experiment.classes)

    def _write_mask(self, name: str, mask: Tensor) -> Path:
        path = self.path.with_suffix("") / f"{file_name(name)}.png"
        pixels = mask.to(torch.uint8).cpu().numpy()
        with written_aside(path) as aside:
            aside.write_bytes(cv2.imencode(".png", np.ascontiguousarray(pixels))[1].tobytes())
        return path


def downstream_jobs(entry: ExperimentMethod, seeds: int, environment: Mapping[str, Any]) -> list[DownstreamJob]:
    """A job per seed.

    Args:
        entry: the method in its experiment.
        seeds: number of trainings.
        environment: versions and machine, for the record.
    """
    return [
        DownstreamJob(
            title=f"{entry.name} on {entry.experiment.test.label}, seed {seed}",
            label=(file_name(entry.name), DOWNSTREAM, *entry.experiment.table),
            part=str(seed),
            identity=entry.method.label_digest,
            entry=entry,
            seed=seed,
            environment=environment,
        )
        for seed in range(seeds)
    ]


def _predict(network: Downstream, samples: LabelledStore, experiment: Experiment) -> list[Tensor | Boxes]:
    assert experiment.protocol.size is not None
    seen: list[Tensor | Boxes] = []
    with torch.no_grad():
        for chosen in torch.arange(len(samples)).split(experiment.protocol.batch):
            rows = torch.zeros(len(chosen), SWAP + 1, dtype=torch.int64)
            rows[:, PAIR] = chosen
            (fused,) = samples.resized(rows, experiment.protocol.size).sources
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
