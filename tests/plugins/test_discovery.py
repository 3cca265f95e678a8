"""Discovery against distributions that the tests write themselves, by both of its ways."""

from __future__ import annotations

import ast
import itertools
import shutil
from importlib import metadata
from pathlib import Path
from unittest import mock

import entrypoints
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.plugins import discovery
from fusionkit.plugins.discovery import discover
from fusionkit.plugins.entries import Discovery

FUSERS, METRICS = "fusionkit.fusers", "fusionkit.metrics"
PACKAGE = Path(discovery.__file__).parents[1]

words = st.from_regex(r"[a-z][a-z0-9]{0,6}", fullmatch=True)
targets = st.builds(lambda m, c: f"{m}.sub:{c.capitalize()}", words, words)
groups = st.dictionaries(
    st.sampled_from([FUSERS, METRICS, "console_scripts", "other.group"]),
    st.dictionaries(words, targets, max_size=3),
    max_size=4,
)
worlds = st.dictionaries(words, groups, max_size=4)
"""Distributions, each with its entry points by group."""

_number = itertools.count()


def lay(folder: Path, world: dict[str, dict[str, dict[str, str]]]) -> None:
    for name, offered in world.items():
        info = folder / f"{name}-2.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
        lines = [f"[{group}]\n" + "".join(f"{n}={t}\n" for n, t in own.items()) for group, own in offered.items()]
        (info / "entry_points.txt").write_text("".join(lines))


def seen(found: Discovery) -> set[tuple[str, str, str, str]]:
    return {(entry.distribution, entry.version, entry.name, entry.target) for entry in found.entries}


def expected(world: dict[str, dict[str, dict[str, str]]], group: str) -> set[tuple[str, str, str, str]]:
    return {(dist, "2.5", name, target) for dist, own in world.items() for name, target in own.get(group, {}).items()}


