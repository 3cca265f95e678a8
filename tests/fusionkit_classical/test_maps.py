"""The maps that weight-based methods show are the weights that they fuse with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit_classical.cbf import Cbf
from fusionkit_classical.controls import Average, CopyA, Maximum
from fusionkit_classical.focus import FocusGf
from fusionkit_classical.gff import Gff
from fusionkit_classical.laplacian import Laplacian
from fusionkit_classical.mertens import Mertens
from fusionkit_classical.pca import Pca
from fusionkit_classical.tsvs import Tsvs


def images(count: int = 2, size: tuple[int, int] = (40, 44), channels: int = 1) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(count, 1, channels, 8, 9, dtype=torch.float64, generator=generator)
    return tuple(torch.nn.functional.interpolate(image, size, mode="bicubic").clamp(0, 1) for image in coarse)


def box(image: np.ndarray, radius: int) -> np.ndarray:
    """The mean of the square window around each pixel, border pixels repeated outwards, in two slow loops."""
    wide = np.pad(image, radius, mode="edge")
    side = 2 * radius + 1
    return np.array(
        [[wide[y : y + side, x : x + side].mean() for x in range(image.shape[1])] for y in range(image.shape[0])]
    )


@pytest.mark.parametrize("method", [Cbf(), FocusGf(), Maximum()], ids=["cbf", "focus-gf", "maximum"])
def test_the_map_of_the_first_source_makes_the_fused_image(method: Fuser) -> None:
    a, b = images()
    (name,) = maps = method.maps(a, b)
    assert name == "w_a"
    weight = maps[name]
    assert weight.shape == a.shape
    assert 0 <= float(weight.min()) < 0.3 < 0.7 < float(weight.max()) <= 1
    torch.testing.assert_close(weight * a + (1 - weight) * b, method(a, b), rtol=0, atol=1e-12)


def test_guided_filtering_weighs_base_and_detail_apart() -> None:
    a, b = images()
    maps = Gff().maps(a, b)
    assert list(maps) == ["base_a", "detail_a"]
    sources = [image[0, 0].numpy() for image in (a, b)]
    bases = [box(image, 15) for image in sources]
    details = [image - base for image, base in zip(sources, bases, strict=True)]
    of_base, of_detail = (maps[name][0, 0].numpy() for name in maps)
    expected = of_base * bases[0] + (1 - of_base) * bases[1] + of_detail * details[0] + (1 - of_detail) * details[1]
    np.testing.assert_allclose(Gff()(a, b)[0, 0].numpy(), expected.clip(0, 1), atol=1e-9)


def test_two_scale_fusion_weighs_its_details() -> None:
    a, b = images()
    ((name, weight),) = Tsvs().maps(a, b).items()
    assert name == "detail_a"
    first, second = (image[0, 0].numpy() for image in (a, b))
    bases = [box(image, 17) for image in (first, second)]
    share = weight[0, 0].numpy()
    expected = sum(bases) / 2 + share * (first - bases[0]) + (1 - share) * (second - bases[1])
    np.testing.assert_allclose(Tsvs()(a, b)[0, 0].numpy(), expected.clip(0, 1), atol=1e-9)


def test_more_than_two_sources_have_a_map_each() -> None:
    sources = images(3, channels=3)
    maps = Mertens().maps(*sources)
    assert list(maps) == ["w_a", "w_b", "w_c"]
    total = torch.stack(list(maps.values())).sum(0)
    torch.testing.assert_close(total, torch.ones(1, 1, 40, 44, dtype=torch.float64), rtol=0, atol=1e-12)
    # The best exposed of three flat images has most of the weight.
    flat = [torch.full((1, 1, 16, 16), level, dtype=torch.float64) for level in (0.1, 0.5, 0.95)]
    weights = [float(weight.mean()) for weight in Mertens().maps(*flat).values()]
    assert max(weights) == weights[1]


def test_equal_sources_share_every_pixel() -> None:
    image, _ = images()
    for method in (Cbf(), Maximum(), Gff(), Tsvs()):
        for weight in method.maps(image, image).values():
            torch.testing.assert_close(weight, torch.full_like(weight, 0.5), rtol=0, atol=1e-9)


def test_methods_without_weights_that_differ_by_place_have_none() -> None:
    a, b = images()
    for method in (Average(), CopyA(), Pca(), Laplacian()):
        assert method.maps(a, b) == {}
