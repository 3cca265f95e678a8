"""Describes the contents of any weights file: its tensors as a tree, what wraps them, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fusionkit.errors import DataError
from fusionkit.io.text import counted, printable, shortened
from fusionkit.models.recognition import recognise
from fusionkit.models.weights import read_contents, unwrapped

__all__ = ["FileContents", "describe_file", "is_own", "tree_lines"]


@dataclass(frozen=True, kw_only=True)
class FileContents:
    """Contents of a weights file.

    Attributes:
        file: its path.
        tensors: full name of every tensor -> its type and shape, such as ``"float32 16x1x3x3"``.
        values: full name of every other entry -> its value in short.
        wrappers: the keys that the tensors lie under, such as ``"state_dict"``, and ``"module."`` if it begins every
            name.
        aliases: names that share the memory of an earlier one -> that one.
        metadata: notes that a safetensors file holds.
        network: the networks that the tensors fit, or the nearest one with what it lacks; "" if none matches.
    """

    file: str
    tensors: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    aliases: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    network: str = ""


def is_own(path: Path) -> bool:
    """Return whether a file is a weights file that fusionkit wrote."""
    return path.is_file() and "fusionkit" in _metadata(path)


def describe_file(path: Path) -> FileContents:
    """Describe a weights file without running code in it.

    Raises:
        fusionkit.errors.DataError: it is missing, damaged, or holds more than tensors and plain values.
    """
    contents = read_contents(path)
    tensors: dict[str, str] = {}
    values: dict[str, str] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for name, value in _leaves(contents):
        if not isinstance(value, Tensor):
            values[name] = shortened(printable(repr(value)))
            continue
        size = "x".join(map(str, value.shape)) or "one number"
        tensors[name] = f"{str(value.dtype).removeprefix('torch.')} {size}"
        place = (value.data_ptr(), tuple(value.shape), value.stride())
        if value.numel() and place in seen:
            aliases[name] = seen[place]
        seen.setdefault(place, name)
    network = ""
    wrappers: tuple[str, ...] = ()
    try:
        named, wrappers = unwrapped(contents, path)
        network = _network(named)
    except DataError:  # no named tensors: the tree shows what there is
        pass
    return FileContents(
        file=str(path),
        tensors=tensors,
        values=values,
        wrappers=wrappers,
        aliases=aliases,
        metadata=_metadata(path),
        network=network,
    )


def tree_lines(contents: FileContents) -> list[str]:
    """Format the contents of a file as lines, each level of names indented by two spaces."""
    lines = [contents.file]
    lines += [f"{printable(name)}: {shortened(printable(text))}" for name, text in contents.metadata.items()]
    shown: list[str] = []
    entries = {**contents.tensors, **contents.values}
    for name, text in entries.items():
        parts = [printable(part) for part in name.split(".")]
        common = 0
        while common < min(len(parts) - 1, len(shown)) and parts[common] == shown[common]:
            common += 1
        lines += [f"{'  ' * (k + 1)}{parts[k]}" for k in range(common, len(parts) - 1)]
        twin = f"  (same memory as {printable(contents.aliases[name])})" if name in contents.aliases else ""
        lines.append(f"{'  ' * len(parts)}{parts[-1]}: {text}{twin}")
        shown = parts[:-1]
    count = len(contents.tensors)
    lines.append(f"{counted(count, 'tensor')}, {len(contents.aliases)} of them stored under two names")
    if contents.wrappers:
        lines.append(f"wrapped in: {', '.join(printable(key) for key in contents.wrappers)}")
    lines.append(f"network: {contents.network or 'none that is known here'}")
    return lines


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    else:
        yield name or "value", value


def _network(tensors: Mapping[str, Tensor]) -> str:
    found = recognise(tensors)
    fitting = [candidate for candidate in found if not candidate.problem]
    if fitting:
        return "; ".join(candidate.described for candidate in fitting)
    if not found:
        return ""
    nearest = found[0]
    return f"nearest {nearest.described}: {nearest.matching} of {nearest.expected} tensors match; it {nearest.problem}"


def _metadata(path: Path) -> dict[str, str]:
    try:
        with safe_open(path, framework="pt") as stream:
            return dict(stream.metadata() or {})
    except (SafetensorError, OSError):
        return {}