@given(world=worlds)
def test_every_entry_of_every_distribution_is_found_with_its_origin(
    tmp_path_factory: pytest.TempPathFactory, world: dict[str, dict[str, dict[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp(f"world{next(_number)}")
    lay(folder, world)
    for group in (FUSERS, METRICS):
        found = discover(group, [str(folder)])
        assert seen(found) == expected(world, group)
        assert found.faults == ()
        assert all(entry.problems == () for entry in found.entries)
        assert [e.name for e in found.entries] == sorted(e.name for e in found.entries)
    shutil.rmtree(folder)


@given(world=worlds)
def test_one_malformed_file_of_a_stranger_costs_no_other_distribution_anything(
    tmp_path_factory: pytest.TempPathFactory, world: dict[str, dict[str, dict[str, str]]]
) -> None:
    folder = tmp_path_factory.mktemp(f"broken{next(_number)}")
    lay(folder, world)
    info = folder / "zz_stranger-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zz-stranger\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[console_scripts]\nthis line says nothing\n")
    with pytest.raises(Exception, match="parsing errors"):
        entrypoints.get_group_all(FUSERS, path=[str(folder)])
    found = discover(FUSERS, [str(folder)])
    assert seen(found) == expected(world, FUSERS)
    assert [(f.distribution, f.version, f.ours) for f in found.faults] == [("zz-stranger", "0.1", False)]
    shutil.rmtree(folder)


def both_ways(folder: Path, group: str = FUSERS) -> list[Discovery]:
    """By ``entrypoints``, and file by file as where its scan fails."""
    with mock.patch.object(entrypoints, "get_group_all", side_effect=ValueError("no scan")):
        fallback = discover(group, [str(folder)])
    return [discover(group, [str(folder)]), fallback]


def test_names_of_distributions_are_normalised(offer) -> None:
    folder = offer("My.Odd_Name", {FUSERS: {"x": "odd:X"}})
    for found in both_ways(folder):
        assert [entry.qualified for entry in found.entries] == ["my-odd-name:x"]


def test_extras_behind_a_target_are_ignored(offer) -> None:
    folder = offer("extra", {FUSERS: {"x": "extra.sub:X [fast]"}})
    for found in both_ways(folder):
        assert [(entry.target, entry.problems) for entry in found.entries] == [("extra.sub:X", ())]


def test_an_egg_info_of_an_editable_install_is_found(offer) -> None:
    folder = offer("egg", {FUSERS: {"x": "egg:X"}}, version="3.1", suffix="egg-info")
    for found in both_ways(folder):
        assert [(entry.qualified, entry.version) for entry in found.entries] == [("egg:x", "3.1")]


def test_the_first_of_two_distributions_of_one_name_hides_the_other_as_it_does_from_imports(offer) -> None:
    first = offer("twice", {FUSERS: {"new": "twice:New"}}, version="2.0", site="first")
    second = offer("Twice", {FUSERS: {"old": "twice:Old"}}, version="1.0", site="second")
    for path in ([first, second], [second, first]):
        wanted = "new" if path[0] == first else "old"
        assert [e.name for e in discover(FUSERS, [str(p) for p in path]).entries] == [wanted]
        with mock.patch.object(entrypoints, "get_group_all", side_effect=ValueError("no scan")):
            assert [e.name for e in discover(FUSERS, [str(p) for p in path]).entries] == [wanted]


def test_what_an_interrupted_pip_leaves_behind_is_ignored(offer) -> None:
    folder = offer("whole", {FUSERS: {"x": "whole:X"}})
    shutil.copytree(folder / "whole-1.0.dist-info", folder / "~hole-1.0.dist-info")
    for found in both_ways(folder):
        assert [entry.qualified for entry in found.entries] == ["whole:x"]


@pytest.mark.parametrize(
    ("requires", "met"),
    [
        ([], True),
        (["image-fusionkit"], True),
        (["Image_Fusionkit>=0.0.1"], True),
        (["image-fusionkit>=99"], False),
        (["image-fusionkit<0.0.1"], False),
        (["image-fusionkit (>=99)"], False),
        (['image-fusionkit>=99; extra == "all"'], True),
        (['image-fusionkit>=99; python_version < "3"'], True),
        (["image-fusionkit-extras>=99", "torch>=99"], True),
    ],
)
def test_a_plugin_for_another_version_is_known_before_it_is_imported(offer, requires: list[str], met: bool) -> None:
    folder = offer("versioned", {FUSERS: {"x": "absent_module:X"}}, requires=requires)
    for found in both_ways(folder):
        (entry,) = found.entries
        if met:
            assert entry.problems == ()
            continue
        (problem,) = entry.problems
        assert problem.stage == "version"
        assert entry.requires in problem.cause
        assert metadata.version("image-fusionkit") in problem.cause
        assert "versioned" in problem.remedy


def test_a_requirement_on_us_that_cannot_be_read_is_a_problem_of_that_distribution(offer) -> None:
    folder = offer("unclear", {FUSERS: {"x": "m:X"}}, requires=["image-fusionkit >== 1"])
    for found in both_ways(folder):
        assert [(p.stage, "image-fusionkit >== 1" in p.cause) for p in found.entries[0].problems] == [("version", True)]


def test_metadata_that_is_not_text_is_a_problem_of_that_distribution(offer) -> None:
    folder = offer("binary", {FUSERS: {"x": "m:X"}}, metadata=b"Name: binary\xff\xfe\n")
    offer("fine", {FUSERS: {"y": "m:Y"}})
    for found in both_ways(folder):
        assert [(e.qualified, [p.stage for p in e.problems]) for e in found.entries] == [
            ("binary:x", ["version"]),
            ("fine:y", []),
        ]


def test_without_metadata_the_folder_gives_name_and_version(offer) -> None:
    folder = offer("bare", {FUSERS: {"x": "m:X"}}, version="4.2")
    (folder / "bare-4.2.dist-info" / "METADATA").unlink()
    for found in both_ways(folder):
        assert [(e.distribution, e.problems) for e in found.entries] == [("bare", ())]


@pytest.mark.parametrize(
    ("line", "name", "told"),
    [
        ("x = not a target", "x", "'not a target' is not of the form module:Class"),
        ("x = module.only", "x", "'module.only' is not of the form module:Class"),
        ("x = m:X%s", "x", "is not of the form module:Class"),
        ("x =", "x", "line 2, gives the name no target"),
        ("x", "x", "line 2, gives the name no target"),
        ("x = m:X\nx = m:Z", "x", "twice (lines 2 and 3)"),
    ],
)
def test_a_malformed_line_is_a_problem_of_the_name_on_it_and_of_no_other(offer, line, name, told) -> None:
    folder = offer("malformed", f"[{FUSERS}]\n{line}\ny = m:Y\n")
    offer("fine", {FUSERS: {"w": "m:W"}})
    found = discover(FUSERS, [str(folder)])
    assert [entry.qualified for entry in found.entries] == ["fine:w", f"malformed:{name}", "malformed:y"]
    assert [len(entry.problems) for entry in found.entries] == [0, 1, 0]
    problem = found.entries[1].problems[0]
    assert problem.stage == "discover"
    assert told in problem.cause
    assert "malformed" in problem.remedy


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"x = m:X\n[{FUSERS}]\ny = m:Y\n", "line 1: 'x = m:X'"),
        (f"[{FUSERS}]\ny = m:Y\n???\n", "line 3: '???'"),
        (f"[{FUSERS}\nx = m:X\n[{FUSERS}]\ny = m:Y\n", "line 1"),
        (f"[{FUSERS}]\ny = m:Y\n= m:X\n", "line 3"),
    ],
)
def test_a_line_that_names_nothing_is_told_with_its_number(offer, text: str, told: str) -> None:
    folder = offer("malformed", text)
    found = discover(FUSERS, [str(folder)])
    assert "malformed:y" in [entry.qualified for entry in found.entries]
    assert told in found.faults[0].cause
    assert found.faults[0].ours


