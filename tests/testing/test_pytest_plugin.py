"""The option and the fixture that fusionkit brings to pytest, in a pytest of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROBE = """
import sys

def test_pytest_started_without_torch():
    assert "torch" not in sys.modules

def test_the_device_is_the_one_asked_for(fusionkit_device):
    print("device", fusionkit_device)
    assert fusionkit_device.type in ("cpu", "cuda")
"""


def run(folder: Path, *arguments: str) -> str:
    (folder / "test_probe.py").write_text(PROBE)
    command = [sys.executable, "-m", "pytest", "-rs", "-s", "-p", "no:cacheprovider", *arguments, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=120).stdout


def test_the_cpu_is_the_default_and_pytest_starts_without_torch(tmp_path: Path) -> None:
    out = run(tmp_path)
    assert "2 passed" in out, out
    assert "device cpu" in out


def test_cuda_is_used_or_the_test_is_skipped_with_the_reason(tmp_path: Path) -> None:
    out = run(tmp_path, "--fusionkit-device", "cuda")
    if torch.cuda.is_available():
        assert "2 passed" in out
        assert "device cuda" in out
    else:
        assert "1 passed, 1 skipped" in out, out
        assert "--fusionkit-device cuda: PyTorch" in out
        assert "sees no CUDA device here" in out


def test_another_device_is_refused(tmp_path: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-m", "pytest", "--fusionkit-device", "tpu", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert out.returncode == pytest.ExitCode.USAGE_ERROR
    assert "invalid choice: 'tpu'" in out.stderr
