"""A third party's package, written by ``plugins new`` and installed for real: trained, listed and used by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.child_processes import Child


def _run(*arguments: str, env: dict[str, str], cwd: Path, code: int = 0) -> tuple[str, str]:
    process = Child("-m", "fusionkit", *arguments, env=env, cwd=cwd)
    said = process.communicate(timeout=120)
    assert process.returncode == code, said
    return said


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    place = tmp_path_factory.mktemp("third-party")
    _run("plugins", "new", "try-it", "--dir", str(place), env={}, cwd=place)
    (package,) = place.iterdir()
    site = place / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(package)], check=True, capture_output=True)
    return {"PYTHONPATH": str(site)}, place


def test_it_trains_fuses_and_is_listed_beside_ours(installed: tuple[dict[str, str], Path], small_pairs: Path) -> None:
    env, place = installed
    data = ("--data", str(small_pairs))
    listed, _ = _run("plugins", "list", env=env, cwd=place)
    assert "fusionkit-try-it" in listed
    trained, _ = _run(
        "train", "try-it", "--task", "ivif", "--out", "run", "--device", "cpu", "--quiet", *data,
        "--set", "trainer.epochs=1", "--set", "trainer.meta_steps=2", "--set", "trainer.fusion_steps=2",
        env=env, cwd=place,
    )  # fmt: skip
    assert trained.strip() == "run"
    a, b = (small_pairs / side / "p0.png" for side in "ab")
    _run("fuse", "--model", "run", "-a", str(a), "-b", str(b), "-o", "fused.png", env=env, cwd=place)
    assert (place / "fused.png").is_file()


def test_without_its_package_its_model_says_what_is_missing(installed: tuple[dict[str, str], Path]) -> None:
    _, place = installed
    _run("weights", "show", "run/model.safetensors", env={}, cwd=place)
    _, stderr = _run(
        "fuse", "--model", "run", "-a", "fused.png", "-b", "fused.png", "-o", "z.png", env={}, cwd=place, code=2
    )
    assert "try-it" in stderr
    assert "Traceback" not in stderr
