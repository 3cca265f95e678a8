"""Every shipped model on CUDA: the images that the CPU gives, whole and in strips, alone and in a batch."""

from __future__ import annotations

import warnings

import pytest
import torch

from fusionkit.bench.methods import usable
from fusionkit.errors import FusionNote
from fusionkit.fuse.model import load
from fusionkit_restormer import fuser as restormer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


MODELS = ("refusion:ivif", "refusion:mif", "refusion:mfif", "refusion:meif")
CLASSICAL = sorted(
    {spec.name for task in ("ivif", "mif", "mfif", "meif") for spec in usable(task)[0]} - {"refusion", "tdfusion"}
)


@pytest.mark.parametrize("name", [*MODELS, *CLASSICAL])
def test_the_device_gives_what_the_cpu_gives(name: str) -> None:
    generator = torch.Generator().manual_seed(4)
    smooth = torch.nn.functional.interpolate(torch.rand(2, 3, 13, 15, generator=generator), (96, 112), mode="bicubic")
    a, b = (smooth[k : k + 1].clamp(0, 1) for k in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FusionNote)
        there, here = (
            load(name, device=device, backend="torch").fuse(a, b, bits=16).tensor for device in ("cuda", "cpu")
        )
    # A selector may choose the other source where both are equally sharp.
    apart = (there - here).abs()
    assert float(apart.quantile(0.999)) < 1e-4


def test_strips_on_the_device_are_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load("refusion:mif", device="cuda")
    a, b = torch.rand(2, 1, 1, 150, 170, generator=torch.Generator().manual_seed(1)).unbind()
    whole = model.fuse(a, b, bits=16).tensor
    monkeypatch.setattr(restormer, "WHOLE_PIXELS", 64)
    torch.testing.assert_close(model.fuse(a, b, bits=16).tensor, whole, rtol=0, atol=2e-5)
