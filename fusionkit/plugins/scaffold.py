"""A new plugin package, written from the template in this folder: complete, installable and tested."""

from __future__ import annotations

import os
import re
import shutil
from importlib import resources
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path
from string import Template

from fusionkit.errors import DataError, UsageError
from fusionkit.plugins.catalogue import registries
from fusionkit.plugins.entries import HOST
from fusionkit.plugins.metadata import host_version

_SUFFIX = ".template"
_LONGEST = 40


def create(name: str, folder: Path) -> Path:
    """Write the package ``fusionkit-NAME`` into a folder.

    Args:
        name: what its method is to be called: lower-case words joined by ``-`` or ``_``; ``fusionkit-`` in front is
            dropped.
        folder: where to; it is made if it is not there.

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
    names = _placeholders(plain, package)
    aside = folder / f".{root.name}.{os.getpid()}"
    try:
        aside.mkdir(parents=True)
        _render(resources.files("fusionkit.plugins") / "template", aside, names)
        aside.rename(root)
    except OSError as error:
        raise DataError(f"{root}: cannot be written ({error.strerror}): choose another folder with --dir") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
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
            if entry.name in (plain, f"{plain}-variance", f"{plain}-nearest"):
                raise UsageError(
                    f"plugin name {plain!r}: {entry.origin} has a {registry.kind} {entry.name!r}: choose another name"
                )
    if find_spec(package):
        raise UsageError(f"plugin name {plain!r}: a package {package} is installed already: choose another name")
    if root.exists():
        raise DataError(f"{root}: is there already: choose another name, or another folder with --dir")


def _placeholders(plain: str, package: str) -> dict[str, str]:
    version = host_version()
    prefix = "".join(word.capitalize() for word in re.split("[-_]", plain))
    names = {
        "name": plain,
        "package": package,
        "distribution": package.replace("_", "-"),
        "prefix": prefix,
        "requirement": f"{HOST}>={version}" if version else HOST,
    }
    # Imported together, they stand in alphabetical order, wherever the plugin's name falls in it.
    for part in ("fuser", "proposer", "reconstructor"):
        names[f"{part}_names"] = ", ".join(sorted((f"{prefix}{part.capitalize()}", f"{part.capitalize()}Options")))
    return names


def _render(template: Traversable, target: Path, names: dict[str, str]) -> None:
    """Write a template's folder, placeholders filled in, in file names and in texts."""
    for item in template.iterdir():
        if item.is_dir():
            inner = target / (names["package"] if item.name == "package" else item.name)
            inner.mkdir()
            _render(item, inner, names)
        elif item.name.endswith(_SUFFIX):
            text = Template(item.read_text(encoding="utf-8")).substitute(names)
            (target / item.name.removesuffix(_SUFFIX)).write_text(text, encoding="utf-8")
