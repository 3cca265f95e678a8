"""Whole files or none."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fusionkit.errors import DataError
from fusionkit.io.atomic import folder_written_aside, write_text, written_aside


def test_a_file_is_replaced_only_when_its_writing_ends_well(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "a.txt"
    write_text(file, "old")
    with pytest.raises(ZeroDivisionError), written_aside(file) as aside:
        aside.write_text("half" * (1 // 0))
    assert file.read_text() == "old"
    write_text(file, "new")
    assert file.read_text() == "new"
    assert [f.name for f in file.parent.iterdir()] == ["a.txt"]


def test_a_place_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(DataError, match=r"taken/a\.txt: cannot be written"):
        write_text(tmp_path / "taken" / "a.txt", "x")


@pytest.mark.parametrize("how", ["text", "safetensors"])
def test_a_full_disk_is_one_line_with_the_files_name_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    # A limit on file sizes fails a write as a full disk does.
    script = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from safetensors.torch import save_file\n"
        "from fusionkit.io.atomic import written_aside\n"
        "from fusionkit.errors import DataError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        f"file = Path({str(tmp_path / 'big.bin')!r})\n"
        "try:\n"
        "    with written_aside(file) as aside:\n"
        f"        if {how!r} == 'text': aside.write_text('x' * 100000)\n"
        "        else: save_file({'x': torch.zeros(100000)}, aside)\n"
        "except DataError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "big.bin: cannot be written" in done.stdout
    assert not list(tmp_path.iterdir())
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with folder_written_aside(tmp_path / "new") as aside:
        (aside / "x").write_text("1")
        assert not (tmp_path / "new").exists()
    assert (tmp_path / "new" / "x").read_text() == "1"
    with pytest.raises(ZeroDivisionError), folder_written_aside(tmp_path / "other") as aside:
        (aside / "x").write_text(str(1 / 0))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def write_folder(path: Path, text: str, *, meanwhile: Callable[[], None] = lambda: None) -> None:
    with folder_written_aside(path) as aside:
        (aside / "x").write_text(text)
        meanwhile()


def test_of_two_that_write_a_folder_one_wins(tmp_path: Path) -> None:
    new = tmp_path / "new"
    with pytest.raises(DataError, match="new: cannot be written"):
        write_folder(new, "late", meanwhile=lambda: write_folder(new, "early"))
    assert (new / "x").read_text() == "early"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
