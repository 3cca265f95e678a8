"""The shell commands of the pages: every one is possible, and the cheap ones do what the page says."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fusionkit.cli import main
from fusionkit.config import parse_assignments, resolve
from fusionkit.plugins import catalogue
from tests.support.pages import PAGES, READ_ALONE, commands

WITH_COMMANDS = [page for page in (*PAGES, *READ_ALONE) if commands(page)]
CHEAP = ("--version", "data", "fuse", "metrics", "models", "plugins", "sample", "score", "weights")
ELSEWHERE = (
    "MFNet",
    "MSRS",
    "/data/MSRS",
    "mine",
    "pet.png",
    "ir.png",
    "infrared.png",
    "infrared.mp4",
    "infrared.mkv",
    "ReFusion_IVIF.pth",
    "ct.png",
    "ct.nii.gz",
    "pet.nii.gz",
    "near/",
    "student.model",
    "Final.model",
    "Encoder_weight_IJCAI.pkl",
    "mmdrfuse.safetensors",
    "shot-",
    "thermal/",
    "ir/",
    "new-ir/",
)
"""Data that only a reader has."""
PLUGIN = "my-method"


def parse(arguments: list[str]) -> tuple[click.Command, click.Context]:
    """Parse a command line down to its last command; raises as click does where it is not possible."""
    command: click.Command = main
    context = click.Context(main, info_name="fusionkit")
    rest = list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        inner = command.get_command(context, name)
        assert inner is not None, f"there is no command {name!r} in fusionkit {' '.join(arguments)}"
        command, context = inner, click.Context(inner, info_name=name, parent=context)
    if isinstance(command, click.Group):
        assert all(any(word in option.opts for option in command.params) for word in rest)
        return command, context
    return command, command.make_context(command.name, rest)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.stem)
def test_commands_options_and_settings_exist(page: Path) -> None:
    for arguments in commands(page):
        command, context = parse(arguments)
        if command.name == "train" and context.params["method"] not in (None, PLUGIN):
            given = context.params
            trainer = catalogue.trainers.get(given["method"])
            preset = given["preset"] or next(iter(trainer.presets))
            resolve(
                trainer.Config, (preset, trainer.presets[preset]), ("--set", parse_assignments(given["assignments"]))
            )
            catalogue.tasks.get(given["task"])


def test_an_option_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        parse(["train", "refusion", "--tusk", "mif"])


def is_cheap(arguments: list[str]) -> bool:
    resumes = arguments[:2] == ["train", "--resume"]
    names_elsewhere = any(word.startswith(ELSEWHERE) or PLUGIN in word for word in arguments)
    return (arguments[0] in CHEAP or resumes) and (not names_elsewhere or arguments[:2] == ["plugins", "new"])


@pytest.mark.parametrize("page", [page for page in WITH_COMMANDS if page in PAGES], ids=lambda page: page.stem)
def test_the_cheap_commands_of_a_page_run_in_its_order(
    page: Path, short_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [arguments for arguments in commands(page) if is_cheap(arguments)]
    if page.stem == "index":
        chosen.sort(key=lambda arguments: arguments[0] != "sample")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / short_run.name).symlink_to(short_run)
    for arguments in chosen:
        if arguments[0] == "score" and "--metric" not in arguments:
            # All metrics of all profiles have tests of their own, and take their time.
            arguments = [*arguments, "--metric", "EN,SSIM"]
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 0, f"fusionkit {' '.join(arguments)}\n{done.output}"


def test_the_scaffold_is_called_as_the_page_on_plugins_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["plugins", "new", PLUGIN]).exit_code == 0
    assert (tmp_path / "fusionkit-my-method" / "pyproject.toml").is_file()
    text = next(page for page in PAGES if page.stem == "plugins").read_text(encoding="utf-8")
    assert "./fusionkit-my-method" in text


def test_the_message_on_the_page_on_runs_is_the_real_one() -> None:
    text = next(page for page in PAGES if page.stem == "runs").read_text(encoding="utf-8")
    done = CliRunner().invoke(main, ["train", "refusion", "--task", "miff"])
    assert done.exit_code == 2
    assert done.output.strip() in text
