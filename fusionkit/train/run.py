"""The run loop: builds a trainer, takes its steps, keeps the log, the checkpoints and the pictures."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from fusionkit.config import as_dict, current_names, merged, read_toml, resolve
from fusionkit.contracts import MetaTrainer
from fusionkit.data.labels import find_labelled, verify_labels
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.data.pair_finding import find_pairs, verify
from fusionkit.data.pair_set import PairSet
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import DataError, DivergedError, LostProcessError, UsageError, did_you_mean
from fusionkit.label_types import LabelKind
from fusionkit.models.weights import WeightsInfo, save_companion, save_fuser
from fusionkit.plugins import catalogue
from fusionkit.runtime.devices import choose_device, memory_checked
from fusionkit.runtime.processes import Processes, joined
from fusionkit.train.checkpoints import Checkpoint, load_checkpoint, not_finite, save_checkpoint, take_up
from fusionkit.train.figures import draw_run, save_snapshot
from fusionkit.train.run_folder import RunFolder, RunRecord, environment

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


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal, after a checkpoint."""


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
    kind = catalogue.trainers.get(request.method)
    preset, layers = _layers(kind, request)
    options: Any = resolve(kind.Config, *layers)
    device = choose_device(request.device)
    pairs = _pairs(request, kind.label_kind(options))
    given = merged(*(values for origin, values in layers if not origin.startswith("preset ")))
    record = RunRecord(
        method=request.method,
        task=request.task,
        data=_absolute(request.data),
        split=request.split,
        preset=preset,
        given=given,
        seed=request.seed,
        device=device.type,
        precision=request.precision,
        pairs=len(pairs),
        fingerprint=pairs.fingerprint(),
        environment=environment(),
    )
    with memory_checked(kind.out_of_memory_advice), joined(device) as processes:
        trainer = _build(kind, options, pairs, record, device, processes)
        record.environment["processes"] = processes.count
        folder = processes.from_first(lambda: RunFolder.create(out or _free_folder(record), record, as_dict(options)))
        _run(folder, record, trainer, processes, **settings)
    return folder


def resume(path: Path, *, device: str | None = None, data: str | None = None, **settings: Any) -> RunFolder:
    """Go on with a run where its last checkpoint left it; a run that is done is left as it is.

    The number of processes may be another than before.

    Args:
        path: the run's folder, which every process can read.
        device: another device than it ran on.
        data: where the training pairs lie now, if they were moved; they must be the same.
        settings: see :func:`run`.

    Raises:
        DataError: no run there, a damaged checkpoint, options or a seed that were changed, or training pairs that are
            not the same any more.
    """
    folder = RunFolder.open(path)
    record = folder.record
    if folder.model.is_file():
        return folder
    kind = catalogue.trainers.get(record.method)
    options: Any = resolve(kind.Config, (str(path / "config.toml"), read_toml(path / "config.toml")))
    place_of_data = data or record.data
    request = TrainRequest(method=record.method, task=record.task, data=place_of_data, split=record.split)
    pairs = _pairs(request, kind.label_kind(options))
    if not _same_pairs(pairs, record):
        raise DataError(
            f"{place_of_data}: is not the data that {path} began with: restore it, give its place by --data, or start "
            "a new run"
        )
    record = replace(record, device=device or record.device, data=_absolute(place_of_data))
    place = choose_device(record.device)
    with memory_checked(kind.out_of_memory_advice), joined(place) as processes:
        trainer = _build(kind, options, pairs, record, place, processes)
        resumed = environment() | {"device": place.type, "processes": processes.count}
        _run(folder, record, trainer, processes, resumed=resumed, **settings)
    return folder


