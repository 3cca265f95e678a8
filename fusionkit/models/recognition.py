"""Recognises whose published weights some tensors are, by their names and shapes, and converts them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionkit.config import resolve
from fusionkit.contracts import Fuser, PublishedWeights
from fusionkit.errors import DataError, FusionkitError, UsageError
from fusionkit.io.digest import file_digest
from fusionkit.models.weights import WeightsInfo, build_to_fit, misfit, read_tensors
from fusionkit.plugins import catalogue
from fusionkit.plugins.guard import PluginCallFailed, run_guarded

__all__ = ["Candidate", "compare", "import_published", "read_files", "recognise"]


@dataclass(frozen=True)
class Candidate:
    """Published weights that some tensors may be.

    Attributes:
        fuser: registered name of the fuser.
        weights: what its class says of the weights.
        options: options of the fuser that belong to the weights: from the record and from shapes.
        tensors: the tensors under the fuser's names.
        problem: why they do not fit, naming tensors; "" if they do.
        matching: number of tensors whose name and shape are right.
        expected: number of tensors of the fuser.
    """

    fuser: str
    weights: PublishedWeights
    options: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    problem: str
    matching: int
    expected: int

    @property
    def described(self) -> str:
        """Its title, fuser, tasks and options, for messages."""
        tasks = f" for {', '.join(self.weights.tasks)}" if self.weights.tasks else ""
        given = ", ".join(f"{name}={value}" for name, value in self.weights.options.items())
        return f"{self.weights.title}{tasks} (fuser {self.fuser}{f', {given}' if given else ''})"


def read_files(paths: Sequence[Path]) -> dict[str, Tensor]:
    """Read the tensors of files that make up one set of weights.

    Raises:
        fusionkit.errors.DataError: a file cannot be read, or two of them have a tensor of one name.
    """
    tensors: dict[str, Tensor] = {}
    for path in paths:
        found = read_tensors(path)
        twice = sorted(set(tensors) & set(found))
        if twice:
            raise DataError(f"{path}: holds {twice[0]!r}, which an earlier file holds too: give files of one set")
        tensors |= found
    return tensors


def compare(fuser: str, weights: PublishedWeights, tensors: Mapping[str, Tensor]) -> Candidate:
    """Compare tensors with what a fuser looks for.

    Args:
        fuser: registered name.
        weights: one of its records.
        tensors: published names -> tensors.
    """
    kind: type[Fuser] = catalogue.fusers.get(fuser)
    names = {name: kind.rename_published(name) for name in tensors}
    renamed = {ours: tensors[name] for name, ours in names.items() if ours}
    unknown = {name: tensors[name] for name, ours in names.items() if ours is None}
    options: dict[str, Any] = {}
    expected: Mapping[str, Tensor] = {}
    if not renamed:
        return Candidate(fuser, weights, options, renamed, "has no name of these tensors", 0, len(expected))
    try:
        options = {**kind.published_options(renamed), **weights.options}
        with torch.device("meta"):
            expected = kind(resolve(kind.Config, ("options read from the weights", options))).state_dict()
        problem = misfit({**unknown, **renamed}, expected)
    except FusionkitError as error:
        problem = str(error)
    matching = sum(name in expected and expected[name].shape == tensor.shape for name, tensor in renamed.items())
    return Candidate(fuser, weights, options, renamed, problem, matching, len(expected))


def recognise(tensors: Mapping[str, Tensor], *, fuser: str = "", task: str = "") -> list[Candidate]:
    """Compare tensors with every network whose authors published weights.

    Args:
        tensors: published names -> tensors.
        fuser: registered name; "" to try every fuser.
        task: the task that the options have to be for; "" for any.

    Returns:
        The candidates that fit or, if none does, all with a name of theirs, the nearest first.
    """
    found: list[Candidate] = []
    for name in (fuser,) if fuser else catalogue.fusers.names():
        try:
            kind = run_guarded(lambda name=name: catalogue.fusers.get(name))  # type: ignore[misc]
        except PluginCallFailed:  # a broken plugin is reported where plugins are listed
            continue
        for weights in kind.published_weights:
            if not task or not weights.tasks or task in weights.tasks:
                found.append(compare(name, weights, tensors))
    fitting = [candidate for candidate in found if not candidate.problem]
    near = [candidate for candidate in found if candidate.tensors]
    return fitting or sorted(near, key=lambda c: -c.matching / max(c.expected, len(tensors)))


def import_published(
    paths: Sequence[Path], *, fuser: str = "", task: str = "", options: Mapping[str, Any] | None = None
) -> tuple[Fuser, WeightsInfo, PublishedWeights | None]:
    """Build a fuser with weights that its authors published, in one file or several.

    Args:
        paths: the files of one set of weights: safetensors, PyTorch files, arrays.
        fuser: registered name; "" to recognise it.
        task: the task to use them for; "" if their options are the same for all.
        options: further options of the fuser, over those of the weights.

    Returns:
        The fuser in evaluation mode, the description of its weights file, and the record of the published weights,
        None for a fuser that keeps none.

    Raises:
        fusionkit.errors.DataError: a file cannot be read, or the weights are of no known network or do not fit the
            named one; says which tensors.
        fusionkit.errors.UsageError: they fit several networks or options, or the named fuser imports nothing.
    """
    tensors = read_files(paths)
    named = ", ".join(str(path) for path in paths)
    digests = [file_digest(path) for path in paths]
    training: dict[str, Any] = {"imported": ", ".join(path.name for path in paths), "sha256": ", ".join(digests)}
    if fuser and not catalogue.fusers.get(fuser).published_weights:
        kind: type[Fuser] = catalogue.fusers.get(fuser)
        chosen, weights, settings = _imported(kind, tensors, named), None, dict(options or {})
    else:
        found = _agreeing(recognise(tensors, fuser=fuser, task=task), options or {})
        candidate = _choose(found, digests, named, fuser)
        fuser, weights = candidate.fuser, candidate.weights
        kind = catalogue.fusers.get(fuser)
        chosen, settings = _imported(kind, tensors, named), {**candidate.options, **(options or {})}
        exact = set(digests) <= set(weights.sha256) if weights.sha256 else None
        task = task or (weights.tasks[0] if len(weights.tasks) == 1 else "")
        training |= {
            "title": weights.title,
            "source": weights.source,
            "licence": weights.licence,
            "as_published": exact,
        }
        if weights.trained_on is not None:
            training["trained_on"] = list(weights.trained_on)
    config: Any = resolve(kind.Config, (f"options of {fuser}", settings))
    built: Fuser = build_to_fit(lambda: kind(config), chosen, f"{named}: these weights do not fit fuser {fuser!r}")
    return built.eval(), WeightsInfo(fuser=fuser, task=task, training=training), weights


def _imported(kind: type[Fuser], tensors: Mapping[str, Tensor], named: str) -> dict[str, Tensor]:
    try:
        return kind.import_weights(tensors)
    except DataError as error:
        raise DataError(f"{named}: {error}") from None


def _agreeing(found: Sequence[Candidate], given: Mapping[str, Any]) -> list[Candidate]:
    """Keep the candidates whose options are the given ones, where any says so."""
    stated = [dict(candidate.weights.options) for candidate in found]
    kept = [
        (candidate, sum(name in own for name in given))
        for candidate, own in zip(found, stated, strict=True)
        if all(given.get(name, value) == value for name, value in own.items())
    ]
    most = max((count for _, count in kept), default=0)
    return [candidate for candidate, count in kept if count == most]


def _choose(found: Sequence[Candidate], digests: Sequence[str], named: str, fuser: str) -> Candidate:
    fitting = [candidate for candidate in found if not candidate.problem]
    exact = [candidate for candidate in fitting if set(digests) <= set(candidate.weights.sha256)]
    fitting = exact or fitting
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        listed = "; ".join(candidate.described for candidate in fitting)
        raise UsageError(f"{named}: fits {len(fitting)} descriptions: {listed}: say which with --task or --set")
    if not found:
        known = sorted({w.title for kind in _known() for w in kind.published_weights})
        whose = f"fuser {fuser}" if fuser else f"a network that is known here ({', '.join(known)})"
        raise DataError(f"{named}: these are not the weights of {whose}: no name matches")
    nearest = found[0]
    whose = "these are not the weights of fuser" if fuser else "these are weights of no known network; the nearest is"
    raise DataError(
        f"{named}: {whose} {fuser or nearest.described}: {nearest.matching} of {nearest.expected} "
        f"tensors match; it {nearest.problem}"
    )


def _known() -> list[type[Fuser]]:
    kinds = []
    for name in catalogue.fusers.names():
        try:
            kinds.append(run_guarded(lambda name=name: catalogue.fusers.get(name)))  # type: ignore[misc]
        except PluginCallFailed:
            continue
    return kinds
