"""OpenCV's filters give what PyTorch's give where a gradient is asked for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fusionkit.plugins import catalogue
from fusionkit_classical import opencv
from fusionkit_classical.cbf import edge_strength
from fusionkit_classical.gff import laplacian_saliency
from fusionkit_classical.mertens import exposure_weights
from fusionkit_classical.pyramid import expand, reduce
from fusionkit_classical.selection import select_largest
from fusionkit_classical.windows import box_mean, guided_filter

FILTERS: dict[str, Callable[[Tensor], Tensor]] = {
    "cut": lambda x: box_mean(x, 4),
    "wide": lambda x: box_mean(x, 45),
    "edge": lambda x: box_mean(x, 6, border="edge"),
    "guided": lambda x: guided_filter(x, x.flip(0), radius=3, epsilon=0.01),
    "reduce": reduce,
    "expand": lambda x: expand(x, 2 * x.shape[-2] - 1, 2 * x.shape[-1]),
    "saliency": lambda x: laplacian_saliency(x, window=11, sigma=5.0),
    "exposure": lambda x: exposure_weights(x, contrast=1.0, saturation=1.0, exposure=1.0),
    "select": lambda x: select_largest(x - 0.5, window=5),
    "edges": lambda x: edge_strength(x, window=5),
}


@pytest.mark.parametrize("name", FILTERS)
@settings(max_examples=8, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40))
def test_a_filter_is_that_of_pytorch(name: str, height: int, width: int) -> None:
    image = torch.rand(2, 2, 1, height, width, dtype=torch.float64)
    with_gradient = FILTERS[name](image)
    with torch.no_grad():
        assert opencv.is_plain(image)
        torch.testing.assert_close(FILTERS[name](image), with_gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["laplacian", "rolp", "gff", "cbf", "dtcwt", "mertens", "focus-gf"])
def test_a_fuser_gives_one_image_with_and_without_gradients(name: str) -> None:
    fuser = catalogue.fusers.get(name)()
    channels = 3 if fuser.space == "rgb" else 1
    sources = [torch.rand(1, channels, 40, 51, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    expected = fuser(*sources)
    with torch.inference_mode():
        torch.testing.assert_close(fuser(*sources), expected, rtol=0, atol=1e-6)


def test_other_tensors_are_left_to_pytorch() -> None:
    with torch.no_grad():
        assert not opencv.is_plain(torch.rand(9, 7))
        assert not opencv.is_plain(torch.zeros(9, 9, dtype=torch.complex128))
        assert not opencv.is_plain(torch.zeros(9, 9, dtype=torch.float16))
    assert not opencv.is_plain(torch.rand(9, 9))
