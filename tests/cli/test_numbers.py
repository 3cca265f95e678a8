"""Numbers that no command can use are refused before the work, by the option's name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from fusionkit.cli import main


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train refusion --task ivif --checkpoint-every nan", "'--checkpoint-every': nan is not a finite number"),
        ("train refusion --task ivif --checkpoint-every -5", "'--checkpoint-every': -5.0 is not in the range"),
        ("train refusion --task ivif --threads 99999999", "'--threads': 99999999 is not in the range"),
        ("train refusion --task ivif --seed -1", "--seed -1: give a whole number from 0"),
        ("train refusion --task ivif --seed 99999999999999999999999", "give a whole number from 0"),
        ("fuse -m average a.png b.png -o c.png --spacing nan", "'--spacing': nan is not a finite number"),
        ("fuse -m average a.png b.png -o c.png --spacing inf", "'--spacing': inf is not a finite number"),
        ("app --keep nan", "'--keep': nan is not a finite number"),
        ("app --keep inf", "'--keep': inf is not a finite number"),
        ("app --device cuda:99", "--device cuda:99: "),
        ("live --seconds nan", "'--seconds': nan is not a finite number"),
    ],
)
def test_a_number_that_cannot_be_used_is_refused(
    command: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_weights_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    for command in ("weights show {}", "weights import {} -o out.safetensors"):
        result = CliRunner().invoke(main, command.format(tmp_path / "model.safetensors").split())
        assert result.exit_code == 4, result.output
        assert result.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'model.safetensors'}: ")
