"""Commands that need no arithmetic do not wait for PyTorch."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = "print('heavy:', sorted({'torch', 'numpy', 'cv2', 'scipy'} & set(sys.modules)))"
COMMANDS = ("--help", "--version", "fuse --help", "train --help", "bench --help", "plugins list")


def imported(code: str) -> str:
    """The last line of a fresh process that runs some code and says which heavy packages it imported."""
    command = [sys.executable, "-c", f"import sys\n{code}\n{HEAVY}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()[-1]


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported("import fusionkit, fusionkit.cli.app\nassert 'load' in dir(fusionkit)") == "heavy: []"


def test_the_heavy_packages_are_seen_where_they_are_imported() -> None:
    assert "'torch'" in imported("import fusionkit\nfusionkit.load")


@pytest.mark.parametrize("words", COMMANDS)
def test_help_and_lists_import_nothing_heavy(words: str) -> None:
    code = (
        "from fusionkit.cli import main\n"
        f"try: main({words.split()!r}, prog_name='fusionkit')\n"
        "except SystemExit as end: assert not end.code, end.code"
    )
    assert imported(code) == "heavy: []"
