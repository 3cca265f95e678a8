"""Runs: from a request to a trainer, its steps, pictures, and the trained fuser in the run's folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fusionkit.config import as_dict, current_names, merged, read_toml, resolve
from fusionkit.contracts import MetaTrainer
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.data.pair_set import PairSet
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import DataError, LostProcessError, UsageError, did_you_mean
from fusionkit.models.weights import WeightsInfo, read_info, save_companion, save_fuser
from fusionkit.plugins import catalogue
from fusionkit.runtime.devices import choose_device, memory_checked
from fusionkit.runtime.precision import float32_products
from fusionkit.runtime.processes import Processes, joined
from fusionkit.train.checkpoints import Checkpoint, load_checkpoint, take_up
from fusionkit.train.divergence import check_fuser
from fusionkit.train.event_log import EventLog
from fusionkit.train.figures import draw_run, save_snapshot
from fusionkit.train.lineage import Extension, load_initial_model
from fusionkit.train.loop import Interrupted, take_steps
from fusionkit.train.run_folder import RunFolder, RunRecord, environment
from fusionkit.train.training_pairs import absolute_place, are_those_of, find_training_pairs

SNAPSHOTS = 8
"""Number of snapshots of a run, spread evenly over it."""

Report = Callable[[int, int, Mapping[str, float]], None]
"""Called at every log interval with steps done, steps in all, and the losses by ``stage.term``."""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Request of a training, as a user gives it.

    Attributes:
        method: registered trainer.
        task: registered task.
        data: see :func:`fusionkit.data.find_pairs`.
        split: which split of the data; a set without splits is taken whole.
        preset: preset of the method; None takes its first.
        file: options from a TOML file, over the preset.
        options: options over those.
        downstream: the outer loss to train for, by its registered name, for methods with an option ``downstream``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        precision: ``"fp32"``, ``"tf32"`` or ``"bf16"``.
        seed: of weights and draws.
    """

    method: str
    task: str
    data: str = "sample"
    split: str = "train"
    preset: str | None = None
    file: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None
    downstream: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    seed: int = 0


def start(request: TrainRequest, out: Path | None = None, **settings: Any) -> RunFolder:
    """Train from the beginning in a new run folder; under ``torchrun``, as one of its processes.

    Args:
        request: what to train.
        out: the run's folder, which must not hold a run; None takes a free ``runs/METHOD-TASK-PRESET``.
        settings: see :func:`run`.

    Raises:
        UsageError: an unknown name or a wrong option.
        DataError: pairs that cannot be used, or a folder that cannot be written.
        DivergedError: a loss that is not finite.
        LostProcessError: another process of the run is gone.
    """
    if not 0 <= request.seed < 2**63:
        raise UsageError(f"--seed {request.seed}: give a whole number from 0 to 2^63 - 1")
    kind = catalogue.trainers.get(request.method)
    preset, layers = _layers(kind, request)
    options: Any = resolve(kind.Config, *layers)
    device = choose_device(request.device)
    pairs = find_training_pairs(request.data, task=request.task, split=request.split, labels=kind.label_kind(options))
    given = merged(*(values for origin, values in layers if not origin.startswith("preset ")))
    record = RunRecord(
        method=request.method,
        task=request.task,
        data=absolute_place(request.data),
        split=request.split,
        preset=preset,
        given=given,
        seed=request.seed,
        device=device.type,
        precision=request.precision,
        pairs=len(pairs),
        fingerprint=pairs.fingerprint(),
        environment=environment(),
        trained_on=[name for name in pairs.datasets if name],
    )
    with memory_checked(kind.out_of_memory_advice), _products(record), joined(device) as processes:
        trainer = _build(kind, options, pairs, record, device, processes)
        record.environment["processes"] = processes.count
        record = _begin(trainer, record, kind.initial_model(options))
        folder = processes.from_first(lambda: RunFolder.create(out or _free_folder(record), record, as_dict(options)))
        _run(folder, record, trainer, processes, _facts(record, options), **settings)
    return folder


