"""Native forms are compiled where there is a compiler, and a fault is one line."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest

from fusionkit.runtime.compiling import COMPILERS, compile_libraries

SOURCE = """
extern "C" __attribute__((visibility("default"))) int answer() { return ANSWER; }
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A C++ file and the header that it needs."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "plain.h").write_text("#define ANSWER 41\n")
    (folder / "plain.cpp").write_text(f'#include "plain.h"\n{SOURCE}')
    return folder / "plain.cpp"


@pytest.mark.parametrize(("compiler", "said"), [("/no/c++", "no C++ compiler"), ("false", "false failed: code 1")])
def test_compiling_without_a_compiler_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, source: Path, compiler: str, said: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    place = tmp_path / "libraries"
    place.mkdir()
    made, fault = compile_libraries(source, place)
    assert not made
    assert said in fault
    assert not list(place.iterdir())


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="needs a C++ compiler")
def test_what_is_compiled_is_kept_until_a_source_changes(source: Path) -> None:
    made, fault = compile_libraries(source)
    assert not fault
    assert made[0].name.startswith("plain_portable")
    assert ctypes.CDLL(str(made[0])).answer() == 41
    first = made[0].stat().st_mtime_ns
    assert compile_libraries(source)[0][0].stat().st_mtime_ns == first
    source.with_suffix(".h").write_text("#define ANSWER\n")
    assert compile_libraries(source)[1].split(": ")[0].endswith("failed")
    assert made[0].stat().st_mtime_ns == first
