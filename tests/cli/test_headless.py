"""A machine without the system's display libraries: one line with the remedy, by a stub of cv2 that fails as there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fusionkit.cli import report


@pytest.fixture
def without_libgl(tmp_path: Path) -> dict[str, str]:
    stub = tmp_path / "cv2"
    stub.mkdir()
    text = "libGL.so.1: cannot open shared object file: No such file or directory"
    (stub / "__init__.py").write_text(f"raise ImportError({text!r})\n", encoding="utf-8")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


@pytest.mark.parametrize(
    "args", [["fuse", "-m", "average", "-a", "a", "-b", "a", "-o", "x.png"], ["plugins", "check", "focus-gf"]]
)
def test_a_lack_of_libgl_is_one_line_with_the_remedy(
    args: list[str], without_libgl: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"x")
    command = [sys.executable, "-m", "fusionkit", *args]
    done = subprocess.run(command, cwd=tmp_path, env=without_libgl, capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert "internal error" not in done.stderr
    assert "opencv-python-headless" in done.stdout + done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("library", ["libGL.so.1", "libgthread-2.0.so.0"])
def test_every_display_library_is_known(library: str) -> None:
    line, code = report(ImportError(f"{library}: cannot open shared object file"))
    assert code == 3
    assert "opencv-python-headless" in line


def test_another_failed_import_is_not_blamed_on_opencv() -> None:
    assert "opencv" not in report(ImportError("cannot import name 'x'"))[0]
