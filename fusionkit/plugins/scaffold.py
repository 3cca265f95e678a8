"""Writes a new plugin package from the templates in this folder: complete, installable and tested."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template

from fusionkit.errors import DataError, UsageError, did_you_mean
from fusionkit.io.atomic import folder_written_aside
from fusionkit.plugins.catalogue import registries
from fusionkit.plugins.entries import HOST
from fusionkit.plugins.metadata import host_version
from fusionkit.runtime.python310 import Traversable

_SUFFIX = ".template"
_LONGEST = 40


@dataclass(frozen=True)
class _Part:
    """A kind of plugin that can be written alone.

    Attributes:
        title: the kind in words.
        entry_points: (group, registered name, target in the package); ``$`` placeholders are filled in.
        shared: its files that are those of the whole method.
    """

    title: str
    entry_points: tuple[tuple[str, str, str], ...]
    shared: tuple[str, ...] = ()


PARTS: Mapping[str, _Part] = {
    "fuser": _Part("a fuser", (("fusers", "$name-variance", "classical:VarianceFuser"),), ("classical.py",)),
    "metric": _Part("a metric", (("metrics", "$name-nearest", "metric:NearestSourceError"),), ("metric.py",)),
    "aligner": _Part("an aligner", (("aligners", "$name", "aligner:${prefix}Aligner"),)),
    "dataset": _Part("a data set", (("datasets", "$name", "dataset:DATASET"),)),
    "task": _Part("a fusion task", (("tasks", "$name", "task:TASK"),)),
    "outer-loss": _Part("an outer loss", (("outer_losses", "$name", "outer_loss:${prefix}OuterLoss"),)),
    "downstream": _Part("a downstream network", (("outer_losses", "$name-network", "downstream:${prefix}Network"),)),
    "profile": _Part(
        "a metric profile with published tables",
        (("profiles", "$name", "profile:PROFILE"), ("published_tables", "$name", "paper_tables:PAPER")),
    ),
}
"""The kinds of ``fusionkit plugins new --only``."""


def create(name: str, folder: Path, *, only: Sequence[str] = ()) -> Path:
    """Write the package ``fusionkit-NAME`` into a folder.

    Args:
        name: what its method is to be called: lower-case words joined by ``-`` or ``_``; ``fusionkit-`` in front is
            dropped.
        folder: where to; it is made if it is not there.
        only: the kinds of :data:`PARTS` to write; a whole method with its profile and tables if empty.

    Returns:
        The package's folder, ``folder/fusionkit-NAME``.

    Raises:
        fusionkit.errors.UsageError: a name that cannot be a package's, or is taken.
        fusionkit.errors.DataError: the folder is there already or cannot be written.
    """
    plain = re.sub(r"^fusionkit[-_]", "", name)
    _check_name(plain, name)
    package = f"fusionkit_{plain.replace('-', '_')}"
    root = folder / package.replace("_", "-")
    _check_free(plain, package, root)
    unknown = [kind for kind in only if kind not in PARTS]
    if unknown:
        raise UsageError(f"--only {unknown[0]}: no such kind: {did_you_mean(unknown[0], PARTS)}")
    names = _placeholders(plain, package, only)
    with folder_written_aside(root) as aside:
        _write(aside, names, only)
    return root


def _check_name(plain: str, given: str) -> None:
    if re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", plain) and len(plain) <= _LONGEST:
        return
    fitting = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-0123456789")[:_LONGEST].strip("-")
    hint = f", for example {fitting!r}" if fitting else ""
    raise UsageError(
        f"plugin name {given!r}: use lower-case letters and digits, words joined by '-', a letter first, "
        f"at most {_LONGEST} characters{hint}"
    )


def _check_free(plain: str, package: str, root: Path) -> None:
    for registry in registries():
        for entry in registry.entries():
            if entry.name in (plain, *(f"{plain}-{part}" for part in ("variance", "nearest", "network"))):
                raise UsageError(
                    f"plugin name {plain!r}: {entry.origin} has a {registry.kind} {entry.name!r}: choose another name"
                )
    if find_spec(package):
        raise UsageError(f"plugin name {plain!r}: a package {package} is installed already: choose another name")
    if root.exists():
        raise DataError(f"{root}: is there already: choose another name, or another folder with --dir")


def _placeholders(plain: str, package: str, only: Sequence[str]) -> dict[str, str]:
    version = host_version()
    prefix = "".join(word.capitalize() for word in re.split("[-_]", plain))
    names = {
        "name": plain,
        "package": package,
        "distribution": package.replace("_", "-"),
        "prefix": prefix,
        "requirement": f"{HOST}>={version}" if version else HOST,
    }
    titles = [PARTS[kind].title for kind in dict.fromkeys(only)]
    kinds = " and ".join(filter(None, [", ".join(titles[:-1]), *titles[-1:]]))
    names["kinds"] = kinds[:1].upper() + kinds[1:]
    names["own_metric"] = "" if only and "metric" not in only else f'        "{plain}-nearest": {{}},\n'
    groups: dict[str, str] = {}
    for kind in dict.fromkeys(only):
        for group, name, target in PARTS[kind].entry_points:
            groups[group] = groups.get(group, "") + f'"{name}" = "{package}.{target}"\n'
    names["entry_points"] = "".join(
        Template(f'[project.entry-points."fusionkit.{group}"]\n{lines}\n').substitute(names)
        for group, lines in groups.items()
    )
    # Imported together, they stand in alphabetical order, wherever the plugin's name falls in it.
    for part in ("fuser", "proposer", "reconstructor"):
        names[f"{part}_names"] = ", ".join(sorted((f"{prefix}{part.capitalize()}", f"{part.capitalize()}Options")))
    return names


def _write(target: Path, names: dict[str, str], only: Sequence[str]) -> None:
    """Write the files of a whole method, or of some kinds of plugin alone."""
    here = resources.files("fusionkit.plugins")
    if not only:
        _render(here / "template", target, names)
        _render(here / "parts" / "profile", target, names)
        return
    _render(here / "parts" / "common", target, names)
    whole = here / "template"
    inner = target / "src" / names["package"]
    for kind in dict.fromkeys(only):
        _render(here / "parts" / kind, target, names)
        for file in PARTS[kind].shared:
            _render_file(whole / "src" / "package" / f"{file}{_SUFFIX}", inner, names)
    _render_file(whole / f".gitignore{_SUFFIX}", target, names)
    _render_file(whole / "src" / "package" / f"py.typed{_SUFFIX}", inner, names)


def _render(template: Traversable, target: Path, names: dict[str, str]) -> None:
    """Write a template's folder, placeholders filled in, in file names and in texts."""
    for item in template.iterdir():
        if item.is_dir():
            inner = target / (names["package"] if item.name == "package" else item.name)
            inner.mkdir(exist_ok=True)
            _render(item, inner, names)
        elif item.name.endswith(_SUFFIX):
            _render_file(item, target, names)


def _render_file(template: Traversable, target: Path, names: dict[str, str]) -> None:
    text = Template(template.read_text(encoding="utf-8")).substitute(names)
    (target / template.name.removesuffix(_SUFFIX)).write_text(text, encoding="utf-8")
