"""Plugins that fail when they are called: one line that names the plugin, wherever it is used."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from fusionkit.cli import main
from fusionkit.contracts import Fuser
from fusionkit.errors import PluginError
from fusionkit.fuse.model import Model
from fusionkit.fuse.tensors import fuse_tensors
from fusionkit.plugins import catalogue

A, B = torch.rand(1, 1, 6, 7), torch.rand(1, 1, 6, 7)


class Raising(Fuser):
    def forward(self, *sources: Tensor) -> Tensor:
        raise ValueError("only multiples of 32")


class Exiting(Fuser):
    def forward(self, *sources: Tensor) -> Tensor:
        sys.exit("no licence")


class Needy(Fuser):
    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        raise RuntimeError("no GPU here")

    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0]


class Numpy(Fuser):
    def forward(self, *sources: Tensor) -> Any:
        return ((sources[0] + sources[1]) / 2).numpy()


class Bytes(Fuser):
    def forward(self, *sources: Tensor) -> Tensor:
        return 255 * (sources[0] + sources[1]) / 2


class Rounding(Fuser):
    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0] * 0 + 1.004


class Printing(Fuser):
    def forward(self, *sources: Tensor) -> Tensor:
        print("hello from a plugin")
        return sources[0]


TOYS = {kind.__name__.lower() + "-toy": kind for kind in (Raising, Exiting, Needy, Numpy, Bytes, Rounding, Printing)}


@pytest.fixture(autouse=True)
def _registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name, kind in TOYS.items():
        catalogue.fusers.register(name, kind)
    for name in ("a.png", "b.png"):
        cv2.imwrite(name, np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8))
    yield
    for name in TOYS:
        catalogue.fusers._registered.pop(name, None)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Raising, "Raising of .* cannot fuse these sources: ValueError: only multiples of 32"),
        (Exiting, "Exiting of .* cannot fuse these sources: SystemExit: no licence"),
        (Numpy, "Numpy of .* gave back a ndarray"),
        (Bytes, r"Bytes of .* gave values from \d+\.?\d* to 2\d\d"),
    ],
)
def test_a_fuser_that_fails_is_named(kind: type[Fuser], words: str) -> None:
    with pytest.raises(PluginError, match=words):
        fuse_tensors(kind(), A, B)


def test_rounding_past_1_is_clipped_without_a_word() -> None:
    assert torch.equal(fuse_tensors(Rounding(), A, B), torch.ones_like(A))


@pytest.mark.parametrize("name", ["raising-toy", "exiting-toy", "needy-toy", "numpy-toy", "bytes-toy"])
def test_fuse_ends_with_one_line_and_the_code_of_plugins_and_writes_nothing(name: str) -> None:
    result = run("fuse", "-m", name, "-a", "a.png", "-b", "b.png", "-o", "out.png", "--device", "cpu")
    assert result.exit_code == 3, result.output
    assert len(result.stderr.splitlines()) == 1
    assert TOYS[name].__name__ in result.stderr
    assert not Path("out.png").exists()


@pytest.mark.parametrize("name", ["raising-toy", "exiting-toy", "needy-toy", "numpy-toy", "bytes-toy"])
def test_check_finds_what_a_call_would_meet(name: str) -> None:
    result = run("plugins", "check", name)
    assert result.exit_code == 3, result.output
    assert "FAILED at call" in result.stdout
    assert TOYS[name].__name__ in result.stdout


def test_check_passes_what_works_and_prints_nothing_of_it() -> None:
    result = run("plugins", "check", "printing-toy")
    assert (result.exit_code, result.stdout.count("\n")) == (0, 1), result.output
    assert "hello" not in result.stdout


def test_what_a_plugin_prints_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    Model(Printing()).fuse(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello" in captured.err


def test_a_bench_refuses_a_fuser_that_cannot_be_built_before_the_work() -> None:
    for side in ("ir", "vi"):
        Path(side).mkdir()
        shutil.copy("a.png", f"{side}/0.png")
    args = ("--task", "ivif", "--data", ".", "--split", "all", "-m", "EN", "--device", "cpu", "-o", "out")
    result = run("bench", *args, "--fuser", "average", "--fuser", "needy-toy")
    assert result.exit_code == 3, result.output
    assert len(result.stderr.splitlines()) == 1
    assert "Needy" in result.stderr


@pytest.mark.parametrize("bad", ["raising-toy", "exiting-toy", "numpy-toy", "bytes-toy"])
def test_a_bench_goes_on_without_a_plugin_that_fails(bad: str) -> None:
    for side in ("ir", "vi"):
        Path(side).mkdir()
        for k in range(2):
            cv2.imwrite(f"{side}/{k}.png", np.random.default_rng(k).integers(0, 256, (20, 30), dtype=np.uint8))
    args = ("--task", "ivif", "--data", ".", "--split", "all", "-m", "EN", "--device", "cpu", "-o", "out")
    result = run("bench", *args, "--fuser", "average", "--fuser", bad)
    assert "internal error" not in result.output
    board = json.loads(next(Path("out").rglob("average*.json")).read_text())
    assert len(board["images"]) == 2
