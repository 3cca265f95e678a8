"""Checkpoints of a run: the trainer's state with its step, options and digest, written aside and checked on reading."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fusionkit.contracts import Trainer
from fusionkit.errors import DataError
from fusionkit.io.atomic import write_text, written_aside
from fusionkit.io.digest import file_digest
from fusionkit.io.regular_files import read_regular
from fusionkit.io.text import shortened

__all__ = ["Checkpoint", "load_checkpoint", "not_finite", "save_checkpoint", "take_up"]

FOLDER = "checkpoints"
_LATEST = "latest.json"
_KEEP = 2
_KEY = "fusionkit-checkpoint"


@dataclass(frozen=True)
class Checkpoint:
    """State of a training after a number of steps.

    Attributes:
        step: number of steps taken.
        state: what :meth:`fusionkit.contracts.Trainer.state` gave.
        facts: what fixes the training beside the state: seed, precision, options, extensions; empty in files of
            earlier versions.
    """

    step: int
    state: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Latest:
    step: int
    file: str
    sha256: str = ""


def not_finite(state: Mapping[str, Tensor]) -> str:
    """Return the name of a tensor that holds NaN or an infinity, or ``""``."""
    return next((n for n, v in state.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())), "")


def save_checkpoint(run: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint into the folder of a run; all but the one before it are deleted.

    Raises:
        fusionkit.errors.DataError: it cannot be written; the last one is untouched.
    """
    folder = run / FOLDER
    name = f"step-{checkpoint.step:08d}.safetensors"
    facts = {"step": checkpoint.step, "tensors": len(checkpoint.state), **checkpoint.facts}
    described = json.dumps(facts, sort_keys=True)
    with written_aside(folder / name) as aside:
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in checkpoint.state.items()}
        save_file(tensors, aside, metadata={_KEY: described})
    latest = {"step": checkpoint.step, "file": name, "sha256": file_digest(folder / name)}
    write_text(folder / _LATEST, json.dumps(latest) + "\n")
    for old in sorted(folder.glob("step-*.safetensors"))[:-_KEEP]:
        old.unlink(missing_ok=True)


def load_checkpoint(run: Path) -> Checkpoint | None:
    """Read the last checkpoint of a run; None if there is none yet.

    Raises:
        fusionkit.errors.DataError: it is damaged, was changed after it was written, or holds values that are not
            finite.
    """
    pointer = run / FOLDER / _LATEST
    if not pointer.is_file():
        return None
    try:
        latest = TypeAdapter(_Latest).validate_json(read_regular(pointer), strict=True)
    except (OSError, ValidationError) as error:
        raise DataError(f"{pointer}: is damaged ({_why(error)}): start the run afresh") from None
    numbered = re.fullmatch(r"step-(\d{8,12})\.safetensors", latest.file)
    if numbered is None or int(numbered[1]) != latest.step:
        shown = shortened(latest.file)
        raise DataError(f"{pointer}: says step {latest.step} and names the file {shown!r}: start the run afresh")
    file = pointer.parent / latest.file
    try:
        if latest.sha256 and file_digest(file) != latest.sha256:
            raise DataError(f"{file}: was changed after it was written (its digest differs): start the run afresh")
        with safe_open(file, "pt") as opened:
            described = json.loads((opened.metadata() or {}).get(_KEY, "{}"))
        state = load_file(file)
    except (OSError, SafetensorError, ValueError, RecursionError) as error:
        raise DataError(f"{file}: the checkpoint cannot be read ({_why(error)}): start the run afresh") from None
    facts = described if isinstance(described, dict) else {}
    step = facts.pop("step", latest.step)
    if step != latest.step:
        raise DataError(f"{file}: is of step {step}, and {pointer.name} says {latest.step}: start the run afresh")
    if facts.pop("tensors", len(state)) != len(state):
        raise DataError(
            f"{file}: lacks tensors, or has foreign ones: the checkpoint cannot be used: start the run afresh"
        )
    name = not_finite(state)
    if name:
        raise DataError(f"{file}: {name} holds values that are not finite: start the run afresh")
    return Checkpoint(step, state, facts)


def take_up(checkpoint: Checkpoint, trainer: Trainer, *, facts: Mapping[str, Any], run: Path) -> None:
    """Load a checkpoint into a trainer that fits it.

    Args:
        checkpoint: the checkpoint.
        trainer: a trainer with its initial state.
        facts: seed, precision, options and extensions of the run, to be compared with those of the checkpoint.
        run: the run's folder, for messages.

    Raises:
        fusionkit.errors.DataError: the facts differ, the step is beyond the schedule, or the tensors are not those of
            this training.
    """
    then, now = ({**each, "extensions": None} for each in (checkpoint.facts, facts))
    _check_facts(run, then, now)
    _check_extensions(run, checkpoint, facts.get("extensions", []))
    if checkpoint.step > trainer.steps:
        raise DataError(f"{run}: its checkpoint is of step {checkpoint.step} of {trainer.steps}: start the run afresh")
    try:
        trainer.load_state(checkpoint.state)
    except (KeyError, RuntimeError, TypeError) as error:  # what load_state_dict raises
        raise DataError(
            f"{run}: the checkpoint does not fit the networks of this version ({_why(error)}): start the run afresh"
        ) from error
    # Optimisers take what they find: a tensor that is missing would begin from zero.
    if _kinds(trainer.state()) != _kinds(checkpoint.state):
        raise DataError(f"{run}: its checkpoint has other tensors than this training: start the run afresh")


def _kinds(state: Mapping[str, Tensor]) -> list[tuple[str, tuple[int, ...]]]:
    """Types and shapes of a state's tensors in any order: names may be those of an earlier version."""
    return sorted((str(value.dtype), tuple(value.shape)) for value in state.values())


def _check_extensions(run: Path, checkpoint: Checkpoint, now: list[Any]) -> None:
    """Refuse extensions that are not the checkpoint's, but for one that begins right after it."""
    then = checkpoint.facts.get("extensions", [])
    begun = len(then) if isinstance(then, list) else 0
    if then != now[:begun] or (len(now) > begun and now[begun]["step"] != checkpoint.step):
        raise DataError(
            f"{run}: its record says extensions that its checkpoint of step {checkpoint.step} does not know: restore "
            "its run.json, or start a new run"
        )


def _check_facts(run: Path, then: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> None:
    for name in sorted(then.keys() & now.keys()):
        place = f"{prefix}{name}"
        if isinstance(then[name], Mapping) and isinstance(now[name], Mapping):
            _check_facts(run, then[name], now[name], "" if place == "options" else f"{place}.")
        # Compared as JSON, in which the checkpoint keeps them: a tuple is a list there.
        elif json.loads(json.dumps(now[name])) != then[name]:
            raise DataError(
                f"{run}: was trained with {place}={then[name]} up to its checkpoint, and now has {place}={now[name]}: "
                "set it back, or start a new run"
            )


def _why(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return ": ".join([*map(str, first["loc"]), first["msg"]])
    return shortened(" ".join(str(error).split()))
