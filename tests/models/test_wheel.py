"""The wheel carries the models that plugins ship, and their cards."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(find_spec("hatchling") is None, reason="install hatchling to build a wheel (the extra dev)")
def test_the_wheel_holds_every_model_and_card_of_a_plugin(tmp_path: Path) -> None:
    source = tmp_path / "source"
    skipped = shutil.ignore_patterns("__pycache__")
    for folder in ("fusionkit", "plugins"):
        shutil.copytree(ROOT / folder, source / folder, ignore=skipped)
    for file in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source / file)
    models = source / "plugins" / "fusionkit_refusion" / "models"
    models.mkdir(exist_ok=True)
    for name in ("another.safetensors", "another.toml"):
        (models / name).write_bytes(b"there")
    expected = {f"fusionkit_refusion/models/{file.name}" for file in models.iterdir()}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert expected <= set(archive.namelist())
        assert archive.read("fusionkit_refusion/models/another.toml") == b"there"
