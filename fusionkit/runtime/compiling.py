"""Compile native forms: run while the package is built, and by hand in a clone.

It needs nothing but Python's own library and a C++ compiler: plain C++17 and a C interface, so that one wheel serves
every Python of a platform. Without a compiler the package is complete all the same, and PyTorch computes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["COMPILERS", "compile_libraries", "library_name"]

COMPILERS = ("c++", "g++", "clang++")
FLAGS = ("-std=c++17", "-O3", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi")
# One library for each form, and inline functions of the standard library stay each library's own: merged with those of
# another form, they would run instructions that a processor lacks.
LINKED = ("-shared", "-fPIC", "-fvisibility=hidden")
GNU = ("-fno-gnu-unique", "-Wl,-Bsymbolic", "-pthread")
FORMS = {"portable": (), "avx2": ("-mavx2", "-mfma")}
_LONGEST = 600  # seconds that a compiler may take


def library_name(source: str, form: str) -> str:
    """The file name on this platform of the library that a form of ``source.cpp`` is compiled into."""
    return f"{source}_{form}{'.dll' if os.name == 'nt' else '.so'}"


def _forms() -> list[str]:
    intel = platform.machine().lower() in ("x86_64", "amd64")
    # A macOS build for two processors at once takes the form that both have.
    return [form for form in FORMS if form == "portable" or (intel and "arm64" not in os.environ.get("ARCHFLAGS", ""))]


def _compiler() -> list[str]:
    named = shlex.split(os.environ.get("CXX", ""))
    candidates = [named] if named else [[name] for name in COMPILERS]
    return next((words for words in candidates if shutil.which(words[0])), [])


def compile_libraries(source: Path, folder: Path | None = None) -> tuple[list[Path], str]:
    """Compile every form of this platform into a folder; what was compiled of the same sources is kept.

    Args:
        source: the C++ file; headers lie beside it.
        folder: where the libraries go; beside the source where None.

    Returns:
        The libraries, and "" or one line that says why there are none.
    """
    command = _compiler()
    if not command:
        return [], f"no C++ compiler ({os.environ.get('CXX') or ', '.join(COMPILERS)})"
    flags = [*FLAGS, *LINKED, *(GNU if sys.platform == "linux" else ()), *shlex.split(os.environ.get("ARCHFLAGS", ""))]
    sources = sorted(file for file in source.parent.iterdir() if file.suffix in (".cpp", ".h"))
    folder = source.parent if folder is None else folder
    made = []
    for form in _forms():
        words = [*command, *flags, *FORMS[form], f"-DFORM={form}", str(source)]
        about = hashlib.sha256(b"\0".join([*(file.read_bytes() for file in sources), *map(os.fsencode, words)]))
        target = folder / library_name(source.stem, form)
        record = folder / f"{target.name}.built"
        if not (target.is_file() and record.is_file() and record.read_text() == about.hexdigest()):
            fault = _compile(words, target)
            if fault:
                return [], fault
            record.write_text(about.hexdigest())
        made.append(target)
    return made, ""


def _compile(words: list[str], target: Path) -> str:
    """Compile into a file beside the target and put it in its place; "" or why that failed."""
    with tempfile.TemporaryDirectory(dir=target.parent) as aside:
        made = Path(aside) / target.name
        try:
            done = subprocess.run([*words, "-o", str(made)], capture_output=True, text=True, timeout=_LONGEST)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{words[0]}: {' '.join(str(error).split())}"
        if done.returncode or not made.is_file():
            said = next((line for line in done.stderr.splitlines() if "error" in line), f"code {done.returncode}")
            return f"{words[0]} failed: {' '.join(said.split())[:200]}"
        os.replace(made, target)
    return ""


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("error: name the C++ files to compile, such as fusionkit/metrics/native/fmi.cpp")
    for name in sys.argv[1:]:
        libraries, fault = compile_libraries(Path(name).resolve())
        for library in libraries:
            print(library)
        if fault:
            sys.exit(f"error: {fault}: install GCC 12 or later, or Clang, or name one in the variable CXX")
