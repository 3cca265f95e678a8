"""Values that other people's code gave on real images, MATLAB originals among it, where the folder is at hand."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fusionkit.metrics import build, read_luminance

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "metric_agreement.py"


@pytest.fixture(scope="module")
def folder() -> Path:
    path = os.environ.get("FUSIONKIT_METRIC_REFERENCE")
    if not path or not (Path(path) / "reference.csv").is_file():
        pytest.skip("set FUSIONKIT_METRIC_REFERENCE to a folder with reference.csv and triples/ to run this test")
    return Path(path)


@pytest.fixture(scope="module")
def agreement() -> ModuleType:
    spec = importlib.util.spec_from_file_location("metric_agreement", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_every_profile_agrees_with_the_code_it_stands_for(folder: Path, agreement: ModuleType) -> None:
    # Slow ones, held against the same values in their own tests.
    lines = agreement.compare(folder, without=("QP", "FMI-pixel", "FMI-gradient", "FMI-dct", "FMI-wavelet"))
    assert sum(line.count for line in lines) > 3000
    assert all(line.count for line in lines)
    wrong = [
        f"{line.rule.reference} of {line.rule.code} on {triple}: {reference:.12g}, {line.target} gives {ours:.12g}"
        for line in lines
        for triple, reference, ours, why in line.disagreements
        if why is None
    ]
    assert wrong == []


def test_reference_values_without_a_profile_are_known(folder: Path, agreement: ModuleType) -> None:
    assert [kind for kind, (_, why) in agreement.uncovered(folder).items() if why is None] == []


@pytest.mark.parametrize("triple", ["ivif710_lap", "mrict11_lap", "s_mfif5_max", "e_a_const"])
def test_float32_keeps_four_digits_on_real_images(folder: Path, agreement: ModuleType, triple: str) -> None:
    exceptions = {"Qabf": 1e-3, "Nabf": 1e-3, "Labf": 1e-3}
    # All that compute in the dtype they are given.
    ours = "AG CC CE EI EN Labf MI MS-SSIM MSE NMI Nabf PSNR QNCIE QTE Qabf SCD SD SF SSIM VIFF VIFp"
    files = [folder / "triples" / triple / f"{k}.png" for k in "fab"]
    double = [read_luminance(file) for file in files]
    single = [read_luminance(file, dtype=torch.float32) for file in files]
    for name in ours.split():
        metric = build(name)
        if min(single[0].shape[-2:]) < metric.info.min_size:
            continue
        assert float(metric(*single)) == pytest.approx(float(metric(*double)), rel=exceptions.get(name, 1e-4)), name
