"""Methods to compare: fusers by name, trained models by run folder or weights file, and other programs' results."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from fusionkit.bench.paths import file_name
from fusionkit.bench.records import Method
from fusionkit.config import as_dict, parse_assignments
from fusionkit.contracts import Fuser
from fusionkit.errors import DataError, FusionNote, UsageError
from fusionkit.fuse.adapter import check_device
from fusionkit.fuse.backends import Backend
from fusionkit.fuse.model import Model, load
from fusionkit.fuse.reduced import Speed
from fusionkit.fuse.tensors import Gamut, Stretch
from fusionkit.models import MODEL_FILE
from fusionkit.models.card import UNNAMED, read_card
from fusionkit.models.recognition import import_published
from fusionkit.models.shipped import choose_model, current_model, shipped_models, split_name
from fusionkit.models.weights import WeightsInfo, read_info
from fusionkit.plugins import catalogue
from fusionkit.plugins.guard import PluginCallFailed, run_guarded

__all__ = [
    "NO_FUSER",
    "BenchMethod",
    "FuserSpec",
    "FusionSettings",
    "ResultsSpec",
    "check_names",
    "load_methods",
    "parse_fuser",
    "parse_results",
    "usable",
]


_ASSIGNED = re.compile(r"[A-Za-z_][\w.]*=")
_NEXT = re.compile(r",(?=[A-Za-z_][\w.]*=)")

NO_FUSER = "none"
"""The word that stands for no fuser at all."""


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    """Settings that every method of a bench fuses with, see :class:`fusionkit.fuse.model.Model`.

    Attributes:
        stretch: range stretch of every fused luminance; each method's own if None.
        gamut: how fused colours that leave RGB are brought back, see :func:`fusionkit.fuse.tensors.fuse_tensors`.
        backend: ``"auto"``, ``"torch"`` or ``"native"``.
        speed: how many pixels are fused.
    """

    stretch: Stretch | None = None
    gamut: Gamut = "keep-luminance"
    backend: Backend = "auto"
    speed: Speed = "exact"


@dataclass(frozen=True)
class FuserSpec:
    """A fuser as a user names it.

    Attributes:
        name: what to call it.
        model: name of a fuser, run folder or weights file.
        fuser: the fuser that the file must be for, or "": then the file says it.
        options: options of a fuser without weights, as ``NAME=VALUE``.
    """

    name: str
    model: str
    fuser: str = ""
    options: tuple[str, ...] = ()

    @property
    def file(self) -> Path | None:
        """The weights file, or None for a fuser's name."""
        path = Path(self.model).expanduser()
        if not self.fuser and (split_name(self.model) or not path.exists()):
            return None
        return path / MODEL_FILE if path.is_dir() else path

    def tasks(self) -> tuple[str, ...] | None:
        """The tasks that it can be compared on; None for any."""
        file = self.file
        if file is not None:
            task = "" if self._is_foreign() else read_info(file).task
            return (task,) if task else None
        named = split_name(self.model)
        if named is None:
            return None
        kind = catalogue.fusers.get(named[0])
        if named[1]:
            model = choose_model(kind, *named)
            served = (n for n, one in catalogue.tasks.usable().items() if one.default_model == self.model)
            return (model.task, *served) if model else None
        return tuple(dict.fromkeys(model.task for model in shipped_models(kind))) or kind.tasks

    def _is_foreign(self) -> bool:
        """Return whether the file is a method's published weights, which do not say what they are."""
        if not self.fuser or self.file is None:
            return False
        try:
            own = read_info(self.file).fuser
        except DataError:
            return True
        if own != self.fuser:
            raise UsageError(f"--fuser {self.fuser}:{self.model}: these are weights of fuser {own!r}")
        return False

    def load(
        self, task: str, device: torch.device, settings: FusionSettings
    ) -> tuple[Model, WeightsInfo | None, Path | None]:
        """The model, what its weights file says of itself, and that file.

        Args:
            task: what it is to fuse.
            device: where.
            settings: how.

        Raises:
            fusionkit.errors.FusionkitError: as :func:`fusionkit.fuse.model.load`.
        """
        how: dict[str, Any] = {field.name: getattr(settings, field.name) for field in fields(FusionSettings)}
        file = self.file
        if file is not None and self._is_foreign():
            fuser, info, _ = import_published((file,), fuser=self.fuser, task=task)
            digest = info.training["sha256"]
            return Model(fuser, name=self.name, task=task, device=device, digest=digest, **how), info, file
        model = load(self.model, task, device=device, options=parse_assignments(self.options), **how)
        named = split_name(self.model) if file is None else None
        if named is not None:
            # A name says its task itself, which may be another one that the model serves too.
            shipped = choose_model(catalogue.fusers.get(named[0]), *named, task=None if named[1] else task)
            file = shipped.file if shipped else None
        return model, read_info(file) if file else None, file


