"""What can fuse right after install: fusers that need no weights, and the trained models that plugins ship."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fusionkit.contracts import Fuser
from fusionkit.errors import FusionkitError, UsageError, did_you_mean
from fusionkit.models.card import ModelCard, read_card
from fusionkit.models.weights import read_info
from fusionkit.plugins import catalogue
from fusionkit.plugins.guard import PluginCallFailed, run_guarded

__all__ = ["DEFAULT_FUSER", "ModelEntry", "default_fuser", "find_model", "list_models"]

DEFAULT_FUSER = "refusion"
"""Whose shipped model a task gets where several fusers ship one and none is named."""


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One thing to fuse with.

    Attributes:
        name: what to call it here: ``"laplacian"``, ``"refusion-ivif"``.
        fuser: registered fuser.
        task: the task it was trained for; the tasks it is made for, or ``"any"``, where it needs no training.
        parameters: number of learned parameters.
        trained: its training in one line, or that it needs none, or that it has none yet.
        reference: the paper.
        file: the shipped weights; None where there are none.
        card: what is said of these; None where the plugin ships no card.
    """

    name: str
    fuser: str
    task: str
    parameters: int
    trained: str
    reference: str
    file: Path | None = None
    card: ModelCard | None = None

    @property
    def usable(self) -> bool:
        """Whether it can fuse as it is."""
        return self.file is not None or not self.parameters


def list_models() -> tuple[list[ModelEntry], list[str]]:
    """Every fuser that needs no training and every shipped model, and what could not be asked.

    Returns:
        The entries in order of fuser and task, fusers that have no weights yet among them; and one line a problem.
    """
    entries: list[ModelEntry] = []
    problems: list[str] = []
    for name in catalogue.fusers.names():
        try:
            entries += run_guarded(lambda name=name: _of(name, problems))  # type: ignore[misc]
        except PluginCallFailed as error:
            problems.append(f"{name}: {error}")
    return entries, problems


def find_model(name: str) -> ModelEntry:
    """One entry by its name.

    Raises:
        fusionkit.errors.UsageError: there is none.
    """
    entries = {entry.name: entry for entry in list_models()[0]}
    if name not in entries:
        raise UsageError(f"unknown model {name!r}: {did_you_mean(name, entries)}")
    return entries[name]


def default_fuser(task: str) -> str:
    """The fuser whose shipped model is taken for a task where none is named.

    It is the only one that ships a model for the task, or :data:`DEFAULT_FUSER` where that does.

    Raises:
        fusionkit.errors.UsageError: an unknown task, no model for it, or several and none of them the default.
    """
    catalogue.tasks.get(task)
    shipping = []
    for name in catalogue.fusers.names():
        try:
            if task in run_guarded(lambda name=name: catalogue.fusers.get(name).pretrained()):  # type: ignore[misc]
                shipping.append(name)
        except PluginCallFailed:  # said by list_models; a broken plugin must not keep the others from fusing
            continue
    if DEFAULT_FUSER in shipping or len(shipping) == 1:
        return DEFAULT_FUSER if DEFAULT_FUSER in shipping else shipping[0]
    if shipping:
        raise UsageError(f"several fusers have a model for {task}: say which with --model ({', '.join(shipping)})")
    raise UsageError(
        f"no installed fuser has a trained model for {task}: give one with --model (a run folder, a weights file, or "
        f"a fuser that needs no training), or train one: fusionkit train {DEFAULT_FUSER} --task {task}"
    )


def _of(name: str, problems: list[str]) -> list[ModelEntry]:
    kind: type[Fuser] = catalogue.fusers.get(name)
    parameters = sum(p.numel() for p in kind().parameters())
    shipped = kind.pretrained()
    if not shipped:
        trained = f"not yet: fusionkit train {name} --task TASK" if parameters else "needs no training"
        task = "" if parameters else ", ".join(kind.tasks) if kind.tasks else "any"
        return [
            ModelEntry(
                name=name, fuser=name, task=task, parameters=parameters, trained=trained, reference=kind.reference
            )
        ]
    return [_shipped(name, task, file, kind, problems) for task, file in shipped.items()]


def _shipped(name: str, task: str, file: Path, kind: type[Fuser], problems: list[str]) -> ModelEntry:
    parameters, trained, card = sum(p.numel() for p in kind().parameters()), "", None
    try:
        training = read_info(file).training
        trained = f"{training.get('preset', '?')} preset, {training.get('steps', '?')} steps"
        card = read_card(file)
    except FusionkitError as error:
        problems.append(str(error))
        trained = trained or "cannot be read"
    return ModelEntry(
        name=f"{name}-{task}",
        fuser=name,
        task=task,
        parameters=card.parameters if card else parameters,
        trained=card.line if card else trained,
        reference=kind.reference,
        file=file,
        card=card,
    )