def test_a_file_that_is_not_text_is_a_fault_that_may_hide_one_of_ours(offer) -> None:
    folder = offer("binary", b"[fusionkit.fusers]\nx = \xff\xfe:X\n")
    offer("fine", {FUSERS: {"y": "m:Y"}})
    found = discover(FUSERS, [str(folder)])
    assert [entry.qualified for entry in found.entries] == ["fine:y"]
    assert [(fault.distribution, fault.ours) for fault in found.faults] == [("binary", True)]
    assert "\n" not in found.faults[0].cause


def test_a_section_given_twice_is_read_as_one(offer) -> None:
    folder = offer("sections", f"[{FUSERS}]\nx = m:X\n\n[{FUSERS}]\ny = m:Y\n")
    assert [e.name for e in discover(FUSERS, [str(folder)]).entries] == ["x", "y"]


def test_a_path_entry_that_is_no_string_or_is_not_there_is_no_obstacle(offer, tmp_path: Path) -> None:
    folder = offer("fine", {FUSERS: {"y": "m:Y"}})
    assert [e.name for e in discover(FUSERS, [folder, tmp_path / "absent", ""]).entries][:1] == ["y"]  # type: ignore[list-item]


def test_our_own_installation_reads_the_same_by_both_ways() -> None:
    with mock.patch.object(entrypoints, "get_group_all", side_effect=ValueError("no scan")):
        fallback = discover("fusionkit.tasks")
    assert fallback.entries == discover("fusionkit.tasks").entries
    assert {"ivif", "mif", "mfif", "meif"} <= {entry.name for entry in fallback.entries if entry.built_in}


def test_discovery_alone_imports_entrypoints() -> None:
    importers = []
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            if any(name.partition(".")[0] == "entrypoints" for name in names):
                importers.append(file.relative_to(PACKAGE).as_posix())
    assert importers == ["plugins/discovery.py"]


@pytest.mark.parametrize(
    ("stated", "left"),
    [
        (None, ["image-fusionkit", "other-one", "third"]),
        ("", ["image-fusionkit", "other-one", "third"]),
        ("off", ["image-fusionkit"]),
        ("Other_One", ["image-fusionkit", "other-one"]),
        ("third, other-one", ["image-fusionkit", "other-one", "third"]),
        ("nobody", ["image-fusionkit"]),
    ],
)
def test_an_environment_variable_switches_third_party_plugins_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str | None, left: list[str]
) -> None:
    lay(tmp_path, {name: {FUSERS: {f"of-{name}": "a:B"}} for name in ("image_fusionkit", "other_one", "third")})
    broken = tmp_path / "broken-1.0.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_text("[fusionkit.fusers]\nno target here\n")
    monkeypatch.delenv(discovery.VARIABLE, raising=False)
    if stated is not None:
        monkeypatch.setenv(discovery.VARIABLE, stated)
    found = discover(FUSERS, [str(tmp_path)])
    assert sorted(entry.distribution for entry in found.entries) == left
    assert bool(found.faults) is (not stated)
