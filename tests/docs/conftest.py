"""What the tests of the documents share: a short run where the pages show a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

import fusionkit


@pytest.fixture(scope="session")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, as ``fusionkit train refusion --task mif --preset quick`` leaves it, but short."""
    tiny = {
        "trainer": {"epochs": 1, "warmup": 0, "meta_steps": 1, "fusion_steps": 9, "crop": 16, "batch": 2},
        "fuser": {"dim": 4, "heads": 2, "blocks": 1},
        "proposer": {"dim": 4, "heads": 2, "blocks": 1},
        "reconstructor": {"dim": 4, "heads": 2, "blocks": 1},
    }
    request = fusionkit.TrainRequest(method="refusion", task="mif", preset="quick", options=tiny, device="cpu")
    return fusionkit.start(request, tmp_path_factory.mktemp("runs") / "refusion-mif-quick", log_every=5).path
