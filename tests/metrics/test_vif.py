"""VIFp and VIFF against their formulas in plain numpy."""

from __future__ import annotations

import pytest

from fusionkit.metrics.vif import visual_information_fidelity, visual_information_fidelity_for_fusion
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close, scene


@pytest.mark.parametrize("shape", [(41, 44), (48, 41)])
def test_visual_information_fidelity(shape: tuple[int, int]) -> None:
    images = scene(*shape, seed=3)
    f, a, b = arrays(*images)
    ours = visual_information_fidelity(*images)[0].tolist()
    assert ours == pytest.approx([plain.vifp(f, a), plain.vifp(f, b)], rel=1e-7)
    assert_close(visual_information_fidelity_for_fusion(*images), plain.viff(f, a, b), 1e-7)