def resume(
    path: Path, *, device: str | None = None, data: str | None = None, extend: int = 0, **settings: Any
) -> RunFolder:
    """Go on with a run where its last checkpoint left it; a run that is done is left as it is, unless it is extended.

    The number of processes may be another than before.

    Args:
        path: the run's folder, which every process can read.
        extend: train a finished run for so many more epochs. Until they are done the folder keeps the weights that it
            has; a copy of them stays as ``model-step-<n>.safetensors``. If they are interrupted, go on without
            ``extend``.
        device: another device than it ran on.
        data: where the training pairs lie now, if they were moved; they must be the same.
        settings: see :func:`run`.

    Raises:
        DataError: no run there, a damaged checkpoint, options or a seed that were changed, or training pairs that are
            not the same any more.
        UsageError: a run to extend that is not finished, or whose trainer cannot extend it.
    """
    folder = RunFolder.open(path)
    record = folder.record
    if folder.is_finished and not extend:
        return folder
    if extend and not folder.is_finished:
        raise UsageError(f"{path}: is not finished: go on with it by --resume alone, and extend it when it is")
    kind = catalogue.trainers.get(record.method)
    options: Any = resolve(kind.Config, (str(path / "config.toml"), read_toml(path / "config.toml")))
    extended = options
    for epochs in [*(extension.epochs for extension in record.extensions), *([extend] if extend else [])]:
        extended = kind.extended(extended, epochs)
    place_of_data = data or record.data
    pairs = find_training_pairs(place_of_data, task=record.task, split=record.split, labels=kind.label_kind(options))
    if not are_those_of(pairs, record):
        raise DataError(
            f"{place_of_data}: is not the data that {path} began with: restore it, give its place by --data, or start "
            "a new run"
        )
    record = replace(record, device=device or record.device, data=absolute_place(place_of_data))
    place = choose_device(record.device)
    with memory_checked(kind.out_of_memory_advice), _products(record), joined(place) as processes:
        trainer = _build(kind, extended, pairs, record, place, processes)
        if record.lineage and load_checkpoint(path) is None:
            _begin(trainer, record, kind.initial_model(options))
        if extend:
            record = _extend(folder, record, trainer, extend, options, processes)
        resumed = environment() | {"device": place.type, "processes": processes.count}
        _run(folder, record, trainer, processes, _facts(record, options), resumed=resumed, **settings)
    return folder


def _begin(trainer: MetaTrainer, record: RunRecord, model: str) -> RunRecord:
    """Give the fuser the weights of the model that the options name, if any, and return the record with its lineage."""
    if not model:
        return record
    fuser, lineage = load_initial_model(model, record.task, record.lineage)
    trainer.begin_from(fuser)
    return replace(record, lineage=lineage)


def _extend(
    folder: RunFolder, record: RunRecord, trainer: MetaTrainer, epochs: int, options: Any, processes: Processes
) -> RunRecord:
    """Write into a finished run's record that it goes on; nothing is written if it cannot."""
    found: Checkpoint | None = processes.from_first(lambda: load_checkpoint(folder.path))
    info = read_info(folder.model)
    if found is None or found.step != info.training.get("steps"):
        raise DataError(
            f"{folder.path}: has no checkpoint of its last step to go on from: start a new run with "
            f"--set trainer.init={folder.path}"
        )
    extension = Extension(epochs, found.step, info.digest)
    record = replace(record, extensions=[*record.extensions, extension])
    take_up(found, trainer, facts=_facts(record, options), run=folder.path)
    processes.from_first(lambda: folder.extend(extension))
    return record


def _run(
    folder: RunFolder,
    record: RunRecord,
    trainer: MetaTrainer,
    processes: Processes,
    facts: Mapping[str, Any],
    *,
    resumed: Mapping[str, Any] | None = None,
    report: Report | None = None,
    log_every: int = 10,
    checkpoint_seconds: float = 60.0,
    tensorboard: bool = False,
) -> None:
    # An extra that is missing is said before the first step.
    events = EventLog(folder.path) if tensorboard and processes.first else None
    with folder.held() if processes.first else nullcontext():
        try:
            _take_steps(
                folder, record, trainer, processes, facts, resumed, report, log_every, checkpoint_seconds, events
            )
        except LostProcessError as error:
            how = f"go on, with as many as there are, by: train --resume {folder.path}"
            raise LostProcessError(f"{error}; {how}") from None
        except Interrupted as stopped:
            raise Interrupted(f"{stopped}; go on with: fusionkit train --resume {folder.path}") from None
        finally:
            if events is not None:
                events.close()
        if processes.first:
            _finish(folder, record, trainer)


