"""A third party's package, written by ``plugins new`` and installed for real: trained, listed and used by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def _run(*arguments: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "fusionkit", *arguments], env=env, cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    place = tmp_path_factory.mktemp("third-party")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    _run("plugins", "new", "try-it", "--dir", str(place), env=env, cwd=place)
    (package,) = place.iterdir()
    site = place / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(site),
    ]
    subprocess.run([*pip, str(package)], check=True, capture_output=True)
    return {**env, "PYTHONPATH": str(site)}, place


def test_it_trains_fuses_and_is_listed_beside_ours(installed: tuple[dict[str, str], Path]) -> None:
    env, place = installed
    listed = _run("plugins", "list", env=env, cwd=place).stdout
    assert "fusionkit-try-it" in listed
    trained = _run(
        "train", "try-it", "--task", "ivif", "--out", "run", "--device", "cpu", "--quiet",
        "--set", "trainer.epochs=1", "--set", "trainer.meta_steps=2", "--set", "trainer.fusion_steps=2",
        env=env, cwd=place,
    )  # fmt: skip
    assert trained.stdout.strip() == "run"
    _run("sample", "ivif", "-o", "pairs", env=env, cwd=place)
    a, b = (sorted((place / "pairs").rglob(f"{folder}/*.png"))[0] for folder in ("ir", "vi"))
    _run("fuse", "--model", "run", "-a", str(a), "-b", str(b), "-o", "fused.png", env=env, cwd=place)
    assert (place / "fused.png").is_file()


def test_without_its_package_its_model_says_what_is_missing(installed: tuple[dict[str, str], Path]) -> None:
    env, place = installed
    bare = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "fusionkit", "weights", "show", str(place / "run" / "model.safetensors")],
        env=bare, cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    pair = ["-a", str(place / "fused.png"), "-b", str(place / "fused.png")]
    fused = subprocess.run(
        [sys.executable, "-m", "fusionkit", "fuse", "--model", "run", *pair, "-o", "z.png"],
        env=bare, cwd=place, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert fused.returncode == 2
    assert "try-it" in fused.stderr
    assert "Traceback" not in fused.stderr
