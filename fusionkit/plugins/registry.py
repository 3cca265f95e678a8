"""The registry of one kind of plugin: lists without importing, loads on first use, keeps each failure to its name."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import reduce
from importlib import import_module
from typing import Any, Generic, TypeVar

from packaging.utils import canonicalize_name

from fusionkit.errors import PluginError, UsageError, did_you_mean, missing_system_library
from fusionkit.plugins.discovery import discover
from fusionkit.plugins.entries import HOST, IN_PROCESS, Discovery, Entry, Fault, Problem

T = TypeVar("T")


class Registry(Generic[T]):
    """The plugins of one kind, by name.

    Args:
        kind: the kind in words, for messages (``"loss proposer"``).
        group: entry-point group.
        base: ``module:Class`` that a plugin must be a subclass of (an instance of, with ``instances``); it is
            imported with the first plugin, not before.
        instances: whether a plugin is an object and not a class.
        own_name: dotted attribute in which a plugin of this kind states its own name (``"info.name"``), which must
            be the registered one; ``""`` for kinds that state none.
        path: folders to look for distributions in; ``sys.path`` when None.
        former_group: entry-point group of the same kind under its former name; its plugins are taken, too.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        base: str,
        *,
        instances: bool = False,
        own_name: str = "",
        path: Sequence[str] | None = None,
        former_group: str = "",
    ) -> None:
        self.kind = kind
        self.group = group
        self._former_group = former_group
        self._base = base
        self._instances = instances
        self._own_name = own_name
        self._path = path
        self._found: Discovery | None = None
        self._registered: dict[str, tuple[Entry, T]] = {}
        self._loaded: dict[Entry, T] = {}
        self._failed: dict[Entry, tuple[Problem, BaseException | None]] = {}

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted({entry.name for entry in self.entries()})

    def entries(self) -> tuple[Entry, ...]:
        """Every entry of every distribution, sorted by name; nothing is imported."""
        own = [entry for entry, _ in self._registered.values()]
        return tuple(sorted([*self._discovery().entries, *own], key=lambda entry: (entry.name, entry.distribution)))

    def faults(self) -> tuple[Fault, ...]:
        """Faults of metadata that could not be read, so that a name may be missing."""
        return self._discovery().faults

    def get(self, name: str) -> T:
        """The plugin of that name, loaded on first use.

        Args:
            name: a registered name, or ``dist:name`` where two distributions claim it.

        Raises:
            fusionkit.errors.UsageError: nothing has that name.
            fusionkit.errors.PluginError: two distributions claim it, or it cannot be loaded, or is not what it
                should be.
        """
        entry = self.entry(name)
        if entry.distribution == IN_PROCESS:
            return self._registered[entry.name][1]
        if entry not in self._loaded and entry not in self._failed:
            self._load(entry)
        if entry in self._failed:
            problem, cause = self._failed[entry]
            raise PluginError(f"{self.kind} {entry.name!r} of {entry.origin} cannot be used: {problem}") from cause
        return self._loaded[entry]

    def usable(self) -> dict[str, T]:
        """Load every plugin: name -> plugin, sorted by name, without those that cannot be used by their plain name."""
        found = {}
        for name in self.names():
            try:
                found[name] = self.get(name)
            except PluginError:  # `fusionkit plugins check` reports it; one broken plugin must not hide the others
                continue
        return found

    def entry(self, name: str) -> Entry:
        """The entry that ``name`` stands for; raises as :meth:`get` does for unknown and ambiguous names."""
        found = [entry for entry in self.entries() if entry.name == name]
        if not found and ":" in name:
            distribution, _, plain = name.partition(":")
            wanted = canonicalize_name(distribution)
            found = [entry for entry in self.entries() if (entry.distribution, entry.name) == (wanted, plain)]
        found = [entry for entry in found if entry.built_in] or found
        if len(found) > 1:
            raise PluginError(f"{self.kind} {name!r} cannot be used: {_clash(found)}")
        if not found:
            hidden = "".join(f"; {fault.distribution}: {fault.cause}" for fault in self.faults() if fault.ours)
            raise UsageError(f"unknown {self.kind} {name!r}: {did_you_mean(name, self._usable_names())}{hidden}")
        return found[0]

    def stated_problem(self, entry: Entry) -> Problem | None:
        """Reason that an entry cannot be used by its plain name, according to its metadata."""
        if entry.problems:
            return entry.problems[0]
        rivals = [other for other in self.entries() if other.name == entry.name and other != entry]
        return _clash([entry, *rivals]) if rivals and not entry.built_in else None

    def problem(self, entry: Entry) -> Problem | None:
        """Reason that an entry cannot be used by its plain name, after loading it."""
        problem = self.stated_problem(entry)
        if problem is None:
            try:
                self.get(entry.qualified)
            except PluginError:
                return self._failed[entry][0]
        return problem

    def register(self, name: str, plugin: T) -> None:
        """Offer a plugin for as long as this program runs, as a notebook or a test does.

        A name that this process registered before is replaced; one that is installed is not.

        Raises:
            fusionkit.errors.UsageError: an installed distribution has the name.
            fusionkit.errors.PluginError: the plugin is not of this kind.
        """
        for entry in self._discovery().entries:
            if entry.name == name:
                raise UsageError(f"{self.kind} {name!r} is a name of {entry.origin}: register another name")
        fault = self._contract_fault(name, plugin, self._base_class())
        if fault:
            raise PluginError(f"{self.kind} {name!r} cannot be registered: {fault}")
        where = plugin if isinstance(plugin, type) else type(plugin)
        target = f"{where.__module__}:{where.__qualname__}"
        self._registered[name] = (Entry(name, self.group, target, IN_PROCESS, "?"), plugin)

    def refresh(self) -> None:
        """Look for distributions again, for one that was installed while this program runs."""
        self._found = None
        self._failed.clear()

    def _discovery(self) -> Discovery:
        if self._found is None:
            self._found = discover(self.group, self._path)
            if self._former_group:
                former = discover(self._former_group, self._path)
                taken = {(entry.distribution, entry.name) for entry in self._found.entries}
                more = [entry for entry in former.entries if (entry.distribution, entry.name) not in taken]
                faults = dict.fromkeys((*self._found.faults, *former.faults))
                self._found = Discovery((*self._found.entries, *more), tuple(faults))
        return self._found

    def _usable_names(self) -> list[str]:
        """The plain names, and ``dist:name`` for those that are ambiguous."""
        count: dict[str, list[Entry]] = {}
        for entry in self.entries():
            count.setdefault(entry.name, []).append(entry)
        unique = [name for name, own in count.items() if len(own) == 1 or any(e.built_in for e in own)]
        return unique + [entry.qualified for own in count.values() if len(own) > 1 for entry in own]

    def _load(self, entry: Entry) -> None:
        """Import an entry and hold it against its contract; the result or the problem is kept."""
        if entry.problems:
            self._failed[entry] = (entry.problems[0], None)
            return
        remedy = f"correct {entry.target} of {entry.distribution}, or install another version of it"
        base = self._base_class()
        module, _, attribute = entry.target.partition(":")
        # Any exception of third-party code during its import is kept with its name.
        try:
            # Stdout belongs to the command: its JSON must stay JSON.
            with redirect_stdout(sys.stderr):
                plugin: Any = import_module(module)
            for part in attribute.split("."):
                plugin = getattr(plugin, part)
            fault = self._contract_fault(entry.name, plugin, base)
        except (Exception, SystemExit) as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            system = missing_system_library(error)
            if system:
                remedy = system
            elif missing and missing.partition(".")[0] == "fusionkit":
                remedy = f"install a version of {entry.distribution} that was made for this {HOST}"
            elif missing and missing.partition(".")[0] != module.partition(".")[0]:
                remedy = f"install the package that has the module {missing!r}, which {entry.distribution} needs"
            cause = f"{type(error).__name__}: {' '.join(str(error).split())}"
            self._failed[entry] = (Problem("load", cause, remedy), error)
            return
        if fault:
            self._failed[entry] = (Problem("contract", fault, remedy), None)
        else:
            self._loaded[entry] = plugin

    def _base_class(self) -> type:
        module, _, attribute = self._base.partition(":")
        base: type = getattr(import_module(module), attribute)
        return base

    def _contract_fault(self, name: str, plugin: Any, base: type) -> str:
        """Describe how a plugin breaks the contract of its kind; ``""`` if it does not."""
        if self._instances:
            if not isinstance(plugin, base):
                return f"it is {_named(plugin)}, not an instance of {self._base.replace(':', '.')}"
        elif not (isinstance(plugin, type) and issubclass(plugin, base)):
            return f"it is {_named(plugin)}, not a subclass of {self._base.replace(':', '.')}"
        elif inspect.isabstract(plugin):
            return (
                f"{plugin.__name__} does not implement {', '.join(sorted(getattr(plugin, '__abstractmethods__', ())))}"
            )
        if self._own_name:
            try:
                stated = reduce(getattr, self._own_name.split("."), plugin)
            except AttributeError:
                return f"it does not state its name: {self._own_name} is missing"
            if stated != name:
                return f"it calls itself {stated!r} ({self._own_name}) and is registered as {name!r}"
        return ""


def _clash(claims: Sequence[Entry]) -> Problem:
    """Describe the packages that claim one name, and how to choose one."""
    ours = next((entry for entry in claims if entry.built_in), None)
    if ours:
        other = next(entry for entry in claims if not entry.built_in)
        cause = f"the name is built in and {other.origin} cannot take it over"
        return Problem("discover", cause, f"use {other.qualified!r}")
    cause = f"the name is claimed by {' and by '.join(entry.origin for entry in claims)}"
    return Problem("discover", cause, f"use {' or '.join(repr(entry.qualified) for entry in claims)}")


def _named(plugin: Any) -> str:
    return f"the class {plugin.__name__}" if isinstance(plugin, type) else f"a {type(plugin).__name__}"
