"""Imports run one way, and the core knows no plugin."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from fusionkit.plugins import catalogue

ROOT = Path(__file__).parent.parent
CORE = ROOT / "fusionkit"
PLUGINS = sorted(place.name for place in (ROOT / "plugins").iterdir() if place.name.startswith("fusionkit_"))
BUILDS_ON = {
    "fusionkit_refusion": {"fusionkit_restormer"},
    "fusionkit_rivals": {"fusionkit_restormer"},
    "fusionkit_tdfusion": {"fusionkit_restormer"},
}
"""Plugins that use another's public classes; no other arrow between plugins is allowed."""
SHARED_NAMES: set[str] = set()
"""Names that two modules still share."""
ORDINARY = {"average", "detection", "edges", "equal", "maximum", "segmentation"}
"""Registered names of plugins that are words with another meaning in the core, such as the kinds of labels."""
HEAVY = {"torch", "numpy", "cv2", "kornia", "scipy", "skimage", "matplotlib"}


def _imports(file: Path, *, top_level: bool = False) -> set[str]:
    """Modules and names that a file imports, for annotations too; with ``top_level``, only what runs at once."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = list(tree.body) if top_level else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _files(*parts: str) -> list[Path]:
    place = CORE.joinpath(*parts)
    found = [place] if place.suffix == ".py" else [f for f in place.rglob("*.py") if "template" not in f.parts]
    assert found, place
    return found


def _core() -> list[Path]:
    return [f for f in sorted(CORE.rglob("*.py")) if not {"template", "parts"} & set(f.parts)]


def _module(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _reaches(files: list[Path], *targets: str) -> list[str]:
    return [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in files
        for name in _imports(file)
        if any(name == target or name.startswith(target + ".") for target in targets)
    ]


def test_the_core_never_imports_a_plugin() -> None:
    files = [f for f in CORE.rglob("*.py") if "template" not in f.parts]
    assert not _reaches(files, *PLUGINS)


def _texts(file: Path) -> dict[int, str]:
    """Line -> string constants of a module, without docstrings and the help texts of options: these hold examples."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            skipped.add(node.value)
        elif isinstance(node, ast.keyword) and node.arg == "help":
            skipped |= set(ast.walk(node.value))
    found = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str) and n not in skipped]
    return {node.lineno: node.value for node in found}


def test_the_core_knows_no_method_by_name() -> None:
    names = {
        entry.name
        for registry in catalogue.registries()
        for entry in registry.entries()
        if entry.target.startswith(tuple(PLUGINS))
    }
    assert {"refusion", "tdfusion", "laplacian", "copy-a"} <= names
    words = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, sorted(names - ORDINARY)))})(?!\w)")
    known = [
        f"{file.relative_to(ROOT)}:{line}: {text[:60]!r}"
        for file in CORE.rglob("*.py")
        if "template" not in file.parts
        for line, text in _texts(file).items()
        if words.search(text)
    ]
    assert not known


@pytest.mark.parametrize("plugin", PLUGINS)
def test_plugins_import_neither_each_other_nor_the_command_line(plugin: str) -> None:
    files = list((ROOT / "plugins" / plugin).rglob("*.py"))
    assert files
    others = set(PLUGINS) - {plugin} - BUILDS_ON.get(plugin, set())
    private = [
        f"{f.name}: {name}" for f in files for name in _imports(f) if "._" in name and name.startswith("fusionkit")
    ]
    assert not _reaches(files, *others, "fusionkit.cli", "fusionkit.train.run_folder", "fusionkit.train.run")
    assert not private


FLOORS = (
    ("errors", "tasks"),
    ("runtime", "io"),
    ("config",),
    ("contracts",),
    ("plugins",),
    ("metrics", "data"),
    ("models",),
    ("fuse", "train"),
    ("bench",),
    ("testing", "app"),
    ("cli",),
)
"""The rooms of the core: each imports only from the floors before its own."""


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_every_room_of_the_core_has_a_floor() -> None:
    rooms = {f.relative_to(CORE).parts[0].removesuffix(".py") for f in CORE.rglob("*.py")} - {"__init__", "__main__"}
    assert rooms == {room for floor in FLOORS for room in floor}
    assert len(rooms) <= 16


@pytest.mark.parametrize(("level", "room"), [(k, room) for k, floor in enumerate(FLOORS) for room in floor])
def test_imports_run_one_way(level: int, room: str) -> None:
    place = CORE / room
    below = {name for floor in FLOORS[:level] for name in floor} | {room, ""}
    upward = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in _files(room if place.is_dir() else f"{room}.py")
        for name in _imports(file)
        if name.startswith("fusionkit.") and _room(name) not in below
    ]
    assert not upward


def test_no_modules_import_each_other_in_a_circle() -> None:
    plugins = [f for f in sorted((ROOT / "plugins").rglob("*.py")) if "template" not in f.parts]
    files = {_module(file).removeprefix("plugins."): file for file in (*_core(), *plugins)}
    graph = {name: {other for other in _imports(file) if other in files} - {name} for name, file in files.items()}
    assert len(list(TopologicalSorter(graph).static_order())) == len(files)


def test_no_two_modules_of_the_core_share_a_name() -> None:
    files = [f for f in CORE.rglob("*.py") if not {"template", "cli"} & set(f.parts) and f.stem != "__init__"]
    names = [f.stem for f in files]
    assert sorted({name for name in names if names.count(name) > 1}) == sorted(SHARED_NAMES)


def test_no_command_imports_anything_heavy_before_it_runs() -> None:
    slow = [
        f"{file.name} imports {name}"
        for file in _files("cli")
        for name in _imports(file, top_level=True)
        if name.partition(".")[0] in HEAVY
    ]
    assert not slow


def test_entrypoints_is_imported_in_one_place() -> None:
    files = [f.relative_to(CORE).as_posix() for f in CORE.rglob("*.py") if "entrypoints" in _imports(f)]
    assert len(files) == 1
    assert files[0].startswith("plugins/")


def test_files_stay_one_room() -> None:
    long = {
        str(f.relative_to(ROOT)): n
        for place in ("fusionkit", "plugins")
        for f in (ROOT / place).rglob("*.py")
        if (n := len(f.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
