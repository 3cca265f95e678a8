"""Trainings on CUDA: one that was interrupted ends at the same weights, and its model fuses on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fusionkit.fuse.model import load
from fusionkit.train.run import TrainRequest, resume, start

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("preset", ["quick", "bright", "paper"])
def test_an_interrupted_training_on_cuda_ends_at_the_same_weights(tmp_path: Path, preset: str, precision: str) -> None:
    options = {"trainer": {"epochs": 3, "meta_steps": 5, "fusion_steps": 6, "crop": 32, "freeze_fraction": 0.4}}
    request = TrainRequest(
        method="refusion", task="mif", preset=preset, options=options, device="cuda", precision=precision
    )

    def stop(done: int, _steps: int, _losses: object) -> None:
        if done == 12:
            raise KeyboardInterrupt

    whole = start(request, tmp_path / "whole", log_every=2, checkpoint_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        start(request, tmp_path / "stopped", log_every=2, checkpoint_seconds=0.0, report=stop)
    resumed = resume(tmp_path / "stopped", log_every=2, checkpoint_seconds=0.0)
    one, other = load_file(whole.model), load_file(resumed.model)
    for key, value in one.items():
        torch.testing.assert_close(other[key], value, rtol=1e-3, atol=1e-5, msg=key)
    a, b = np.random.default_rng(0).integers(0, 256, (2, 40, 50), dtype=np.uint8)
    assert load(whole.path, device="cpu").fuse(a, b).array().shape == (40, 50)