@dataclass(frozen=True)
class ResultsSpec:
    """A folder of images that another program fused.

    Attributes:
        name: what to call it.
        folder: the images, or sub-folders of them called like tasks and data sets.
    """

    name: str
    folder: Path

    def place(self, task: str, dataset: str, label: str) -> Path:
        """The folder of a data set's images: ``TASK/DATASET``, ``DATASET`` or ``TASK`` below it, or itself."""
        # The name of a data set may be a manifest's, which must not lead elsewhere.
        task, dataset, label = (
            name if Path(name).name == name != ".." else file_name(name) for name in (task, dataset, label)
        )
        for parts in ((task, label), (task, dataset), (label,), (dataset,), (task,)):
            if self.folder.joinpath(*parts).is_dir():
                return self.folder.joinpath(*parts)
        return self.folder


@dataclass(frozen=True)
class BenchMethod:
    """A method that is ready to be compared on one task.

    Attributes:
        about: its description in records.
        model: what to fuse with; None for results.
        folder: the results; None for a model.
    """

    about: Method
    model: Model | None = None
    folder: Path | None = None

    @property
    def identity(self) -> str:
        """A digest of all that decides the fused images beside the sources; ``"results"`` of another program."""
        if self.model is None:
            return "results"
        fields = {"fuser", "version", "config", "weights_sha256", "stretch", "gamut"}
        if self.about.speed != "exact":
            fields.add("speed")
        decisive = self.about.model_dump_json(include=fields)
        return hashlib.sha256(decisive.encode()).hexdigest()

    @property
    def label_digest(self) -> str:
        """A digest that differs between two methods under one label; of results, their folder decides it."""
        place = f"{self.identity} {self.folder.resolve() if self.folder else ''}"
        return hashlib.sha256(place.encode()).hexdigest()


def parse_fuser(text: str) -> FuserSpec:
    """``[LABEL=]MODEL``: a fuser, a shipped model ``FUSER:TASK[@TAG]``, a run folder, a weights file or ``FUSER:FILE``.

    ``FUSER:NAME=VALUE,NAME=VALUE`` is a fuser without weights under other options.

    ``FUSER:FILE`` also takes weights as a method's authors published them. Without one label per name is called so, a
    run after its folder and a file after its stem.

    Raises:
        fusionkit.errors.UsageError: nothing stands before or after the equals sign.
    """
    label, equals, model = text.partition("=")
    if not equals or _begins_with_fuser(label) or Path(text).expanduser().exists():
        label, model = "", text
    elif not label.strip() or not model.strip():
        raise UsageError(f"--fuser {text!r}: write LABEL=MODEL, as in ours=runs/my-run")
    fuser, colon, file = model.partition(":")
    if _begins_with_fuser(model) and _ASSIGNED.match(file) and not Path(file).expanduser().exists():
        options = tuple(_NEXT.split(file))
        parse_assignments(options)
        return FuserSpec(label.strip() or model, fuser, options=options)
    shipped = file.partition("@")[0] in catalogue.tasks.names()  # a file of that name is written FUSER:./NAME
    named = bool(colon) and fuser in catalogue.fusers.names() and Path(file).expanduser().exists() and not shipped
    spec = FuserSpec(label.strip(), file, fuser) if named else FuserSpec(label.strip(), model.strip())
    if spec.name:
        return spec
    path = Path(spec.model).expanduser()
    default = spec.model
    if spec.file is not None:
        default = (
            path.resolve().name
            if path.is_dir()
            else path.stem
            if path.name != MODEL_FILE
            else path.resolve().parent.name
        )
    return FuserSpec(default, spec.model, spec.fuser)


def _begins_with_fuser(text: str) -> bool:
    fuser, colon, _ = text.partition(":")
    return bool(colon) and fuser in catalogue.fusers.names()


def parse_results(text: str) -> ResultsSpec:
    """``NAME=DIR``.

    Raises:
        fusionkit.errors.UsageError: it is written otherwise.
        fusionkit.errors.DataError: there is no such folder.
    """
    name, equals, folder = text.partition("=")
    if not equals or not name.strip() or not folder:
        raise UsageError(f"--results {text!r}: write NAME=DIR, the method's name and the folder of its fused images")
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise DataError(f"--results {text}: {path} is no folder")
    return ResultsSpec(name.strip(), path)


