"""File locks: one holder at a time across processes, given back by a killed one, and never the data itself."""

from __future__ import annotations

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from fusionkit.errors import DataError
from fusionkit.io.locks import file_lock

HOLD = (
    "import sys, time; from pathlib import Path; from fusionkit.io.locks import file_lock\n"
    "with file_lock(Path(sys.argv[1]), wait=False) as held: print(held, flush=True); time.sleep(120)\n"
)


def test_a_lock_has_one_holder_and_a_killed_one_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "job.lock"
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with file_lock(path, wait=False) as held:
            assert not held
        other.kill()
    with file_lock(path, wait=True) as held:
        assert held
    assert path.read_bytes() == b""


def test_waiting_ends_when_the_holder_is_done(tmp_path: Path) -> None:
    path = tmp_path / "job.lock"
    code = HOLD.replace("time.sleep(120)", "time.sleep(0.5)")
    with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        began = time.monotonic()
        with file_lock(path, wait=True) as held:
            assert held
        assert time.monotonic() - began > 0.2


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match=r"job\.lock: cannot be written .*choose another folder"),
        file_lock(tmp_path / "file" / "job.lock", wait=False),
    ):
        pass


def test_a_file_system_without_locks_stops_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with file_lock(tmp_path / "job.lock", wait=False) as held:
        assert held
