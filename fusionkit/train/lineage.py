"""Lineage of a run's weights: the models that it began from, and its extensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fusionkit.contracts import Fuser
from fusionkit.errors import DataError
from fusionkit.models.trained_model import find_trained_model
from fusionkit.models.weights import WeightsInfo, load_fuser

__all__ = ["Ancestor", "Extension", "load_initial_model"]

_TRAINING = ("method", "preset", "data", "split", "pairs", "fingerprint", "seed", "steps", "extensions")
"""Keys of an ancestor's own training that are kept."""


@dataclass(frozen=True)
class Ancestor:
    """A model whose weights a training began from.

    Attributes:
        model: its full name, or the absolute path of its file.
        sha256: digest of its file.
        fuser: registered fuser.
        task: the task it was trained for, or "".
        training: how it was trained, as far as its file says so: method, preset, data, split, pairs, fingerprint,
            seed, steps, extensions.
    """

    model: str
    sha256: str
    fuser: str
    task: str = ""
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str:
        """The training in one line; "" if the file does not say."""
        t = self.training
        preset = f"{t['preset']} preset" if t.get("preset") else ""
        steps = f"{t['steps']} steps" if t.get("steps") else ""
        data = f"on {t['data']}" if t.get("data") else ""
        seed = f"seed {t['seed']}" if "seed" in t else ""
        return ", ".join(part for part in (preset, steps, data, seed) if part)


@dataclass(frozen=True)
class Extension:
    """More epochs at the end of a finished run.

    Attributes:
        epochs: how many.
        step: number of steps that were taken before.
        sha256: digest of the weights file that the run had until then.
    """

    epochs: int
    step: int
    sha256: str


def load_initial_model(model: str, task: str, expected: Sequence[Ancestor] = ()) -> tuple[Fuser, list[Ancestor]]:
    """Load the model that a training begins from.

    Args:
        model: a weights file of fusionkit's, a run folder, or the name of a shipped model.
        task: the task of the training.
        expected: the lineage as a run recorded it when it began.

    Returns:
        The fuser, and its lineage: its own ancestors from the oldest on, then itself.

    Raises:
        fusionkit.errors.UsageError: no such model.
        fusionkit.errors.DataError: it cannot be read, or is not the one that ``expected`` ends with.
    """
    name, file = find_trained_model(expected[-1].model if expected else model, task)
    fuser, info = load_fuser(file)
    if expected and info.digest != expected[-1].sha256:
        raise DataError(
            f"trainer.init={model}: {file} is not the file that the run began from (its digest differs): restore it, "
            "or start a new run"
        )
    training = {key: info.training[key] for key in _TRAINING if key in info.training}
    return fuser, [*_ancestors(info, file), Ancestor(name, info.digest, info.fuser, info.task, training)]


def _ancestors(info: WeightsInfo, file: object) -> list[Ancestor]:
    stated: Mapping[str, Any] = info.training
    try:
        return TypeAdapter(list[Ancestor]).validate_python(stated.get("lineage", []))
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        raise DataError(f"{file}: its description is damaged (training.lineage: {why}): copy it again") from None
