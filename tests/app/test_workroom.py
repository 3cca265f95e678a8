"""Temporary files of the page: names that are safe, and an end that comes."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.app.workroom import Gone, SourceFolder, Workroom
from fusionkit.cli import main
from fusionkit.errors import DataError

HOSTILE = (
    "../../a.png",
    "..\\..\\a.png",
    "/etc/a.png",
    "C:\\a.png",
    ".a.png",
    "a\0b.png",
    "a[2].png",
    "-o.png",
    "CON.png",
)


@given(st.text().map(lambda text: f"{text}.png") | st.sampled_from(HOSTILE) | st.text())
def test_every_name_becomes_one_file_in_the_folder_of_its_source_or_is_refused(name: str) -> None:
    source = SourceFolder(Path("/nowhere/source1"), "label")
    try:
        places = [source.place_for(name), source.place_for(name.upper()), source.place_for(name)]
    except DataError:
        assert source.files == []
        return
    assert {place.parent for place in places} == {source.folder}
    assert len({place.name.casefold() for place in places}) == 3
    for place in places:
        assert not set('/\\\0[]:"<>|?*') & set(place.name)
        assert not place.name.startswith(".")
        assert len(place.name.encode()) < 220


def test_sets_that_are_not_used_are_deleted_after_their_time(temporary: Path) -> None:
    now = 0.0
    room = Workroom(100, clock=lambda: now)
    old, used = room.new_set(), room.new_set()
    now = 90.0
    assert room.find(used.key) is used
    room.sweep()
    assert len(room.sets) == 2
    now = 150.0
    room.sweep()
    assert list(room.sets) == [used.key]
    assert not old.folder.exists()
    assert used.folder.is_dir()
    with pytest.raises(Gone, match="drop them again"):
        room.find(old.key)
    # A fusing of the deleted set that was still running has written into its folder.
    (old.folder / "fused-key").mkdir(parents=True)
    room.sweep()
    assert not old.folder.exists()
    assert used.folder.is_dir()
    room.close()
    assert list(temporary.iterdir()) == []


def test_the_folder_of_a_server_that_was_killed_is_deleted_by_the_next_and_no_other(temporary: Path) -> None:
    room = Workroom(100)
    room.new_set()
    code = (
        "import sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from fusionkit.app.workroom import Workroom\n"
        "room = Workroom(100); room.new_set(); print(room.folder, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(temporary)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        Workroom(100).close()
        assert left.is_dir()
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert left.is_dir()
    Workroom(100).close()
    assert not left.exists()
    assert room.folder.is_dir()
    room.close()
    assert stat_of_new_room() == 0o700


def stat_of_new_room() -> int:
    room = Workroom(1)
    mode = room.folder.stat().st_mode & 0o777
    room.close()
    return mode


def test_without_the_extra_the_command_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("fusionkit.app")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = CliRunner().invoke(main, ["app"])
    assert result.exit_code == 2
    assert result.stderr == "error: the page needs uvicorn: pip install 'image-fusionkit[app]'\n"


def test_a_port_that_is_taken_and_a_model_that_is_not_there_are_said_in_one_line(temporary: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["app", "--port", port])
    assert result.exit_code == 2
    assert result.stderr.endswith("choose another, or 0 for any\n")
    assert list(temporary.iterdir()) == []
    result = CliRunner().invoke(main, ["app", "--model", "nowhere/run"])
    assert result.exit_code != 0
    assert result.stderr.startswith("error: ")
    assert tempfile.tempdir == str(temporary)
