"""Nabf and Labf against their formulas in plain numpy."""

from __future__ import annotations

from torch import Tensor

from fusionkit.metrics.nabf import fusion_artefacts, fusion_loss
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close


def test_nabf_and_labf_are_their_formulas(images: tuple[Tensor, ...]) -> None:
    made_up, lost = plain.petrovic(*arrays(*images))
    assert_close(fusion_artefacts(*images), made_up)
    assert_close(fusion_loss(*images), lost)
