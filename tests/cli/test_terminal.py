"""What is written does not depend on the terminal, and what is printed cannot steer it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from fusionkit.cli import main
from fusionkit.cli.notes import answer, say
from fusionkit.io.text import as_csv_cell

FILES = ("index.html", "board.md", "board.csv", "board.json")


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for side in ("ir", "vi"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for name in ("0", "1"):
            image = np.random.default_rng(int(name)).integers(0, 256, (20, 24), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "pairs" / side / f"{name}.png"), image)
    return tmp_path / "pairs"


def bench(pairs: Path, out: Path) -> list[str]:
    data = [
        "--task",
        "ivif",
        "--data",
        str(pairs),
        "--split",
        "all",
        "-m",
        "EN",
        "-q",
        "--device",
        "cpu",
        "-o",
        str(out),
    ]
    return ["bench", "--fuser", "average", "--fuser", "maximum", *data]


def exit_code(args: list[str]) -> object:
    with pytest.raises(SystemExit) as caught:
        main.main(args)
    return caught.value.code


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "ascii"])
def test_a_console_without_our_symbols_gets_plain_ones_and_every_file(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    raw = io.BytesIO()
    console = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    monkeypatch.setattr("sys.stdout", console)
    out = tmp_path / "\u878d\u5408"
    assert exit_code(bench(pairs, out)) == 0
    shown = raw.getvalue().decode(encoding)
    assert "average" in shown
    assert "EN" in shown
    if encoding == "ascii":
        assert "EN ^" in shown
    assert all((out / name).is_file() for name in FILES)


def test_a_reader_that_has_gone_costs_no_file_and_gets_no_message(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert exit_code(bench(pairs, tmp_path / "out")) == 141
    assert "error" not in capfd.readouterr().err
    assert all((tmp_path / "out" / name).is_file() for name in FILES)


def test_lines_cannot_steer_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "a\x1b[31m\x07\rb\u202ec"
    say(hostile)
    assert capsys.readouterr().err == "a\ufffd[31m\ufffd\ufffdb\ufffdc\n"
    answer(hostile)
    assert capsys.readouterr().out == hostile + "\n"  # another program reads the very name
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    answer(f"{hostile}\nx")
    assert capsys.readouterr().out == "a\ufffd[31m\ufffd\ufffdb\ufffdc\nx\n"


@pytest.mark.parametrize("name", ["[/x]", "[bold]x"])
def test_names_are_never_markup(pairs: Path, tmp_path: Path, name: str) -> None:
    args = bench(pairs, tmp_path / "out")
    args[args.index("maximum")] = f"{name}=maximum"
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert name in result.stdout


def test_a_formula_is_quoted_for_spreadsheets_and_other_names_are_not() -> None:
    assert [as_csv_cell(name) for name in ("=1", "+1", "-1", "@x", "a=1", "")] == [
        "'=1",
        "'+1",
        "'-1",
        "'@x",
        "a=1",
        "",
    ]
