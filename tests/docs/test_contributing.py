"""Follow the boxes of CONTRIBUTING.md word by word, in a copy of the repository that is installed beside this one."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from fusionkit.cli import main
from tests.support.pages import ROOT

_COPIED = (
    "fusionkit",
    "plugins",
    "tests",
    "pyproject.toml",
    "hatch_build.py",
    "README.md",
    "LICENSE",
    "CONTRIBUTING.md",
)
_FENCE = re.compile(r'^ *```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<body>.*?)^ *```$', re.DOTALL | re.M)
_RUN = """
import json, sys, pytest
failed = pytest.main(["-p", "no:cacheprovider", "-p", "no:xdist", *sys.argv[1:]])
from fusionkit.cli import main
for command in json.load(sys.stdin):
    main(command, standalone_mode=False)
sys.exit(failed)
"""


@dataclass(frozen=True)
class Box:
    """One "Add a ..." section: files by path, and shell commands."""

    files: dict[str, str]
    commands: tuple[str, ...]


def boxes() -> dict[str, Box]:
    """The boxes of the page by name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {}
    for name, body in re.findall(r"^## Add an? ([\w ]+)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.M):
        files, commands = {}, []
        for fence in _FENCE.finditer(body):
            block = textwrap.dedent(fence["body"])
            if fence["title"]:
                files[fence["title"]] = block
            else:
                commands += block.splitlines()
        found[name] = Box(files, tuple(commands))
    return found


BOXES = boxes()


@dataclass(frozen=True)
class Copy:
    """The repository's copy, with every box followed up to its installation."""

    root: Path
    env: dict[str, str]

    def run(self, *arguments: str, given: str | None = None) -> str:
        """Run Python in the copy; return what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env=self.env,
            input=given,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def follow(root: Path, path: str, block: str) -> None:
    """Write a new file; add to one that is there: lines below a table's head, or text at the end."""
    file = root / path
    if path.endswith(".toml"):
        head, entry = block.split("\n", 1)
        text = file.read_text(encoding="utf-8")
        assert text.count(head) == 1
        file.write_text(text.replace(head, f"{head}\n{entry.rstrip()}"), encoding="utf-8")
    elif file.is_file():
        file.write_text(f"{file.read_text(encoding='utf-8').rstrip()}\n\n\n{block}", encoding="utf-8")
    else:
        assert file.parent.is_dir(), file
        file.write_text(block, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    root = tmp_path_factory.mktemp("contributing") / "repository"
    root.mkdir()
    skipped = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in _COPIED:
        here = ROOT / name
        if here.is_dir():
            shutil.copytree(here, root / name, ignore=skipped)
        else:
            shutil.copy(here, root)
    for box in BOXES.values():
        for path, block in box.files.items():
            follow(root, path, block)
    site = root.parent / "site"
    path = [str(site), str(root), str(root / "plugins"), os.environ.get("PYTHONPATH", "")]
    made = Copy(root, {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, path))})
    (install,) = {command for box in BOXES.values() for command in box.commands if command.startswith("pip install")}
    # Into a folder of its own: the environment that runs this test stays as it is.
    made.run("-m", *shlex.split(install), "--quiet", "--target", str(site))
    return made


def test_every_kind_of_addition_has_a_box() -> None:
    assert list(BOXES) == ["metric", "fuser", "data set", "downstream network", "profile"]
    for box in BOXES.values():
        kinds = [path.partition("/")[0] for path in box.files]
        assert "pyproject.toml" in kinds
        assert "tests" in kinds


def test_every_box_names_the_command_that_writes_a_package_instead(tmp_path: Path) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    written = re.findall(
        r"^## Add .*\n\nIn a package of your own: `fusionkit (plugins new \S+ --only \S+)`", text, re.M
    )
    assert len(written) == len(BOXES)
    for command in written:
        done = CliRunner().invoke(main, [*shlex.split(command), "--dir", str(tmp_path)])
        assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def printed(copy: Copy) -> str:
    """Output of the boxes' ``pytest`` and ``fusionkit`` commands, run in one process that imports PyTorch once."""
    commands = [shlex.split(command) for box in BOXES.values() for command in box.commands]
    tests = [command[1:] for command in commands if command[0] == "pytest"]
    assert len(tests) == len(BOXES)
    files = [word for call in tests for word in call if word.endswith(".py")]
    # -k chooses by the names of files, too: one choice for all calls.
    chosen = [call[call.index("-k") + 1] if "-k" in call else Path(call[0]).stem for call in tests]
    cli = [command[1:] for command in commands if command[0] == "fusionkit"]
    # The one test that tries many random images is left out for its time.
    return copy.run("-c", _RUN, *files, "-k", f"({' or '.join(chosen)}) and not any_images", given=json.dumps(cli))


def test_the_tests_of_the_boxes_pass(printed: str) -> None:
    for box in BOXES.values():
        (own,) = (path for path in box.files if path.startswith("tests/"))
        assert re.search(rf"^{own} \.+", printed, re.M), own
    assert re.search(r"^tests/metrics/test_every_metric.py [.s]{10,}", printed, re.M)
    assert " failed" not in printed


def test_what_the_boxes_add_is_registered(printed: str) -> None:
    assert "variance of the Laplacian" in printed
    assert "fuser midrange (image-fusionkit" in printed
    assert "FogStreets: Streets in fog" in printed
    assert "outer loss levels (image-fusionkit" in printed
    assert "FAILED" not in printed


def test_the_code_of_the_boxes_is_clean(copy: Copy) -> None:
    files = [path for box in BOXES.values() for path in box.files if path.endswith(".py")]
    copy.run("-m", "ruff", "check", *files)
    copy.run("-m", "ruff", "format", "--check", *files)
