"""The loop over the steps of a training: its log and checkpoints, resuming from them, and stopping when asked to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from fusionkit.contracts import Trainer
from fusionkit.errors import DataError
from fusionkit.runtime.processes import ALONE, Processes
from fusionkit.train.checkpoints import Checkpoint, load_checkpoint, save_checkpoint, take_up
from fusionkit.train.divergence import check_losses, check_state
from fusionkit.train.run_folder import RunFolder
from fusionkit.train.signals import stop_requested

__all__ = ["Interrupted", "take_steps"]


class Interrupted(KeyboardInterrupt):
    """The training was stopped by a signal, after a checkpoint."""


def take_steps(
    trainer: Trainer,
    folder: RunFolder,
    *,
    facts: Mapping[str, Any],
    advice: str,
    logged: Callable[[int, Mapping[str, float]], None],
    begun: Callable[[int], None] | None = None,
    processes: Processes = ALONE,
    log_every: int = 10,
    checkpoint_seconds: float = 60.0,
) -> None:
    """Take the steps that are left of a training, from the last checkpoint in its folder on, if there is one.

    Args:
        trainer: a trainer with its initial state.
        folder: where the log of losses and the checkpoints are.
        facts: what fixes the training beside its state: a checkpoint with others is refused.
        advice: remedy for a loss that is not finite, after "Start again".
        logged: called in the first process at every log interval with the steps done and the losses by ``stage.term``.
        begun: called in the first process before the first step with the steps that the checkpoint holds.
        processes: those of the training.
        log_every: steps per log interval.
        checkpoint_seconds: least time between two checkpoints; there is one at the end in any case.

    Raises:
        fusionkit.errors.DataError: a checkpoint that does not fit, or a file that cannot be written.
        fusionkit.errors.DivergedError: a loss or a state that is not finite.
        fusionkit.errors.LostProcessError: another process of the training is gone.
        Interrupted: a signal asked for it; the last checkpoint holds every step that was taken.
    """
    with stop_requested() as stop:
        done = _take_up(folder, facts, trainer, processes)
        if begun is not None and processes.first:
            begun(done)
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
            check_losses(losses, done, folder.path, saved_step, advice=advice)
            due = time.monotonic() - saved_at >= checkpoint_seconds
            stopped, due = processes.any(stop.is_set(), due and processes.first)
            if processes.first:
                seconds = (time.monotonic() - began) / (done - began_at)
                folder.append_metrics({"step": done, "seconds_per_step": round(seconds, 5), **losses})
                logged(done, losses)
            if stopped or due or done == trainer.steps:
                state = trainer.state()
                check_state(state, done, folder.path, saved_step, advice=advice)
                if processes.first:
                    save_checkpoint(folder.path, Checkpoint(done, state, facts))
                saved_at, saved_step = time.monotonic(), done
            if stopped and done < trainer.steps:
                raise Interrupted(f"stopped after step {done}")


def _take_up(folder: RunFolder, facts: Mapping[str, Any], trainer: Trainer, processes: Processes) -> int:
    """Load the last checkpoint, if any, and return the steps that it holds."""
    # One process reads for all of them: they must not begin from different checkpoints.
    found: Checkpoint | None = processes.from_first(lambda: load_checkpoint(folder.path))
    if found is not None:
        take_up(found, trainer, facts=facts, run=folder.path)
    elif facts.get("extensions"):
        raise DataError(f"{folder.path}: was extended, and its checkpoints are gone: restore them, or start a new run")
    done = 0 if found is None else found.step
    if processes.first:
        folder.rewind_metrics(done)
    return done


def _means(pending: list[tuple[str, Mapping[str, Tensor]]], processes: Processes) -> dict[str, float]:
    gathered: dict[str, list[Tensor]] = {}
    for stage, terms in pending:
        for name, value in terms.items():
            gathered.setdefault(f"{stage}.{name}", []).append(value.detach().float())
    means = processes.mean({name: torch.stack(values).mean() for name, values in gathered.items()})
    return {name: float(value) for name, value in means.items()}
