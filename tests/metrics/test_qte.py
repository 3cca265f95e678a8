"""QTE against its two published forms in plain numpy."""

from __future__ import annotations

from torch import Tensor

from fusionkit.metrics.qte import tsallis_information
from tests.support import plain_metrics as plain
from tests.support.metric_scenes import arrays, assert_close


def test_tsallis_information_has_navas_and_cvejics_form(images: tuple[Tensor, ...]) -> None:
    f, a, b = arrays(*images)
    q = 0.43137
    ha, hb = (plain.entropy(plain.histogram(x)) for x in (a, b))
    expected = (plain.tsallis(a, f, q) + plain.tsallis(b, f, q)) / (ha**q + hb**q + plain.tsallis(a, b, q))
    assert_close(tsallis_information(*images), expected, 1e-9)
    assert_close(
        tsallis_information(*images, form="cvejic", q=1.85),
        plain.tsallis(a, f, 1.85) + plain.tsallis(b, f, 1.85),
        1e-9,
    )