def _run(
    folder: RunFolder,
    record: RunRecord,
    trainer: MetaTrainer,
    processes: Processes,
    *,
    resumed: Mapping[str, Any] | None = None,
    report: Report | None = None,
    log_every: int = 10,
    checkpoint_seconds: float = 60.0,
) -> None:
    with folder.held() if processes.first else nullcontext():
        try:
            _take_steps(folder, record, trainer, processes, resumed, report, log_every, checkpoint_seconds)
        except LostProcessError as error:
            how = f"go on, with as many as there are, by: train --resume {folder.path}"
            raise LostProcessError(f"{error}; {how}") from None
        if processes.first:
            _finish(folder, record, trainer)


def _take_steps(
    folder: RunFolder,
    record: RunRecord,
    trainer: MetaTrainer,
    processes: Processes,
    resumed: Mapping[str, Any] | None,
    report: Report | None,
    log_every: int,
    checkpoint_seconds: float,
) -> None:
    with _stop_requested() as stop:
        done = _take_up(folder, record, trainer, processes)
        if resumed is not None and processes.first:
            folder.append_metrics({"event": "resume", "step": done, "environment": dict(resumed)})
        shown = [trainer.source.whole(index) for index in sorted({0, len(trainer.source) // 2})]
        if done == 0 and processes.first:
            save_snapshot(folder.path, 0, shown, trainer)
        pending: list[tuple[str, Mapping[str, Tensor]]] = []
        saved_at, saved_step, began, began_at = time.monotonic(), done, time.monotonic(), done
        while done < trainer.steps:
            pending.append((trainer.stage(done), trainer.step(done)))
            done += 1
            # Several processes come to a stop together, at the next interval.
            stop_now = stop.is_set() and processes.count == 1
            if done % log_every and done < trainer.steps and not stop_now:
                continue
            # The only place where the host waits for the device.
            losses = _means(pending, processes)
            pending.clear()
            _check_finite(losses, done, folder, saved_step, record.precision, trainer.diverged_advice)
            due = time.monotonic() - saved_at >= checkpoint_seconds
            stopped, due = processes.any(stop.is_set(), due and processes.first)
            save = stopped or due or done == trainer.steps
            if processes.first:
                _log(folder, done, losses, (time.monotonic() - began) / (done - began_at))
                if report is not None:
                    report(done, trainer.steps, losses)
                if done == trainer.steps or _pictured(done, trainer.steps) > _pictured(done - log_every, trainer.steps):
                    save_snapshot(folder.path, done, shown, trainer)
            if save:
                state = trainer.state()
                _check_state(state, done, folder, saved_step, trainer.diverged_advice)
                if processes.first:
                    save_checkpoint(folder.path, Checkpoint(done, state, _facts(record, trainer)))
                saved_at, saved_step = time.monotonic(), done
            if stopped and done < trainer.steps:
                raise Interrupted(f"stopped after step {done}; go on with: fusionkit train --resume {folder.path}")


def _finish(folder: RunFolder, record: RunRecord, trainer: MetaTrainer) -> None:
    # Weights can be finite and too large to compute with.
    if not_finite(trainer.snapshot(trainer.source.whole(0))):
        raise DivergedError(
            f"{folder.path}: the trained fuser gives values that are not finite; no model was written. Start again "
            f"{trainer.diverged_advice}"
        )
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


def _pairs(request: TrainRequest, labels: LabelKind | None) -> PairSet:
    task = catalogue.tasks.get(request.task)
    if labels is None:
        pairs = find_pairs(request.data, task, split=request.split)
        verify(pairs)
    else:
        pairs = find_labelled(request.data, task, labels, split=request.split)
        verify(pairs)
        verify_labels(pairs)
    return pairs


def _same_pairs(pairs: PairSet, record: RunRecord) -> bool:
    """Return whether the pairs are the run's, perhaps in a folder of another name, which is their data set's name."""
    if pairs.fingerprint() == record.fingerprint:
        return True
    former = Path(record.data).name
    renamed = replace(pairs, pairs=tuple(replace(pair, dataset=former) for pair in pairs))
    return renamed.fingerprint() == record.fingerprint


def _build(
    kind: type[MetaTrainer],
    options: Any,
    pairs: PairSet,
    record: RunRecord,
    device: torch.device,
    processes: Processes,
) -> MetaTrainer:
    if record.precision not in ("fp32", "tf32", "bf16"):
        raise UsageError(f"--precision {record.precision}: {did_you_mean(record.precision, ('fp32', 'tf32', 'bf16'))}")
    if record.precision == "tf32":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    space = catalogue.fusers.get(kind.fuser_name).space
    kept = PairStore if pairs.labels is None else LabelledStore
    store = kept.from_pairs(pairs, device=device, space=space, smallest=kind.crop(options))
    trainer = kind(options, store, device=device, precision=record.precision, seed=record.seed)
    if processes.count > 1:
        trainer.join(processes)
    return trainer


def _facts(record: RunRecord, trainer: MetaTrainer) -> dict[str, Any]:
    """Facts that a checkpoint's state rests on: a resumed run must have the same."""
    return {"seed": record.seed, "precision": record.precision, "options": as_dict(trainer.config)}


def _take_up(folder: RunFolder, record: RunRecord, trainer: MetaTrainer, processes: Processes) -> int:
    """Load the last checkpoint, if any, and return the steps that it holds."""
    # One process reads for all of them: they must not begin from different checkpoints.
    found: Checkpoint | None = processes.from_first(lambda: load_checkpoint(folder.path))
    if found is not None:
        take_up(found, trainer, facts=_facts(record, trainer), run=folder.path)
    done = 0 if found is None else found.step
    if processes.first:
        folder.rewind_metrics(done)
    return done


def _check_state(state: Mapping[str, Tensor], step: int, folder: RunFolder, saved: int, advice: str) -> None:
    name = not_finite(state)
    if name:
        kept = f"the checkpoint of step {saved} is kept" if saved else "no checkpoint was written yet"
        raise DivergedError(f"{folder.path}: {name} is not finite after step {step}; {kept}. Start again {advice}")


def _absolute(spec: str) -> str:
    name, colon, place = spec.partition(":")
    if colon and not Path(spec).exists():
        return f"{name}:{Path(place).resolve()}"
    return str(Path(spec).resolve()) if Path(spec).exists() else spec


def _means(pending: list[tuple[str, Mapping[str, Tensor]]], processes: Processes) -> dict[str, float]:
    gathered: dict[str, list[Tensor]] = {}
    for stage, terms in pending:
        for name, value in terms.items():
            gathered.setdefault(f"{stage}.{name}", []).append(value.detach().float())
    means = processes.mean({name: torch.stack(values).mean() for name, values in gathered.items()})
    return {name: float(value) for name, value in means.items()}


def _check_finite(
    losses: Mapping[str, float], step: int, folder: RunFolder, saved: int, precision: str, advice: str
) -> None:
    for name, value in losses.items():
        if value != value or value in (float("inf"), float("-inf")):
            kept = f"the checkpoint of step {saved} is kept" if saved else "no checkpoint was written yet"
            rounded = f"with --precision fp32 (it ran in {precision})"
            remedy = advice if precision == "fp32" else rounded
            raise DivergedError(
                f"{folder.path}: the loss {name} is {value} at step {step}; {kept}. Start again {remedy}"
            )


def _pictured(done: int, steps: int) -> int:
    return max(done, 0) * SNAPSHOTS // steps


def _log(folder: RunFolder, step: int, losses: Mapping[str, float], seconds: float) -> None:
    folder.append_metrics({"step": step, "seconds_per_step": round(seconds, 5), **losses})


@contextmanager
def _stop_requested() -> Iterator[threading.Event]:
    """Turn Ctrl-C and a polite kill into a flag, so that a step is never cut in half."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def ask(_signal: int, _frame: FrameType | None) -> None:
        # torchrun passes a Ctrl-C on as a kill, which is the same request once more.
        if asked.is_set() and _signal == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
