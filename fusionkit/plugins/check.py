"""Check of every kind of plugin: which can be used, and why others cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from packaging.utils import canonicalize_name

from fusionkit.errors import UsageError, did_you_mean
from fusionkit.plugins.catalogue import registries
from fusionkit.plugins.entries import Entry, Fault, Problem


@dataclass(frozen=True)
class Finding:
    """One entry and what is wrong with it, None where nothing is known to be."""

    kind: str
    entry: Entry
    problem: Problem | None

    def as_dict(self) -> dict[str, Any]:
        """The finding as plain values, for JSON."""
        entry, problem = self.entry, self.problem
        return {
            "kind": self.kind,
            "name": entry.name,
            "qualified": entry.qualified,
            "group": entry.group,
            "target": entry.target,
            "distribution": entry.distribution,
            "version": entry.version,
            "requires": entry.requires,
            "built_in": entry.built_in,
            "problem": None
            if problem is None
            else {"stage": problem.stage, "cause": problem.cause, "remedy": problem.remedy},
        }


@dataclass(frozen=True)
class Findings:
    """The findings of every kind in the order of lists, and the metadata that could not be read."""

    findings: tuple[Finding, ...]
    faults: tuple[Fault, ...]


def list_plugins() -> Findings:
    """Every entry of every kind, with the problems that its metadata shows; imports nothing."""
    found = [
        Finding(registry.kind, entry, registry.stated_problem(entry))
        for registry in registries()
        for entry in registry.entries()
    ]
    # A file is read once for each kind; its faults are reported once.
    faults = dict.fromkeys(fault for registry in registries() for fault in registry.faults())
    return Findings(tuple(found), tuple(faults))


def check_plugins(name: str | None = None) -> Findings:
    """Load every plugin, or those of one name, ``dist:name`` or distribution.

    Raises:
        fusionkit.errors.UsageError: nothing installed has that name.
    """
    known = list_plugins()
    chosen = [f.entry for f in known.findings if name is None or _called(f.entry, name)]
    faults = tuple(f for f in known.faults if name is None or canonicalize_name(name) == f.distribution)
    if name is not None and not chosen and not faults:
        names = {f.entry.name for f in known.findings} | {f.entry.distribution for f in known.findings}
        raise UsageError(f"no plugin and no distribution of plugins is called {name!r}: {did_you_mean(name, names)}")
    found = [
        Finding(registry.kind, entry, registry.problem(entry))
        for registry in registries()
        for entry in registry.entries()
        if entry in chosen
    ]
    return Findings(tuple(found), faults)


def called(findings: Findings, fault_of: Callable[[Any, str], str]) -> Findings:
    """Add what goes wrong when the plugins of other packages are called.

    Args:
        findings: of :func:`check_plugins`.
        fault_of: calls a loaded plugin of a registered name and says why it fails, or "".
    """
    kinds = {registry.kind: registry for registry in registries()}
    found = []
    for finding in findings.findings:
        entry = finding.entry
        if finding.problem is None and not entry.built_in:
            cause = fault_of(kinds[finding.kind].get(entry.qualified), entry.name)
            if cause:
                remedy = f"correct {entry.target} of {entry.distribution}, or install another version of it"
                finding = replace(finding, problem=Problem("call", cause, remedy))
        found.append(finding)
    return replace(findings, findings=tuple(found))


def _called(entry: Entry, name: str) -> bool:
    return name in (entry.name, entry.qualified) or canonicalize_name(name) == entry.distribution
