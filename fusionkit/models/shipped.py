"""Finds the trained models that plugins ship: the tags of a task, and the file that a name stands for.

A model is called ``FUSER:TASK@TAG``; ``FUSER:TASK`` is the current one of the task. In a plugin's folder of models the
file ``TASK.safetensors`` has the tag ``v1`` and ``TASK@TAG.safetensors`` the tag it names. The card of a model says
which tags it supersedes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from fusionkit.contracts import Fuser, ShippedModel
from fusionkit.errors import PluginError, UsageError, did_you_mean
from fusionkit.models.card import FIRST_TAG
from fusionkit.plugins import catalogue
from fusionkit.runtime.python310 import tomllib

__all__ = ["check_tag", "choose_model", "current_model", "model_file", "models_in", "shipped_models", "split_name"]

_TAG = re.compile(r"[a-z0-9][a-z0-9._]*")


def check_tag(tag: str) -> None:
    """Refuse a tag that cannot stand in a name.

    Raises:
        fusionkit.errors.UsageError: it holds anything but lower-case letters, digits, ``.`` and ``_``.
    """
    if not _TAG.fullmatch(tag):
        raise UsageError(f"tag {tag!r}: use lower-case letters, digits, '.' and '_', such as v2")


def model_file(folder: Path, task: str, tag: str) -> Path:
    """The path of a model in a plugin's folder of models."""
    return folder / f"{task if tag == FIRST_TAG else f'{task}@{tag}'}.safetensors"


def models_in(folder: Path) -> tuple[ShippedModel, ...]:
    """List the models in a plugin's folder, ``TASK.safetensors`` and ``TASK@TAG.safetensors``.

    Args:
        folder: the folder; it may be missing or empty.

    Returns:
        The models by task, the one without a tag in its name first. ``superseded_by`` comes from the cards: a card
        lists the tags that its model supersedes.
    """
    return _with_successors({file.stem: file for file in sorted(folder.glob("*.safetensors"))})


def shipped_models(kind: type[Fuser]) -> tuple[ShippedModel, ...]:
    """List the models that a fuser ships, from either form of ``pretrained``.

    Raises:
        fusionkit.errors.PluginError: two of them have one task and one tag.
    """
    listed = kind.pretrained()
    models = _with_successors(listed) if isinstance(listed, Mapping) else tuple(listed)
    names = [(model.task, model.tag) for model in models]
    for task, tag in names:
        if names.count((task, tag)) > 1:
            raise PluginError(f"{kind.__name__} ships two models {task}@{tag}: give one of them another tag")
    return models


def current_model(models: Sequence[ShippedModel], task: str) -> ShippedModel | None:
    """Choose the model of a task without a tag: the first one, or what supersedes it; None if there is none."""
    own = {model.tag: model for model in models if model.task == task}
    if not own:
        return None
    chosen, seen = next(iter(own.values())), set()
    while chosen.superseded_by in own and chosen.tag not in seen:
        seen.add(chosen.tag)
        chosen = own[chosen.superseded_by]
    return chosen


def split_name(name: str) -> tuple[str, str] | None:
    """Split a model's name into the fuser's registered name and ``TASK[@TAG]``, "" if the name is a fuser's.

    Returns:
        None if the name begins with no registered fuser.
    """
    known = {each for entry in catalogue.fusers.entries() for each in (entry.name, entry.qualified)}
    if name in known:
        return name, ""
    fuser, colon, model = name.rpartition(":")
    return (fuser, model) if colon and fuser in known else None


def choose_model(kind: type[Fuser], fuser: str, named: str = "", *, task: str | None = None) -> ShippedModel | None:
    """Choose one of the models that a fuser ships.

    Args:
        kind: the fuser.
        fuser: its registered name, for messages.
        named: ``TASK`` or ``TASK@TAG``; "" if only the fuser was named.
        task: the task that the model is for; None for that of ``named``, or the only one.

    Returns:
        The model; None if the fuser was named alone and ships nothing for the task.

    Raises:
        fusionkit.errors.UsageError: there is no model of that name, it is for another task, or no task is named and
            there are models for several.
    """
    models = shipped_models(kind)
    tasks = sorted({model.task for model in models})
    if not named:
        if task is None and len(tasks) > 1:
            raise UsageError(f"{fuser} has weights for several tasks: say which with task ({', '.join(tasks)})")
        return current_model(models, task if task is not None else "".join(tasks))
    place, at, tag = named.partition("@")
    own = {model.tag: model for model in models if model.task == place}
    if not own:
        raise UsageError(f"{fuser} ships no model for {place!r}: {did_you_mean(place, tasks)}")
    if at and tag not in own:
        raise UsageError(f"{fuser}:{place} has no tag {tag!r}: {did_you_mean(tag, own)}")
    if task is not None and task != place:
        raise UsageError(f"{fuser}:{named} is for task {place}, not {task}: leave the task out, or name another model")
    return own[tag] if at else current_model(models, place)


def _with_successors(files: Mapping[str, Path]) -> tuple[ShippedModel, ...]:
    named = [(*_split(name), file) for name, file in files.items()]
    successors = {(task, old): tag for task, tag, file in named for old in _superseded(file)}
    return tuple(
        ShippedModel(task=task, file=file, tag=tag, superseded_by=successors.get((task, tag), ""))
        for task, tag, file in named
    )


def _split(name: str) -> tuple[str, str]:
    task, _, tag = name.partition("@")
    return task, tag or FIRST_TAG


def _superseded(file: Path) -> tuple[str, ...]:
    """Read the tags that a model supersedes from its card; a damaged card counts as none and is reported when shown."""
    try:
        stated = tomllib.loads(file.with_suffix(".toml").read_text(encoding="utf-8")).get("supersedes", ())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return ()
    return tuple(tag for tag in stated if isinstance(tag, str)) if isinstance(stated, list) else ()