def _take_steps(
    folder: RunFolder,
    record: RunRecord,
    trainer: MetaTrainer,
    processes: Processes,
    facts: Mapping[str, Any],
    resumed: Mapping[str, Any] | None,
    report: Report | None,
    log_every: int,
    checkpoint_seconds: float,
    events: EventLog | None,
) -> None:
    shown = [trainer.source.whole(index) for index in sorted({0, len(trainer.source) // 2})]

    def begun(done: int) -> None:
        if resumed is not None:
            folder.append_metrics({"event": "resume", "step": done, "environment": dict(resumed)})
        if events is not None:
            events.begin(done, facts["options"])
        if done == 0:
            save_snapshot(folder.path, 0, shown, trainer)

    def logged(done: int, losses: Mapping[str, float]) -> None:
        if report is not None:
            report(done, trainer.steps, losses)
        if events is not None:
            events.add_losses(done, losses)
        if done == trainer.steps or _pictured(done, trainer.steps) > _pictured(done - log_every, trainer.steps):
            save_snapshot(folder.path, done, shown, trainer)
            if events is not None:
                events.add_pictures(done)

    rounded = f"with --precision fp32 (it ran in {record.precision})"
    take_steps(
        trainer,
        folder,
        facts=facts,
        advice=trainer.diverged_advice if record.precision == "fp32" else rounded,
        processes=processes,
        begun=begun,
        logged=logged,
        log_every=log_every,
        checkpoint_seconds=checkpoint_seconds,
    )


def _finish(folder: RunFolder, record: RunRecord, trainer: MetaTrainer) -> None:
    check_fuser(trainer, folder.path)
    draw_run(folder)
    training = {**asdict(record), "steps": trainer.steps, "options": as_dict(trainer.config)}
    events = folder.events()
    if events:
        # The record says where the run began; these say where each later part of it ran.
        training["resumed"] = [{key: value for key, value in row.items() if key != "event"} for row in events]
    for name, companion in trainer.companions().items():
        save_companion(folder.path / f"{name}.safetensors", companion)
    # The fuser comes last: a folder with it holds a whole run.
    save_fuser(
        folder.model,
        trainer.fuser(),
        WeightsInfo(
            fuser=trainer.fuser_name, task=record.task, config=as_dict(trainer.fuser().config), training=training
        ),
    )


def _layers(kind: type[MetaTrainer], request: TrainRequest) -> tuple[str, list[tuple[str, Mapping[str, Any]]]]:
    presets = dict(kind.presets)
    name = request.preset or next(iter(presets), "")
    if name and name not in presets:
        raise UsageError(f"--preset {name}: {request.method} has no such preset: {did_you_mean(name, presets)}")
    layers = [(f"preset {name}", presets.get(name, {}))]
    layers += [("--config", request.file or {}), ("--set", request.options or {})]
    if request.downstream is not None:
        if not kind.downstream:
            raise UsageError(
                f"--downstream {request.downstream}: {request.method} is not trained for a downstream task; "
                "leave it out, or train a method that has the option 'downstream'"
            )
        catalogue.outer_losses.get(request.downstream)
        layers.append(("--downstream", {"downstream": request.downstream}))
    return name, [(origin, current_names(kind.Config, values, origin)) for origin, values in layers]


def _free_folder(record: RunRecord) -> Path:
    stem = "-".join(part for part in (record.method.replace(":", "-"), record.task, record.preset) if part)
    names = (f"{stem}-{k}" if k > 1 else stem for k in itertools.count(1))
    return next(folder for folder in (Path("runs") / name for name in names) if not folder.exists())


def _products(record: RunRecord) -> AbstractContextManager[None]:
    if record.precision not in ("fp32", "tf32", "bf16"):
        raise UsageError(f"--precision {record.precision}: {did_you_mean(record.precision, ('fp32', 'tf32', 'bf16'))}")
    return float32_products(tf32=record.precision == "tf32")


def _build(
    kind: type[MetaTrainer],
    options: Any,
    pairs: PairSet,
    record: RunRecord,
    device: torch.device,
    processes: Processes,
) -> MetaTrainer:
    space = catalogue.fusers.get(kind.fuser_name).space
    kept = PairStore if pairs.labels is None else LabelledStore
    store = kept.from_pairs(pairs, device=device, space=space, smallest=kind.crop(options))
    trainer = kind(options, store, device=device, precision=record.precision, seed=record.seed)
    if processes.count > 1:
        trainer.join(processes)
    return trainer


def _facts(record: RunRecord, options: Any) -> dict[str, Any]:
    """Facts that a checkpoint's state rests on, with the options as they were before any extension."""
    return {
        "seed": record.seed,
        "precision": record.precision,
        "options": as_dict(options),
        "extensions": [asdict(extension) for extension in record.extensions],
    }


def _pictured(done: int, steps: int) -> int:
    return max(done, 0) * SNAPSHOTS // steps
