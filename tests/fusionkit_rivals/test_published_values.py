"""Published networks against values that their authors' programs computed from given sources.

The folder is named by FUSIONKIT_PUBLISHED_RIVALS: ``NAME.safetensors`` with the published tensors, and in ``expected``
the sources (``inputs.json``) and for every network an ``index.json`` of floats (central 128x128) and saved images.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionkit.io.images import read_image
from fusionkit.models.recognition import import_published

TITLES = {
    "DIDFuse": "didfuse",
    "DenseFuse": "densefuse",
    "GIFNet": "gifnet",
    "IFCNN-MAX": "ifcnn",
    "IFCNN-MEAN": "ifcnn",
    "LRRNet": "lrrnet",
    "LUT-Fuse": "lut-fuse",
    "MATR": "matr",
    "MEFNet": "mef-net",
    "MMDRFuse": "mmdrfuse",
    "SESF-Fuse": "sesf-fuse",
}
TOLERANCES = {"MEFNet": 5e-3}
"""Of white; elsewhere 1e-5. The guided filter of MEF-Net divides by variances near 0, so that another number of threads
already moves single pixels by 1e-3."""


@pytest.fixture(scope="session")
def folder() -> Path:
    named = os.environ.get("FUSIONKIT_PUBLISHED_RIVALS")
    if not named:
        pytest.skip("set FUSIONKIT_PUBLISHED_RIVALS to a folder of published networks with their expected values")
    return Path(named)


def _cases(folder: Path, network: str) -> list[tuple[str, dict[str, Any], list[Tensor]]]:
    inputs = {entry["key"]: entry for entry in json.loads((folder / "expected/inputs.json").read_text())}
    cases = []
    for pair in json.loads((folder / "expected" / network / "index.json").read_text())["pairs"]:
        files = [folder / "expected" / inputs[pair["key"]][f"input_{source}"] for source in "ab"]
        cases.append((pair["task"], pair, [read_image(file).tensor().expand(-1, 3, -1, -1) for file in files]))
    return cases


@pytest.mark.parametrize("network", TITLES)
def test_the_authors_values_and_images_are_reproduced(folder: Path, network: str) -> None:
    cases = _cases(folder, network)
    assert cases
    for task, pair, sources in cases:
        options = {"published": True} | ({"merge": "mean", "clahe": True} if network == "IFCNN-MEAN" else {})
        fuser, _, _ = import_published(
            (folder / f"{network}.safetensors",), fuser=TITLES[network], task=task, options=options
        )
        with torch.inference_mode():
            compute = getattr(fuser, "as_published", lambda *s, f=fuser: f.fuse(*f.planes(*s)))
            floats, saved = compute(*sources), fuser.render(*sources)
        if floats.shape[1] == 3:
            floats = (floats * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
        top, left = ((side - 128) // 2 for side in floats.shape[2:])
        known = np.load(folder / "expected" / network / pair["npy"])
        gap = np.abs(floats[0, 0, top : top + 128, left : left + 128].numpy() - known) / pair["white"]
        assert gap.max() <= TOLERANCES.get(network, 1e-5), (pair["key"], gap.max())
        assert gap.mean() <= 1e-5, (pair["key"], gap.mean())
        image = read_image(folder / "expected" / network / pair["png"]).pixels.astype(float)
        levels = np.abs(saved[0].permute(1, 2, 0).numpy() - image)
        assert levels.max() <= 1, (pair["key"], levels.max())
