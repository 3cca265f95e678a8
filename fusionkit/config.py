"""Typed options: frozen dataclasses filled from presets, TOML files and ``--set``, each layer over the one before."""

from __future__ import annotations

import dataclasses
import math
import typing
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from fusionkit.errors import DataError, RenamedOption, UsageError, did_you_mean
from fusionkit.io.text import shortened
from fusionkit.runtime.python310 import tomllib

T = TypeVar("T")

_LARGEST_FILE = 1_000_000
_LONGEST_LINE = 10_000
_DEEPEST_NAME = 32


def resolve(kind: type[T], *layers: tuple[str, Mapping[str, Any]]) -> T:
    """Build a frozen dataclass of options from layers of nested mappings.

    Former names are read as :func:`current_names` does.

    Args:
        kind: the dataclass; its fields may be dataclasses themselves.
        layers: ``(where it comes from, values)``, the later over the earlier.

    Returns:
        The options; what no layer names keeps its default.

    Raises:
        UsageError: an unknown key (with the nearest one), a value of the wrong type or a number that is not finite,
            naming where it came from.
    """
    layers = tuple((origin, current_names(kind, values, origin)) for origin, values in layers)
    for origin, values in layers:
        _check_keys(kind, values, origin, "")
    values = merged(*(values for _, values in layers))
    for path, number in _numbers(values):
        if not math.isfinite(number):
            raise UsageError(_invalid(layers, path, number, "it must be a finite number"))
    try:
        options: T = _adapter(cast(Any, kind)).validate_python(values, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        why = first["msg"].removeprefix("Value error, ")
        raise UsageError(_invalid(layers, first["loc"], first["input"], why)) from None
    return options


@lru_cache(maxsize=64)
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def check_bounds(options: Any, origin: str) -> None:
    """Check options that were built in Python as :func:`resolve` checks those that are read.

    Args:
        options: an instance of a dataclass of options.
        origin: name of the group, for the message.

    Raises:
        UsageError: a value of the wrong type or outside the bounds that its field declares.
    """
    resolve(type(options), (origin, as_dict(options)))


def _invalid(layers: Sequence[tuple[str, Mapping[str, Any]]], path: tuple[int | str, ...], value: Any, why: str) -> str:
    origin = next((o for o, values in reversed(layers) if _holds(values, path)), layers[-1][0])
    option = ".".join(str(part) for part in path)
    return f"{origin}: {option}={shortened(repr(value))} is not valid: {why}"


def _numbers(values: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, (*path, name))
        elif isinstance(value, list | tuple):
            yield from _numbers(dict(zip(map(str, range(len(value))), value, strict=True)), (*path, name))
        elif isinstance(value, int | float):
            # A number that float32 cannot hold is as useless as infinity; only NaN differs from itself.
            yield (*path, name), value if abs(value) < 1e38 or value != value else math.inf


def current_names(kind: type, values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Options under the names that they have today, with one warning for all that were given by a former one.

    A dataclass of options declares former names in a class variable ``RENAMED``, former name -> today's. ``"a"`` ->
    ``"b.c"`` moves an option into a group; a tuple of names sets each of them; ``"a=x"`` -> ``"a=y"``, with today's
    name of the option, renames one of its values. In ``REMOVED`` it declares options that are gone: name -> the value
    that may still be given, because it says what is done now anyway, and what to do instead of any other.

    Args:
        kind: the dataclass of options.
        values: nested options, as given.
        origin: where they come from, for the messages.

    Raises:
        UsageError: an option that is gone, or one that is given by both of its names.
    """
    changes: list[str] = []
    found = _current(kind, values, origin, "", changes)
    if changes:
        warnings.warn(f"{origin}: {', '.join(changes)}", RenamedOption, stacklevel=2)
    return found


def _current(kind: Any, values: Mapping[str, Any], origin: str, prefix: str, changes: list[str]) -> dict[str, Any]:
    renamed, removed = getattr(kind, "RENAMED", {}), getattr(kind, "REMOVED", {})
    hints = typing.get_type_hints(kind)
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in removed:
            if value != removed[key][0]:
                raise UsageError(f"{origin}: {prefix}{key} is no option any more: {removed[key][1]}")
            continue
        paths = renamed.get(key, key)
        paths = (paths,) if isinstance(paths, str) else paths
        if paths != (key,):
            changes.append(f"{prefix}{key} is now {' and '.join(prefix + path for path in paths)}")
            for path in paths:
                if _holds(values, tuple(path.split("."))):
                    message = f"{origin}: {prefix}{key} is the former name of {prefix}{path}: give one of the two"
                    raise UsageError(message)
        if f"{paths[0]}={value}" in renamed:
            value = renamed[f"{paths[0]}={value}"].partition("=")[2]
            changes.append(f"{prefix}{key}={values[key]} is now {prefix}{paths[0]}={value}")
        elif isinstance(value, Mapping) and dataclasses.is_dataclass(hints.get(paths[0])):
            value = _current(hints[paths[0]], value, origin, f"{prefix}{paths[0]}.", changes)
        for path in paths:
            nested = value
            for part in reversed(path.split(".")):
                nested = {part: nested}
            found = merged(found, nested)
    return found


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested options, the later layers over the earlier, value by value.

    >>> merged({"trainer": {"lr": 0.1, "crop": 64}}, {"trainer": {"lr": 0.2}})
    {'trainer': {'lr': 0.2, 'crop': 64}}
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            inner = result.get(name)
            if isinstance(value, Mapping):
                result[name] = merged(inner if isinstance(inner, Mapping) else {}, value)
            else:
                result[name] = value
    return result


def as_dict(options: Any) -> dict[str, Any]:
    """The options as nested plain values, for TOML and JSON; what is None is left out."""
    return {
        key: as_dict(value) if dataclasses.is_dataclass(value) else value
        for key, value in ((f.name, getattr(options, f.name)) for f in dataclasses.fields(options))
        if value is not None
    }


def parse_assignments(assignments: Iterable[str]) -> dict[str, Any]:
    """``["trainer.lr=1e-4", "fuser.output=decision"]`` as nested values; bare words are strings.

    >>> parse_assignments(["trainer.lr=1e-4", "fuser.output=decision"])
    {'trainer': {'lr': 0.0001}, 'fuser': {'output': 'decision'}}

    Raises:
        UsageError: an assignment without ``=`` or without a name.
    """
    nested: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {shortened(assignment)!r}: write it as name=value, for example trainer.lr=1e-4")
        if name.count(".") >= _DEEPEST_NAME:
            raise UsageError(f"--set {shortened(assignment)!r}: no option is nested that deep")
        value: Any = _value(text.strip())
        for part in reversed(name.strip().split(".")):
            value = {part: value}
        nested = merged(nested, value)
    return nested


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file of options.

    Raises:
        DataError: it cannot be read or is not TOML; the message names the file and the place.
    """
    try:
        with path.open(encoding="utf-8-sig") as stream:
            text = stream.read(_LARGEST_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}): give a TOML file of options") from None
    # Such files make the parser slow, or exceed its depth.
    if len(text) > _LARGEST_FILE or any(len(line) > _LONGEST_LINE for line in text.splitlines()):
        raise DataError(f"{path}: is too long for a TOML file of options, or has a line that is: check the file")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{path}: is not TOML: {shortened(str(error))}") from None
    except (RecursionError, ValueError):
        raise DataError(f"{path}: is nested too deeply, or holds a number that is too long: check the file") from None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError, ValueError):
        return text


def _check_keys(kind: Any, values: Mapping[str, Any], origin: str, prefix: str) -> None:
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    for key, value in values.items():
        if key not in names:
            known = [prefix + name for name in names]
            raise UsageError(
                f"{origin}: unknown option {shortened(prefix + key)!r}: {did_you_mean(prefix + key, known)}"
            )
        if dataclasses.is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                raise UsageError(f"{origin}: {prefix + key} is a group of options: set one of its members")
            _check_keys(hints[key], value, origin, f"{prefix}{key}.")
        elif isinstance(value, Mapping) and not _is_open(hints[key]):
            raise UsageError(f"{origin}: {prefix + key} is a single option and has no members")


def _is_open(hint: Any) -> bool:
    """Return whether a field takes any names, because a class chosen by another option checks them."""
    return typing.get_origin(hint) in (dict, Mapping)


def _holds(values: Mapping[str, Any], path: tuple[int | str, ...]) -> bool:
    node: Any = values
    for part in path:
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True
