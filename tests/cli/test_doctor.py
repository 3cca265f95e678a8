"""``fusionkit doctor``, completion by a shell, and JSON from every command that lists."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from fusionkit.cli import installation, main
from fusionkit.cli.installation import examine
from fusionkit.plugins import catalogue

PARTS = ["versions", "devices", "native forms", "extras", "plugins", "models", "folders"]


@pytest.fixture(scope="module")
def facts() -> list[dict[str, Any]]:
    return [fact.as_dict() for fact in examine()]


def test_every_part_is_looked_at_and_nothing_here_is_wrong(facts: list[dict[str, Any]]) -> None:
    assert list(dict.fromkeys(fact["part"] for fact in facts)) == PARTS
    assert [fact for fact in facts if fact["state"] == "wrong"] == []
    named = {(fact["part"], fact["name"]): fact["found"] for fact in facts}
    assert named["versions", "torch"] == metadata.version("torch")
    assert "refusion" in named["models", "ivif"]
    declared = set(metadata.metadata("image-fusionkit").get_all("Provides-Extra") or ()) - {"dev"}
    assert {name for part, name in named if part == "extras"} == declared
    assert all(fact["remedy"] for fact in facts if fact["state"] == "absent")


def test_an_extra_that_lacks_a_package_says_which_and_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = metadata.version

    def version(name: str) -> str:
        if name == "rawpy":
            raise metadata.PackageNotFoundError(name)
        return "0.1" if name == "av" else versions(name)

    monkeypatch.setattr(metadata, "version", version)
    found = {name: (state, told, remedy) for name, state, told, remedy in installation._extras()}
    assert found["raw"] == ("absent", "lacks rawpy", "pip install 'image-fusionkit[raw]'")
    assert found["video"][1] == "lacks av>=14 (there is 0.1)"


def test_a_part_that_fails_is_told_beside_the_others_and_exits_3(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise RuntimeError("it is\nbroken")

    parts = {"devices": fail, "folders": installation._folders}
    monkeypatch.setattr(installation, "_PARTS", parts)
    monkeypatch.setattr(installation.os, "access", lambda place, mode: False)
    result = CliRunner().invoke(main, ["doctor"])
    assert result.exit_code == 3
    assert "  !!  cannot be looked at: RuntimeError: it is broken" in result.stdout
    assert "cannot be written\n      name another one by the environment variable FUSIONKIT_CACHE" in result.stdout
    assert result.stderr.startswith("error: 4 things are wrong: ")


def complete(words: str, place: int) -> list[str]:
    """What bash would offer for word number ``place``."""
    env = {"_FUSIONKIT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    done = CliRunner().invoke(main, [], prog_name="fusionkit", env=env)
    return [line.split(",", 1)[1] for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("words", "place", "offered"),
    [
        ("fusionkit d", 1, ["data", "doctor"]),
        ("fusionkit plugins n", 2, ["new"]),
        ("fusionkit fuse --task mf", 3, ["mfif"]),
        ("fusionkit fuse --model refu", 3, ["refusion"]),
        ("fusionkit fuse --align aff", 3, ["affine"]),
        ("fusionkit train refu", 2, ["refusion"]),
        ("fusionkit score --metric VIF", 3, ["VIFF", "VIFp", "VIFp-truth"]),
        ("fusionkit bench --tas", 2, ["--task"]),
    ],
)
def test_commands_options_and_names_are_completed(
    words: str, place: int, offered: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for registry in (catalogue.fusers, catalogue.trainers):
        monkeypatch.setattr(registry, "_registered", {})  # other tests register some in this process
    assert complete(words, place) == offered


def test_completing_imports_nothing_heavy() -> None:
    code = (
        "import os, sys\n"
        "os.environ |= {'_FUSIONKIT_COMPLETE': 'bash_complete', 'COMP_CWORD': '3'}\n"
        "os.environ['COMP_WORDS'] = 'fusionkit fuse -m la'\n"
        "from fusionkit.cli import main\n"
        "try: main([], prog_name='fusionkit')\n"
        "except SystemExit: pass\n"
        "print('heavy:', sorted({'torch', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.splitlines() == ["plain,laplacian", "heavy: []"], done.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_takes_the_script(tmp_path: Path) -> None:
    script = CliRunner().invoke(main, ["completion", "bash"]).stdout
    (tmp_path / "script").write_text(script, encoding="utf-8")
    command = ["bash", "-c", f"source {tmp_path / 'script'} && complete -p fusionkit"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("fusionkit")


def listing_commands() -> list[tuple[str, ...]]:
    """Every command that lists or reports: by name, or by what it is for."""
    found: list[tuple[str, ...]] = []
    for name in main.list_commands(click.Context(main)):
        command = main.get_command(click.Context(main), name)
        if isinstance(command, click.Group):
            found += [(name, inner) for inner in command.commands if inner in ("list", "show", "check", "verify")]
        elif name in ("doctor", "metrics", "score"):
            found.append((name,))
    return found


def test_every_command_that_lists_prints_json(tmp_path: Path) -> None:
    arguments = {
        ("data", "show"): ["MSRS"],
        ("data", "verify"): ["sample", "--task", "mfif"],
        ("models", "show"): ["refusion:ivif"],
        ("plugins", "check"): ["laplacian"],
    }
    elsewhere = {("weights", "show"), ("results", "verify"), ("score",)}
    """They need files, and have tests of their own."""
    commands = listing_commands()
    assert len(commands) >= 11
    for words in commands:
        command: Any = main
        for word in words:
            command = command.get_command(click.Context(command), word)
        assert any("--json" in option.opts for option in command.params), words
        if words in elsewhere or words == ("doctor",):
            continue
        result = CliRunner().invoke(main, [*words, *arguments.get(words, []), "--json"])
        assert result.exit_code == 0, (words, result.output)
        assert json.loads(result.stdout), words
