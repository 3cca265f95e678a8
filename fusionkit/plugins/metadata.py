"""Installed distributions, read as text: name, version, the fusionkit that they require, and their entry points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import PurePath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from fusionkit.plugins.entries import HOST, Discovery, Entry, Fault, Problem

_TARGET = re.compile(r"(?P<target>[^\W\d]\w*(\.\w+)*:\w+(\.\w+)*)\s*(\[.*\])?")


@dataclass(frozen=True)
class Package:
    """The head of a distribution's metadata.

    Attributes:
        name: normalised name.
        version: version, ``"?"`` where none is stated.
        requires: version specifier on image-fusionkit, or ``""``.
        problems: an unreadable requirement, or one that this installation does not meet.
    """

    name: str
    version: str
    requires: str = ""
    problems: tuple[Problem, ...] = ()

    def entry(self, group: str, name: str, target: str) -> Entry:
        """The entry ``name = target`` of this package, with what is wrong with it."""
        match = _TARGET.fullmatch(target)
        problems = self.problems
        if match is None:
            cause = f"the target {target!r} is not of the form module:Class"
            problems = (Problem("discover", cause, f"correct the entry points of {self.name} and install it again"),)
        clean = match["target"] if match else target
        return Entry(name, group, clean, self.name, self.version, self.requires, problems)


def host_version() -> str | None:
    """The installed version of image-fusionkit; None where it runs uninstalled."""
    try:
        return metadata.version(HOST)
    except metadata.PackageNotFoundError:
        return None


def installed(name: str, path: Sequence[str]) -> list[metadata.Distribution]:
    """Every distribution called ``name`` on ``path``, the one that an import would find first."""
    return list(metadata.Distribution.discover(name=name, path=list(path)))


def folder_name(distribution: metadata.Distribution) -> str:
    """The name in ``name-version.dist-info``; ``""`` where the distribution does not lie in such a folder."""
    folder = PurePath(str(getattr(distribution, "_path", "")))
    return folder.stem.partition("-")[0] if folder.suffix in (".dist-info", ".egg-info") else ""


def read_package(distribution: metadata.Distribution, name: str = "", version: str = "") -> Package:
    """Read a distribution's head; ``name`` and ``version`` stand in for what its metadata does not say."""
    problems: list[Problem] = []
    requires = ""
    try:
        head = distribution.metadata
        stated = str(head["Version"] or "") if "Version" in head else ""
        requirements = [str(text) for text in head.get_all("Requires-Dist") or ()]
        name = name or folder_name(distribution) or (str(head["Name"] or "") if "Name" in head else "")
    except Exception as error:  # metadata is third-party text: whatever is wrong with it stays with its distribution
        stated, requirements = "", []
        name = name or folder_name(distribution)
        if not isinstance(error, (TypeError, AttributeError, FileNotFoundError)):  # what a missing file gives
            problems.append(_unreadable(name, f"its metadata cannot be read ({_line(error)})"))
    for text in requirements:
        if re.match(r"image[-_.]+fusionkit(?![-\w.])", text.strip(), re.IGNORECASE):
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                problems.append(_unreadable(name, f"its requirement {text!r} cannot be read"))
                continue
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                requires = str(requirement.specifier)
    unmet = _unmet(name, requires)
    if unmet is not None:
        problems.append(unmet)
    return Package(canonicalize_name(name), stated or version or "?", requires, tuple(problems))


def read_group(distribution: metadata.Distribution, group: str) -> Discovery:
    """Read one distribution's ``entry_points.txt`` line by line, keeping what can be read.

    A line that cannot be read becomes a problem of the name it gives; where it gives none, or stands outside
    our groups, it becomes a fault of the file.
    """
    try:
        text = distribution.read_text("entry_points.txt") or ""
    except Exception as error:  # as above
        package = read_package(distribution)
        cause = f"entry_points.txt cannot be read ({_line(error)})"
        # Nobody can tell what such a file offers, so it may well be ours.
        return Discovery((), (Fault(package.name, package.version, cause, ours=True),))
    if not text:
        return Discovery(())
    package = read_package(distribution)
    offers: dict[str, list[tuple[int, str]]] = {}
    faults: list[Fault] = []
    for number, section, name, target in _lines(text):
        if section == group and name:
            offers.setdefault(name, []).append((number, target or ""))
        elif not name or (target is None and not section.startswith("fusionkit.")):
            cause = f"entry_points.txt, line {number}: {name or target!r} is no [section] and no 'name = module:Class'"
            faults.append(Fault(package.name, package.version, cause, ours="[fusionkit." in text))
    return Discovery(tuple(_offer(package, group, name, found) for name, found in offers.items()), tuple(faults))


def _offer(package: Package, group: str, name: str, found: Sequence[tuple[int, str]]) -> Entry:
    """The entry of a name that stands on one line, or on several."""
    entry = package.entry(group, name, found[0][1])
    numbers = " and ".join(str(number) for number, _ in found)
    if len(found) > 1:
        cause = f"entry_points.txt gives the name twice (lines {numbers})"
    elif not found[0][1]:
        cause = f"entry_points.txt, line {numbers}, gives the name no target"
    else:
        return entry
    remedy = f"correct the entry points of {package.name} and install it again"
    problem = Problem("discover", cause, remedy)
    return Entry(name, group, entry.target, package.name, package.version, package.requires, (problem,))


def _lines(text: str) -> Iterator[tuple[int, str, str, str | None]]:
    """(line number, section, name, target) of each line; target None without ``=``; no name where it is no entry."""
    section = ""
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[" and line[-1] == "]":
            section = line[1:-1].strip()
            continue
        name, separator, target = (part.strip() for part in line.partition("="))
        if not separator and section and re.fullmatch(r"[\w.-]+", name):
            yield number, section, name, None
        elif separator and section and name:
            yield number, section, name, target
        else:
            yield number, section, "", line


def _unmet(name: str, requires: str) -> Problem | None:
    """The problem of a requirement on us that this installation does not meet."""
    version = host_version() if requires else None
    if version is None:
        return None
    try:
        # Development versions count: who runs one wants the plugins of the release that it leads to.
        met = Requirement(f"{HOST}{requires}").specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        return None
    if met:
        return None
    return Problem(
        "version",
        f"it needs {HOST}{requires} and {version} is installed",
        f"install a {HOST} that fits, or another version of {name}",
    )


def _unreadable(name: str, cause: str) -> Problem:
    return Problem("version", cause, f"install {name} again, or report it to its authors")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
