"""Changes to files that a program, a disk or an editor can make: as data, so that a case can be kept and done again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

__all__ = ["Change", "byte_changes", "tree_changes"]

_DEEP = "a nesting of 3,000 lists"
_HOSTILE = [
    None, True, False, 0, 1, -1, 7, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, -1e308, 1e-320, math.nan, math.inf,
    "", "x", "0", "nan", "a" * 300, "b" * 6000, "../../x", "/etc/passwd", "/dev/zero", "\0", "\x1b[31m", "a\rb\nc",
    "[/x]", "<script>alert(1)</script>", "=1+1", "\u202e", "\ud800", "__proto__", [], [1], ["x", None], {}, {"x": 1},
    _DEEP,
]  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change to one file.

    Attributes:
        file: the file, relative to the folder of the case.
        kind: ``"set"``, ``"delete"``, ``"add"``, ``"repeat"`` or ``"nudge"`` of a value in a tree, or ``"bytes"``,
            ``"cut"`` and ``"insert"`` in the text.
        path: keys to the value; for bytes the offset.
        value: the new value; bytes as a list of integers.
    """

    file: str
    kind: str
    path: tuple[Any, ...]
    value: Any = None

    def text(self, tree: Any) -> str:
        """The changed tree as JSON."""
        changed = json.dumps(self.applied(tree), ensure_ascii=True)
        return changed.replace(json.dumps(_DEEP), "[" * 3000 + "]" * 3000)

    def applied(self, tree: Any) -> Any:
        """A copy of the tree with the change."""
        root = {"root": json.loads(json.dumps(tree))}
        *above, last = ("root", *self.path)
        node: Any = root
        for key in above:
            node = node[key]
        if self.kind == "delete":
            del node[last]
        elif self.kind == "repeat":
            node.insert(last, node[last])
        elif self.kind == "add":
            node[last]["unheard of"] = self.value
        elif self.kind == "nudge":
            node[last] = node[last] + self.value
        else:
            node[last] = self.value
        return root.get("root")

    def to_bytes(self, content: bytes) -> bytes:
        """The changed bytes."""
        (place,) = self.path
        if self.kind == "cut":
            return content[:place]
        new = bytes(self.value)
        return content[:place] + new + content[place + (len(new) if self.kind == "bytes" else 0) :]

    def write(self, folder: Path, tree: Any = None) -> None:
        """Change the file in a folder."""
        place = folder / self.file
        if self.kind in ("bytes", "cut", "insert"):
            place.write_bytes(self.to_bytes(place.read_bytes()))
        else:
            place.write_text(self.text(tree), encoding="utf-8")


def tree_changes(file: str, tree: Any) -> st.SearchStrategy[Change]:
    """Changes to any value of a tree of dictionaries, lists and plain values."""
    places = list(_places(tree))
    numbers = [p for p, v in places if isinstance(v, int | float) and not isinstance(v, bool)]
    items = [p for p, _ in places if p and isinstance(p[-1], int)]
    groups = [p for p, v in places if isinstance(v, dict)]
    everywhere = [p for p, _ in places]
    kinds = [
        st.builds(Change, st.just(file), st.just("set"), st.sampled_from(everywhere), st.sampled_from(_HOSTILE)),
        st.builds(Change, st.just(file), st.just("delete"), st.sampled_from([p for p in everywhere if p])),
    ]
    if groups:
        added = st.sampled_from(_HOSTILE)
        kinds.append(st.builds(Change, st.just(file), st.just("add"), st.sampled_from(groups), added))
    if numbers:
        steps = st.sampled_from([1, -1, 0.25])
        kinds.append(st.builds(Change, st.just(file), st.just("nudge"), st.sampled_from(numbers), steps))
    if items:
        kinds.append(st.builds(Change, st.just(file), st.just("repeat"), st.sampled_from(items)))
    return st.one_of(kinds)


def byte_changes(file: str, length: int) -> st.SearchStrategy[Change]:
    """Bytes that are replaced, inserted or cut off."""
    place = st.tuples(st.integers(0, max(length - 1, 0)))
    some = st.lists(st.integers(0, 255), min_size=1, max_size=4)
    return st.one_of(
        st.builds(Change, st.just(file), st.just("bytes"), place, some),
        st.builds(Change, st.just(file), st.just("insert"), place, some),
        st.builds(Change, st.just(file), st.just("cut"), place),
    )


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield from _places(child, (*path, key))
