"""F a strip at a time against F on the whole image."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_restormer import fuser as module
from fusionkit_restormer.fuser import FuserOptions
from fusionkit_restormer.inputs import CHANNELS, Inputs
from fusionkit_restormer.strips import fuse_in_strips

SMALL = {"dim": 4, "heads": 2, "blocks": 2}


def _shaken(options: FuserOptions) -> ReFusionFuser:
    torch.manual_seed(1)
    fuser = ReFusionFuser(options).double()
    for parameter in fuser.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return fuser


@given(
    height=st.integers(1, 23),
    width=st.integers(1, 9),
    rows=st.integers(1, 25),
    inputs=st.sampled_from(sorted(CHANNELS)),
)
def test_strips_of_any_height_give_the_whole_images_result(height: int, width: int, rows: int, inputs: Inputs) -> None:
    fuser = _shaken(FuserOptions(**SMALL, inputs=inputs))
    sources = tuple(torch.rand(2, 2, 1, height, width, dtype=torch.float64))
    with torch.no_grad():
        found = fuse_in_strips(fuser.encoders, fuser.merge, fuser.decoder, fuser.head, sources, rows, inputs)
        torch.testing.assert_close(found, fuser(*sources), rtol=0, atol=1e-12)


@pytest.mark.parametrize("left_out", [{"cross_attention": False}, {"gating": False}])
def test_the_ablations_run_in_strips_too(left_out: dict[str, bool]) -> None:
    fuser = _shaken(FuserOptions(**SMALL, **left_out))
    sources = tuple(torch.rand(2, 1, 1, 17, 6, dtype=torch.float64))
    with torch.no_grad():
        found = fuse_in_strips(fuser.encoders, fuser.merge, fuser.decoder, fuser.head, sources, 5)
        torch.testing.assert_close(found, fuser(*sources), rtol=0, atol=1e-12)


def test_a_large_image_goes_in_strips_and_a_training_image_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    fuser = _shaken(FuserOptions(**SMALL, inputs="image+gradient+share"))
    a, b = torch.rand(2, 1, 1, 24, 16, dtype=torch.float64)
    with torch.no_grad():
        whole = fuser(a, b)
    calls = []

    def spy(*arguments: object) -> torch.Tensor:
        calls.append(arguments[-2])
        return fuse_in_strips(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "WHOLE_PIXELS", 200)
    monkeypatch.setattr(module, "fuse_in_strips", spy)
    with torch.no_grad():
        torch.testing.assert_close(fuser(a, b), whole, rtol=0, atol=1e-12)
    assert calls == [3]
    assert fuser(a, b).requires_grad
    assert len(calls) == 1
