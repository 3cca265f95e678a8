"""Discovery of the names that installed distributions offer, by reading text without importing."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata

import entrypoints
from packaging.utils import canonicalize_name

from fusionkit.plugins.entries import HOST, Discovery, Entry, Fault
from fusionkit.plugins.metadata import folder_name, installed, read_group, read_package

VARIABLE = "FUSIONKIT_PLUGINS"
"""Environment variable: ``off`` for the built-in plugins alone, or a comma list of distributions to use beside them."""

OFF = "off"

_LEFTOVER = "~"  # pip renames a distribution so while it replaces it, and leaves it behind when it is interrupted


def discover(group: str, path: Sequence[str] | None = None) -> Discovery:
    """Find the entries of one group, each with what is wrong with it.

    The environment variable :data:`VARIABLE` switches third-party distributions off.

    Of distributions with one name the first on the path counts, as for imports.

    Args:
        group: entry-point group (``"fusionkit.fusers"``).
        path: folders to look in; ``sys.path`` when None.

    Returns:
        The entries sorted by name and distribution, and the faults of files that could not be read in full.
    """
    folders = [str(folder) for folder in (sys.path if path is None else path)]
    try:
        found = _scan(group, folders)
    except Exception:  # one malformed entry_points.txt of any distribution ends the whole scan
        found = _read_files(group, folders)
    found = _switched_on(found, os.environ.get(VARIABLE))
    return Discovery(tuple(sorted(found.entries, key=lambda e: (e.name, e.distribution))), found.faults)


def _switched_on(found: Discovery, stated: str | None) -> Discovery:
    """Leave out the distributions that :data:`VARIABLE` switches off."""
    if stated is None or not stated.strip():
        return found
    names = {canonicalize_name(name.strip()) for name in stated.split(",")} - {OFF} | {HOST}
    return Discovery(
        tuple(entry for entry in found.entries if entry.distribution in names),
        tuple(fault for fault in found.faults if fault.distribution in names),
    )


def _scan(group: str, folders: list[str]) -> Discovery:
    """Look with ``entrypoints``, which raises various exceptions on a malformed file."""
    with warnings.catch_warnings():
        # It drops a target that it cannot parse with a mere warning.
        warnings.filterwarnings("error", message="Couldn't parse entry point")
        points = entrypoints.get_group_all(group, path=folders)
    offered: dict[str, list[entrypoints.EntryPoint]] = {}
    for point in points:
        if not point.distro.name.startswith(_LEFTOVER):
            offered.setdefault(canonicalize_name(point.distro.name), []).append(point)
    entries: list[Entry] = []
    faults: list[Fault] = []
    for name, own in offered.items():
        candidates = installed(name, folders)
        if len(candidates) > 1:
            # It may have read a distribution that another one of the same name hides from imports.
            first = read_group(candidates[0], group)
            entries += first.entries
            faults += first.faults
            continue
        package = read_package(candidates[0], name, own[0].distro.version or "")
        for point in own:
            target = f"{point.module_name}:{point.object_name}" if point.object_name else point.module_name
            entries.append(package.entry(group, point.name, target))
    return Discovery(tuple(entries), tuple(faults))


def _read_files(group: str, folders: list[str]) -> Discovery:
    """Look with ``importlib.metadata``, file by file, so that a malformed one stands for itself alone."""
    entries: list[Entry] = []
    faults: list[Fault] = []
    seen: set[str] = set()
    for distribution in metadata.distributions(path=folders):
        name = canonicalize_name(folder_name(distribution) or read_package(distribution).name)
        if name in seen or name.startswith(_LEFTOVER):
            continue
        seen.add(name)
        found = read_group(distribution, group)
        entries += found.entries
        faults += found.faults
    return Discovery(tuple(entries), tuple(faults))