def check_names(specs: Iterable[FuserSpec | ResultsSpec]) -> None:
    """Refuse two methods of one name, also where only their files would be called alike.

    Raises:
        fusionkit.errors.UsageError: always in that case.
    """
    taken: dict[str, str] = {}
    for spec in specs:
        file = file_name(spec.name).casefold()
        if file in taken:
            raise UsageError(
                f"two methods are called {spec.name!r}: name them apart, as in --fuser other={taken[file]}"
                if isinstance(spec, FuserSpec)
                else f"two methods are called {spec.name!r}: name them apart, as in --results other={spec.folder}"
            )
        taken[file] = spec.model if isinstance(spec, FuserSpec) else str(spec.folder)


def usable(task: str, *, device: torch.device | None = None) -> tuple[list[FuserSpec], list[str]]:
    """List every registered fuser that can be compared on a task: made for it, and untrained or with shipped weights.

    The model of another task that the task states comes first.

    Args:
        task: name of the task.
        device: where they are to run; None for a device that every fuser runs on.

    Returns:
        The fusers, and one line per fuser whose plugin cannot be used or that cannot run on the device.
    """
    stated = catalogue.tasks.get(task).default_model
    found: list[FuserSpec] = [FuserSpec(stated, stated)] if ":" in stated else []
    problems: list[str] = []
    for name in catalogue.fusers.names():
        try:
            if run_guarded(lambda name=name: _is_ready(name, task, device)):  # type: ignore[misc]
                found.append(FuserSpec(name, name))
        except PluginCallFailed as error:
            problems.append(f"{name} is left out: {error}")
    return found, problems


def _is_ready(name: str, task: str, device: torch.device | None) -> bool:
    kind: type[Fuser] = catalogue.fusers.get(name)
    if kind.tasks is not None and task not in kind.tasks:
        return False
    if current_model(shipped_models(kind), task) is None and any(True for _ in kind().parameters()):
        return False
    if device is not None:
        check_device(kind, device, name=name)
    return True


def load_methods(
    specs: Sequence[FuserSpec | ResultsSpec], task: str, device: torch.device, settings: FusionSettings
) -> list[BenchMethod]:
    """Make methods ready for a task; those that are for other tasks are left out.

    Args:
        specs: what was asked for.
        task: name of the task.
        device: where to fuse.
        settings: how.

    Raises:
        fusionkit.errors.FusionkitError: a model cannot be loaded.

    Warns:
        FusionNote: the card of a model cannot be read.
    """
    ready = []
    for spec in specs:
        if isinstance(spec, ResultsSpec):
            ready.append(
                BenchMethod(Method(name=spec.name, kind="results", origin=str(spec.folder)), folder=spec.folder)
            )
        elif (tasks := spec.tasks()) is None or task in tasks:
            model, info, file = spec.load(task, device, settings)
            ready.append(BenchMethod(_describe(spec, model, info, file), model=model))
    return ready


def _trained_on(info: WeightsInfo | None, file: Path | None) -> tuple[str, ...] | None:
    """Names of the training's data sets, from the card beside a weights file or from the file itself."""
    try:
        card = read_card(file) if file is not None else None
    except DataError as error:
        card = None
        warnings.warn(FusionNote(f"{error} (its training data is taken as not known)"), stacklevel=2)
    names = [use.dataset for use in card.data] if card else info.training.get("trained_on") if info else None
    known = isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names)
    return tuple(names) if known and names and UNNAMED not in names else None


def _describe(spec: FuserSpec, model: Model, info: WeightsInfo | None, file: Path | None) -> Method:
    registered = info.fuser if info else spec.model
    given = Path(spec.model).expanduser()
    kind = type(model.method)
    return Method(
        name=spec.name,
        kind="fuser" if spec.file is None else "run" if given.is_dir() else "weights",
        origin=spec.model,
        fuser=f"{kind.__module__}:{kind.__qualname__}",
        version=catalogue.fusers.entry(registered).origin,
        config=as_dict(model.method.config),
        weights_sha256=model.digest,
        parameters=sum(parameter.numel() for parameter in model.fuser.parameters()),
        stretch=model.stretch,
        own_stretch=model.fuser.stretch,
        gamut=model.gamut,
        backend=model.backend,
        speed=model.speed,
        training=info.training if info else {},
        trained_on=_trained_on(info, file),
        reference=kind.reference,
    )
