"""Facts of the installation for ``fusionkit doctor``: each with what is missing and how to get it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from fusionkit.errors import FusionkitError

__all__ = ["Fact", "examine"]

_DISTRIBUTION = "image-fusionkit"
_OWN = frozenset({"dev"})
"""Extras that only fusionkit's own development needs."""

_GIGA = 2**30
_LITTLE_SPACE = 2 * _GIGA


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at.

    Attributes:
        part: the part of the installation that it belongs to.
        name: its name.
        state: ``"ok"``; ``"absent"``, something that is optional is not there; ``"wrong"``.
        found: what was found.
        remedy: what to do, "" where nothing is needed.
    """

    part: str
    name: str
    state: Literal["ok", "absent", "wrong"]
    found: str
    remedy: str = field(default="")

    def as_dict(self) -> dict[str, Any]:
        """Return the fact as plain values, for JSON."""
        return asdict(self)


def examine() -> list[Fact]:
    """Look at every part; one that cannot be looked at is a fact, too."""
    facts: list[Fact] = []
    for part, look in _PARTS.items():
        try:
            facts += [Fact(part, *found) for found in look()]
        except Exception as error:  # a broken installation must not hide the rest
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            remedy = (
                error.args[0] if isinstance(error, FusionkitError) else f"install again: pip install {_DISTRIBUTION}"
            )
            facts.append(Fact(part, "cannot be looked at", "wrong", reason, str(remedy)))
    return facts


_Found = tuple[str, Literal["ok", "absent", "wrong"], str, str]


def _versions() -> Iterable[_Found]:
    from fusionkit.train.run_folder import environment

    told = environment()
    yield "python", "ok", f"{told['python']} on {told['system']}", ""
    for name, version in told["versions"].items():
        remedy = "" if version else f"pip install {name}"
        yield name, "ok" if version else "wrong", version or "not installed", remedy
    several = [name for name in told["versions"] if name.startswith("opencv-")]
    if len(several) > 1:
        remedy = "pip uninstall opencv-python, then pip install --force-reinstall --no-deps opencv-python-headless"
        yield "cv2", "wrong", f"comes from {len(several)} packages: {', '.join(several)}", remedy


def _devices() -> Iterable[_Found]:
    import torch

    from fusionkit.train.run_folder import environment

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cpu", "ok", f"{environment()['processor']}, {cores} cores, {torch.get_num_threads()} threads", ""
    if not torch.cuda.is_available():
        built = f"PyTorch {torch.__version__} sees none"
        remedy = "with an NVIDIA GPU, install PyTorch for its CUDA version: https://pytorch.org/get-started"
        yield "cuda", "absent", built, remedy
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.cuda.get_device_properties(number)
        found = f"{device.name}, {device.total_memory / _GIGA:.0f} GiB, capability {device.major}.{device.minor}"
        yield f"cuda:{number}", "ok", found, ""


def _native() -> Iterable[_Found]:
    """Native forms of fusers, where a plugin brings one."""
    from fusionkit.contracts import Fuser
    from fusionkit.errors import UsageError
    from fusionkit.models.shipped import shipped_models
    from fusionkit.models.weights import load_fuser
    from fusionkit.plugins import catalogue

    for name, kind in catalogue.fusers.usable().items():
        if kind.use_native is Fuser.use_native:
            continue
        models = shipped_models(kind)
        try:
            fuser = load_fuser(models[0].file)[0] if models else kind()
            yield name, "ok", f"native {fuser.use_native()}", ""
        except UsageError as error:
            yield name, "absent", str(error), "PyTorch fuses instead; with GCC or Clang, install again to compile it"


def _extras() -> Iterable[_Found]:
    from packaging.requirements import Requirement

    about = metadata.metadata(_DISTRIBUTION)
    needed = [Requirement(text) for text in metadata.requires(_DISTRIBUTION) or ()]
    for extra in sorted(set(about.get_all("Provides-Extra") or ()) - _OWN):
        present, absent = [], []
        for one in needed:
            wanted = one.marker is not None and one.marker.evaluate({"extra": extra}) and not one.marker.evaluate()
            if not wanted or one.name == _DISTRIBUTION:
                continue
            version = _version(one.name)
            if not version:
                absent.append(one.name)
            elif not one.specifier.contains(version, prereleases=True):
                absent.append(f"{one.name}{one.specifier} (there is {version})")
            else:
                present.append(f"{one.name} {version}")
        remedy = f"pip install '{_DISTRIBUTION}[{extra}]'" if absent else ""
        found = f"lacks {', '.join(absent)}" if absent else ", ".join(present)
        yield extra, "absent" if absent else "ok", found, remedy


def _plugins() -> Iterable[_Found]:
    from fusionkit.plugins.check import check_plugins

    checked = check_plugins()
    kinds: dict[str, int] = {}
    for finding in checked.findings:
        if finding.problem is None:
            kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
        else:
            entry = finding.entry
            yield (
                f"{finding.kind} {entry.name} ({entry.origin})",
                "wrong",
                finding.problem.cause,
                finding.problem.remedy,
            )
    for fault in checked.faults:
        state: Literal["absent", "wrong"] = "wrong" if fault.ours else "absent"
        yield f"{fault.distribution} {fault.version}", state, fault.cause, "install it again, or ask its authors"
    yield "usable", "ok", ", ".join(f"{kind} {count}" for kind, count in kinds.items()), ""


def _models() -> Iterable[_Found]:
    from fusionkit.models.listing import default_fuser, list_models
    from fusionkit.plugins import catalogue

    entries, problems = list_models()
    usable = [entry for entry in entries if entry.usable]
    yield "can fuse now", "ok", f"{len(usable)} of {len(entries)} ('fusionkit models' lists them)", ""
    for problem in problems:
        yield "model", "wrong", problem, "install its plugin again"
    for task in catalogue.tasks.usable():
        try:
            yield task, "ok", f"--task {task} fuses with {default_fuser(task)}", ""
        except FusionkitError as error:
            yield task, "absent", "no model by default", str(error)


def _folders() -> Iterable[_Found]:
    from fusionkit.data.sample.sample_folder import CACHE_VARIABLE, cache_folder
    from fusionkit.plugins import catalogue

    choose = f"name another one by the environment variable {CACHE_VARIABLE}"
    for name, folder, remedy in (
        ("samples", cache_folder(), choose),
        ("temporary files", Path(tempfile.gettempdir()), "name another one by the environment variable TMPDIR"),
        ("working folder", Path.cwd(), "change to a folder that you may write to"),
    ):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(there).free
        if not os.access(there, os.W_OK):
            yield name, "wrong", f"{folder}: cannot be written", remedy
        elif free < _LITTLE_SPACE:
            yield name, "wrong", f"{folder}: {free / _GIGA:.1f} GiB free", f"free some space, or {remedy}"
        else:
            yield name, "ok", f"{folder}: {free / _GIGA:.0f} GiB free", ""
    names = ", ".join(catalogue.datasets.names())
    how = "nothing is downloaded: 'fusionkit data show NAME' says where, then --data NAME:FOLDER"
    yield "data sets", "ok", f"{names}: {how}", ""


_PARTS: dict[str, Callable[[], Iterable[_Found]]] = {
    "versions": _versions,
    "devices": _devices,
    "native forms": _native,
    "extras": _extras,
    "plugins": _plugins,
    "models": _models,
    "folders": _folders,
}


def _version(name: str) -> str:
    try:
        return metadata.version(re.sub(r"\[.*", "", name))
    except metadata.PackageNotFoundError:
        return ""
