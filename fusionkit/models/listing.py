"""Lists what can fuse right after install: fusers that need no weights, and the trained models that plugins ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from fusionkit.contracts import Capabilities, Fuser, ShippedModel
from fusionkit.errors import FusionkitError, UsageError, did_you_mean
from fusionkit.models.card import ModelCard, read_card
from fusionkit.models.roles import preferred_fuser
from fusionkit.models.shipped import current_model, shipped_models
from fusionkit.models.weights import read_info
from fusionkit.plugins import catalogue
from fusionkit.plugins.guard import PluginCallFailed, run_guarded

__all__ = ["ModelEntry", "default_fuser", "find_model", "list_models", "select_models"]


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A fuser or one of its shipped models.

    Attributes:
        name: its full name: ``"laplacian"``, ``"refusion:ivif@v1"``.
        fuser: registered fuser.
        task: the task it was trained for; if it needs no training, the tasks it is made for, or ``"any"``.
        parameters: number of learned parameters.
        trained: its training in one line, or that it needs none, or that it has none yet.
        reference: the paper.
        capabilities: what the fuser can do.
        tag: tag of a shipped model; "" for a fuser without one.
        current: whether its task stands for it without a tag.
        superseded_by: tag of the model that replaces it, or "".
        file: the shipped weights, or None.
        card: the card of these weights, or None if the plugin ships none.
    """

    name: str
    fuser: str
    task: str
    parameters: int
    trained: str
    reference: str
    capabilities: Capabilities
    tag: str = ""
    current: bool = True
    superseded_by: str = ""
    file: Path | None = None
    card: ModelCard | None = None

    @property
    def usable(self) -> bool:
        """True if it can fuse without training."""
        return self.file is not None or not self.parameters

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that finds it: the full one first, then ``FUSER:TASK`` of a current model."""
        return (self.name, f"{self.fuser}:{self.task}") if self.tag and self.current else (self.name,)

    @property
    def old_name(self) -> str:
        """The name of a current model before models had tags: ``"refusion-ivif"``; "" for others."""
        return f"{self.fuser}-{self.task}" if self.tag and self.current else ""


def list_models() -> tuple[list[ModelEntry], list[str]]:
    """List every fuser and every shipped model.

    Returns:
        The entries in order of fuser and task, including fusers that have no weights yet; and one line per plugin or
        model that cannot be read.
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
    """Find one entry by its name; ``FUSER:TASK`` finds the current model of the task.

    Raises:
        fusionkit.errors.UsageError: there is none.
    """
    entries = list_models()[0]
    for entry in entries:
        if name in (*entry.names, entry.old_name):
            return entry
    known = [each for entry in entries for each in entry.names]
    raise UsageError(f"unknown model {name!r}: {did_you_mean(name, known)}")


def select_models(entries: Sequence[ModelEntry], patterns: Sequence[str]) -> list[ModelEntry]:
    """Select the entries whose name, or whose fuser's name, matches one of the patterns.

    Args:
        entries: what to select from.
        patterns: names with ``*``, ``?`` and ``[...]`` as in a shell; all entries if there are none.

    Raises:
        fusionkit.errors.UsageError: a pattern matches nothing.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = {e.name for e in entries if any(fnmatchcase(name, pattern) for name in (*e.names, e.fuser))}
        if not found:
            raise UsageError(f"no model matches {pattern!r}: {did_you_mean(pattern, [e.name for e in entries])}")
        chosen |= found
    return [entry for entry in entries if entry.name in chosen or not patterns]


def default_fuser(task: str) -> str:
    """Choose the fuser, or the shipped model of another task, that is used for a task by default.

    It is the only fuser that ships a model for the task, or the one whose class says ``default_for`` this task and
    which ships a model for it or needs none; else the ``default_model`` that the task states.

    Raises:
        fusionkit.errors.UsageError: an unknown task, no model for it, or several and none of them the default.
    """
    stated = catalogue.tasks.get(task).default_model
    shipping = []
    for name in catalogue.fusers.names():
        try:
            if run_guarded(lambda name=name: _can_fuse(catalogue.fusers.get(name), task)):  # type: ignore[misc]
                shipping.append(name)
        except PluginCallFailed:  # list_models reports it; a broken plugin must not keep the others from fusing
            continue
    if chosen := preferred_fuser(task, shipping):
        return chosen
    if shipping:
        raise UsageError(f"several fusers have a model for {task}: say which with --model ({', '.join(shipping)})")
    if stated:
        return stated
    raise UsageError(
        f"no installed fuser has a trained model for {task}: give one with --model (a run folder, a weights file, or "
        f"a fuser that needs no training), or train one: fusionkit train METHOD --task {task} "
        f"(methods: {', '.join(catalogue.trainers.names())})"
    )


def how_to_get_weights(kind: type[Fuser], name: str, task: str = "TASK") -> str:
    """Say how a fuser gets weights: by training or, if its authors published some, by importing them."""
    if kind.published_weights:
        weights = kind.published_weights[0]
        return f"import its authors' weights: fusionkit weights import FILE ({weights.source}; {weights.terms})"
    return f"not yet: fusionkit train {name} --task {task}"


def _can_fuse(kind: type[Fuser], task: str) -> bool:
    """Return whether a fuser ships a model for a task, or is its default and has nothing to learn."""
    if current_model(shipped_models(kind), task) is not None:
        return True
    return task in kind.default_for and not any(True for _ in kind().parameters())


def _of(name: str, problems: list[str]) -> list[ModelEntry]:
    kind: type[Fuser] = catalogue.fusers.get(name)
    fuser = kind()
    parameters = sum(p.numel() for p in fuser.parameters())
    shipped = shipped_models(kind)
    if not shipped:
        trained = how_to_get_weights(kind, name) if parameters else "needs no training"
        task = "" if parameters else ", ".join(kind.tasks) if kind.tasks else "any"
        return [
            ModelEntry(
                name=name,
                fuser=name,
                task=task,
                parameters=parameters,
                trained=trained,
                reference=kind.reference,
                capabilities=fuser.capabilities,
            )
        ]
    return [_shipped(name, model, current_model(shipped, model.task) is model, fuser, problems) for model in shipped]


def _shipped(name: str, model: ShippedModel, current: bool, fuser: Fuser, problems: list[str]) -> ModelEntry:
    parameters, trained, card = sum(p.numel() for p in fuser.parameters()), "", None
    try:
        training = read_info(model.file).training
        trained = f"{training.get('preset', '?')} preset, {training.get('steps', '?')} steps"
        card = read_card(model.file)
    except FusionkitError as error:
        problems.append(str(error))
        trained = trained or "cannot be read"
    return ModelEntry(
        name=f"{name}:{model.task}@{model.tag}",
        fuser=name,
        task=model.task,
        parameters=card.parameters if card else parameters,
        trained=card.line if card else trained,
        reference=fuser.reference,
        capabilities=fuser.capabilities,
        tag=model.tag,
        current=current,
        superseded_by=model.superseded_by,
        file=model.file,
        card=card,
    )
