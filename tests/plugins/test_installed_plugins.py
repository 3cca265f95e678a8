"""Broken plugins, really installed by pip, as the command line meets them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
from fusionkit.contracts import Fuser

class Good(Fuser):
    def forward(self, *sources):
        return sources[0]
"""

PLUGINS = {
    # distribution: (name, target, module's text, further requirement)
    "plug-good": ("fine", "plug_good:Good", GOOD, ""),
    "plug-import": ("broken-import", "plug_import:Good", "import a_module_nobody_has", ""),
    "plug-wrong": ("wrong-class", "plug_wrong:Good", "class Good: pass", ""),
    "plug-clash-a": ("clash", "plug_clash_a:Good", GOOD, ""),
    "plug-clash-b": ("clash", "plug_clash_b:Good", GOOD, ""),
    "plug-new": ("too-new", "plug_new:Good", GOOD, "image-fusionkit>=99"),
    "plug-thief": ("ivif", "plug_thief:TASK", "from fusionkit.tasks import IVIF as TASK", ""),
    "plug-malformed": ("malformed", "plug_malformed:Good", GOOD, ""),
}


def write_package(folder: Path, distribution: str) -> Path:
    name, target, text, requirement = PLUGINS[distribution]
    module = target.partition(":")[0]
    group = "tasks" if target.endswith(":TASK") else "fusers"
    root = folder / distribution
    root.mkdir()
    (root / f"{module}.py").write_text(text)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{distribution}"\nversion = "1.2"\n'
        f"dependencies = {json.dumps([requirement] if requirement else [])}\n"
        f'[project.entry-points."fusionkit.{group}"]\n"{name}" = "{target}"\n'
        f'[tool.hatch.build.targets.wheel]\ninclude = ["{module}.py"]\n'
    )
    return root


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every one of them installed; one has its entry points damaged afterwards."""
    sources = tmp_path_factory.mktemp("sources")
    target = tmp_path_factory.mktemp("site")
    roots = [str(write_package(sources, distribution)) for distribution in PLUGINS]
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(target), *roots],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    damaged = target / "plug_malformed-1.2.dist-info" / "entry_points.txt"
    damaged.write_text("[fusionkit.fusers]\nmalformed plug_malformed:Good\nmalformed2\n")
    return target


def fusionkit(site: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fusionkit", *args],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def listed(site: Path) -> dict[tuple[str, str], dict[str, object]]:
    done = fusionkit(site, "plugins", "list", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return {(row["distribution"], row["name"]): row for row in json.loads(done.stdout)["plugins"]}


@pytest.fixture(scope="module")
def checked(site: Path) -> subprocess.CompletedProcess[str]:
    return fusionkit(site, "plugins", "check")


def test_every_one_is_listed_with_where_it_comes_from(listed) -> None:
    for distribution, (name, target, _, requirement) in PLUGINS.items():
        if distribution != "plug-malformed":
            row = listed[distribution, name]
            assert (row["target"], row["version"]) == (target, "1.2")
            assert row["requires"] == requirement.removeprefix("image-fusionkit")
            assert row["built_in"] is False
    assert listed["image-fusionkit", "ivif"]["built_in"] is True


def test_the_list_tells_what_metadata_tells(listed) -> None:
    problems = {key: row["problem"] and row["problem"]["stage"] for key, row in listed.items() if key[0][:4] == "plug"}
    assert problems == {
        ("plug-good", "fine"): None,
        ("plug-import", "broken-import"): None,
        ("plug-wrong", "wrong-class"): None,
        ("plug-clash-a", "clash"): "discover",
        ("plug-clash-b", "clash"): "discover",
        ("plug-new", "too-new"): "version",
        ("plug-thief", "ivif"): "discover",
        ("plug-malformed", "malformed2"): "discover",
    }


def test_the_list_in_a_pipe_is_one_aligned_line_an_entry(site: Path) -> None:
    done = fusionkit(site, "plugins", "list")
    lines = done.stdout.splitlines()
    place = lines[0].index("target")
    assert lines[0].split() == ["kind", "name", "from", "target", "problem"]
    assert next(line for line in lines if " fine " in line)[place:].split() == ["plug_good:Good", "-"]
    assert "note: plug-malformed 1.2: entry_points.txt, line 2" in done.stderr


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("fuser fine (plug-good 1.2): ok", ""),
        ("fuser broken-import (plug-import 1.2): FAILED at load: ", "No module named 'a_module_nobody_has'"),
        ("fuser wrong-class (plug-wrong 1.2): FAILED at contract: ", "not a subclass of fusionkit.contracts.Fuser"),
        ("fuser clash (plug-clash-a 1.2): FAILED at discover: ", "plug-clash-a 1.2 and by plug-clash-b 1.2"),
        ("fuser clash (plug-clash-b 1.2): FAILED at discover: ", "'plug-clash-a:clash'"),
        ("fuser too-new (plug-new 1.2): FAILED at version: ", "it needs image-fusionkit>=99"),
        ("fuser malformed2 (plug-malformed 1.2): FAILED at discover: ", "line 3"),
        ("task ivif (plug-thief 1.2): FAILED at discover: ", "built in"),
        ("task ivif (image-fusionkit 0.1.0): ok", ""),
        ("FAILED: plug-malformed 1.2: entry_points.txt, line 2: ", "'malformed plug_malformed:Good'"),
    ],
)
def test_the_check_names_each_problem_with_stage_and_cause(checked, start: str, told: str) -> None:
    (line,) = [line for line in checked.stdout.splitlines() if line.startswith(start)]
    assert told in line


def test_the_check_exits_3_and_sums_up_in_one_line(checked) -> None:
    assert checked.returncode == 3
    assert checked.stderr.startswith("error: ")
    assert checked.stderr.count("\n") == 1
    for name in ("broken-import", "wrong-class", "clash", "too-new", "malformed2", "ivif", "plug-malformed"):
        assert name in checked.stderr


@pytest.mark.parametrize(
    ("name", "code"),
    [("fine", 0), ("clash", 3), ("plug-clash-a:clash", 3), ("Plug_New", 3)],
)
def test_a_check_of_one_name_is_about_that_name_alone(site: Path, name: str, code: int) -> None:
    done = fusionkit(site, "plugins", "check", name)
    assert done.returncode == code, done.stderr
    assert len(done.stdout.splitlines()) == (2 if name == "clash" else 1)


def test_a_check_of_an_unknown_name_says_so(site: Path) -> None:
    done = fusionkit(site, "plugins", "check", "fin")
    assert done.returncode == 2
    assert "no plugin and no distribution of plugins is called 'fin': did you mean 'fine'?" in done.stderr


def test_what_works_is_used_by_name_beside_all_that_is_broken(site: Path) -> None:
    code = (
        "from fusionkit.plugins.catalogue import fusers, tasks\n"
        "import torch\n"
        "a = torch.rand(1, 1, 4, 5)\n"
        "print(torch.equal(fusers.get('fine')()(a, 1 - a), a))\n"
        "print(fusers.get('plug-clash-b:clash').__module__)\n"
        "print(tasks.get('ivif').title, '|', tasks.get('plug-thief:ivif').title)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        # The damaged file would end PyTorch's own import; the command line sees to that by itself.
        env={**os.environ, "PYTHONPATH": str(site), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines() == [
        "True",
        "plug_clash_b",
        "infrared-visible image fusion | infrared-visible image fusion",
    ], done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_the_list_on_a_narrow_terminal_keeps_names_whole_and_wraps_problems(site: Path) -> None:
    import pty

    master, slave = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "80", "TERM": "xterm"}
    process = subprocess.Popen([sys.executable, "-m", "fusionkit", "plugins", "list"], stdout=slave, env=env)
    os.close(slave)
    shown = bytearray()
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    assert process.wait(timeout=60) == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    for distribution, (name, *_) in PLUGINS.items():
        if distribution != "plug-malformed":
            assert any(line.split()[1:3] == [name, distribution] for line in lines), name
    assert all(len(line) <= 80 for line in lines)
    assert "needs" in "".join(lines)
