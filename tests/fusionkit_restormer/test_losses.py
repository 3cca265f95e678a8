"""The shared losses against their formulas, written out pixel by pixel in float64."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from fusionkit_restormer.losses import (
    brightness_weights,
    image_gradient,
    reconstruction_loss,
    sobel,
    weighted_fusion_loss,
    weighted_fusion_minimiser,
)


def _sobel_by_hand(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    padded = np.pad(image, 1)
    x, y = np.zeros_like(image), np.zeros_like(image)
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], float)
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            window = padded[i : i + 3, j : j + 3]
            x[i, j], y[i, j] = (window * kernel).sum(), (window * kernel.T).sum()
    return x, y


def _images(*shape: int, count: int) -> list[torch.Tensor]:
    return [torch.rand(*shape, dtype=torch.float64) for _ in range(count)]


def test_sobel_is_the_plain_kernel_with_zero_padding() -> None:
    (image,) = _images(2, 1, 7, 9, count=1)
    found = sobel(image)
    for k in range(2):
        x, y = _sobel_by_hand(image[k, 0].numpy())
        np.testing.assert_allclose(found[k, 0], x, atol=1e-12)
        np.testing.assert_allclose(found[k, 1], y, atol=1e-12)


def test_sobel_agrees_with_opencv() -> None:
    (image,) = _images(1, 1, 12, 10, count=1)
    expected = cv2.Sobel(image[0, 0].numpy(), cv2.CV_64F, 1, 0, ksize=3, borderType=cv2.BORDER_CONSTANT)
    np.testing.assert_allclose(sobel(image)[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("form", ["signed", "magnitude"])
def test_the_fusion_loss_is_equation_1_written_out(form: str) -> None:
    fused, a, b, w, v = _images(2, 1, 5, 6, count=5)
    weights, slopes = torch.cat((w, 1 - w), 1), torch.cat((v, 1 - v), 1)
    found = weighted_fusion_loss(fused, (a, b), weights, slopes, alpha=0.7, form=form)  # type: ignore[arg-type]
    intensity = gradient = 0.0
    for n in range(2):
        f = fused[n, 0].numpy()
        for k, source in enumerate((a, b)):
            s = source[n, 0].numpy()
            intensity += (weights[n, k].numpy() * (s - f) ** 2).mean() / 2
            fx, fy = _sobel_by_hand(f)
            sx, sy = _sobel_by_hand(s)
            if form == "signed":
                error = (sx - fx) ** 2 + (sy - fy) ** 2
            else:
                error = (abs(sx) + abs(sy) - abs(fx) - abs(fy)) ** 2
            gradient += (slopes[n, k].numpy() * error).mean() / 2
    assert float(found["intensity"]) == pytest.approx(intensity, rel=1e-12)
    assert float(found["gradient"]) == pytest.approx(gradient, rel=1e-12)
    assert float(found["total"]) == pytest.approx(intensity + 0.7 * gradient, rel=1e-12)


@pytest.mark.parametrize("combine", ["max", "sum"])
@pytest.mark.parametrize("form", ["signed", "magnitude"])
def test_the_reconstruction_loss_is_equation_4_written_out(combine: str, form: str) -> None:
    a, b, ra, rb = _images(1, 1, 6, 5, count=4)
    found = reconstruction_loss((ra, rb), (a, b), alpha=2.0, combine=combine, form=form)  # type: ignore[arg-type]
    over = np.maximum if combine == "max" else np.add
    pairs = [(x[0, 0].numpy(), y[0, 0].numpy()) for x, y in ((a, ra), (b, rb))]
    intensity = over(*[(x - y) ** 2 for x, y in pairs]).mean()
    slopes = []
    for x, y in pairs:
        (sx, sy), (rx, ry) = _sobel_by_hand(x), _sobel_by_hand(y)
        slopes.append(
            [(sx - rx) ** 2, (sy - ry) ** 2] if form == "signed" else [(abs(sx) + abs(sy) - abs(rx) - abs(ry)) ** 2]
        )
    gradient = sum(over(p, q) for p, q in zip(*slopes, strict=True)).mean()
    assert float(found["total"]) == pytest.approx(intensity + 2 * gradient, rel=1e-12)


def _weighted_by_hand(source: np.ndarray, form: str, floor: float) -> np.ndarray:
    if form == "absolute":
        return np.array([[(x + floor) / (0.5 + floor) for x in row] for row in source])
    mean = float(np.sum(source)) / source.size + 0.02
    return np.array([[(x / mean + floor) / (1 + floor) for x in row] for row in source])


@pytest.mark.parametrize("form", ["absolute", "relative"])
@pytest.mark.parametrize("combine", ["max", "sum"])
def test_errors_of_intensity_count_by_the_brightness_of_their_source(form: str, combine: str) -> None:
    a, b, ra, rb = _images(2, 1, 6, 5, count=4)
    weights = [brightness_weights(x, form, 0.1) for x in (a, b)]  # type: ignore[arg-type]
    found = reconstruction_loss((ra, rb), (a, b), combine=combine, weights=weights)  # type: ignore[arg-type]
    over = np.maximum if combine == "max" else np.add
    intensity = 0.0
    for n in range(2):
        errors = [
            _weighted_by_hand(x[n, 0].numpy(), form, 0.1) * (x[n, 0].numpy() - y[n, 0].numpy()) ** 2
            for x, y in ((a, ra), (b, rb))
        ]
        intensity += over(*errors).mean() / 2
    assert float(found["intensity"]) == pytest.approx(intensity, rel=1e-12)
    plain = reconstruction_loss((ra, rb), (a, b), combine=combine)  # type: ignore[arg-type]
    assert float(found["gradient"]) == float(plain["gradient"])


def test_without_a_weight_the_reconstruction_loss_is_the_papers() -> None:
    a, b, ra, rb = _images(1, 1, 6, 5, count=4)
    ones = [brightness_weights(x, "off", 0.1) for x in (a, b)]
    weighted, plain = reconstruction_loss((ra, rb), (a, b), weights=ones), reconstruction_loss((ra, rb), (a, b))
    assert {k: float(v) for k, v in weighted.items()} == {k: float(v) for k, v in plain.items()}


def test_the_relative_weight_does_not_see_how_long_an_exposure_was() -> None:
    (image,) = _images(1, 1, 8, 8, count=1)
    image = image + 1
    longer, shorter = (brightness_weights(gain * image, "relative", 0.1) for gain in (50.0, 25.0))
    torch.testing.assert_close(longer, shorter, rtol=1e-3, atol=0)
    assert float(brightness_weights(torch.full((1, 1, 2, 2), 0.5), "absolute", 0.3).mean()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("form", "power", "best"),
    [("off", 2, 0.5), ("absolute", 1, 0.95 / (0.95 + 0.25)), ("absolute", 2, 0.95**2 / (0.95**2 + 0.25**2))],
)
def test_the_best_blend_of_two_flat_sources_leans_by_their_weights(form: str, power: float, best: float) -> None:
    a, b = (torch.full((1, 1, 8, 8), level, dtype=torch.float64) for level in (0.9, 0.2))
    weights = [brightness_weights(x, form, 0.05, power) for x in (a, b)]  # type: ignore[arg-type]

    def loss(w: float) -> float:
        fused = w * a + (1 - w) * b
        found = reconstruction_loss((fused, fused), (a, b), combine="sum", weights=weights, alpha=0)
        return float(found["total"])

    grid = np.linspace(0, 1, 2001)
    assert grid[np.argmin([loss(w) for w in grid])] == pytest.approx(best, abs=1e-3)


@pytest.mark.parametrize("form", ["absolute", "relative"])
@pytest.mark.parametrize("combine", ["max", "sum"])
def test_the_weighted_loss_has_the_gradient_that_it_says(form: str, combine: str) -> None:
    a, b, ra, rb = _images(1, 1, 5, 4, count=4)

    def loss(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        weights = [brightness_weights(x, form, 0.1) for x in (a, b)]  # type: ignore[arg-type]
        return reconstruction_loss((first, second), (a, b), combine=combine, weights=weights)["total"]  # type: ignore[arg-type]

    assert torch.autograd.gradcheck(loss, (ra.requires_grad_(), rb.requires_grad_()))


def test_the_signed_gradient_tells_an_edge_from_its_mirror() -> None:
    edge = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    edge[..., 3:] = 1
    mirrored = 1 - edge
    inside = (..., slice(1, -1), slice(1, -1))
    assert not torch.allclose(image_gradient(edge, "signed")[inside], image_gradient(mirrored, "signed")[inside])
    assert torch.allclose(image_gradient(edge, "magnitude")[inside], image_gradient(mirrored, "magnitude")[inside])


def _mirrored_sobel_matrices(height: int, width: int) -> list[np.ndarray]:
    """The two responses as matrices on the pixels of an image that goes on as its mirror image; by OpenCV."""
    columns = []
    for pixel in np.eye(height * width).reshape(-1, height, width):
        columns.append(
            [
                cv2.Sobel(pixel, cv2.CV_64F, dx, dy, ksize=3, borderType=cv2.BORDER_REFLECT).ravel()
                for dx, dy in ((1, 0), (0, 1))
            ]
        )
    return [np.array([column[k] for column in columns]).T for k in range(2)]


@pytest.mark.parametrize(("height", "width", "alpha"), [(7, 9, 1.0), (6, 5, 0.3), (1, 4, 2.0), (8, 1, 1.0)])
def test_the_minimiser_is_the_solution_of_the_normal_equations(height: int, width: int, alpha: float) -> None:
    a, b, w, v = _images(2, 1, height, width, count=4)
    weights, slopes = torch.cat((w, 1 - w), 1), torch.cat((v, 1 - v), 1)
    found = weighted_fusion_minimiser((a, b), weights, slopes, alpha=alpha)
    matrices = _mirrored_sobel_matrices(height, width)
    left = np.eye(height * width) + alpha * sum(m.T @ m for m in matrices)
    for n in range(2):
        right = np.zeros(height * width)
        for k, source in enumerate((a, b)):
            s = source[n, 0].numpy().ravel()
            right += weights[n, k].numpy().ravel() * s
            right += alpha * sum(m.T @ (slopes[n, k].numpy().ravel() * (m @ s)) for m in matrices)
        np.testing.assert_allclose(found[n, 0].numpy().ravel(), np.linalg.solve(left, right), atol=1e-10)


def test_the_fusion_loss_has_no_slope_at_its_minimiser() -> None:
    a, b, w, v = _images(1, 1, 24, 20, count=4)
    weights, slopes = torch.cat((w, 1 - w), 1), torch.cat((v, 1 - v), 1)
    image = weighted_fusion_minimiser((a, b), weights, slopes).requires_grad_()
    (slope,) = torch.autograd.grad(weighted_fusion_loss(image, (a, b), weights, slopes)["total"], image)
    # At the border the loss continues the images by zeros.
    assert slope[..., 2:-2, 2:-2].abs().max() < 1e-12
    assert slope.abs().max() > 1e-6


def test_the_minimiser_is_differentiated_in_the_weights() -> None:
    a, b, w, v = _images(1, 1, 5, 6, count=4)

    def solve(w: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return weighted_fusion_minimiser((a, b), torch.cat((w, 1 - w), 1), torch.cat((v, 1 - v), 1))

    assert torch.autograd.gradcheck(solve, (w.requires_grad_(), v.requires_grad_()))


def test_where_both_weights_choose_one_source_the_minimiser_is_that_source() -> None:
    a, b = _images(1, 1, 11, 8, count=2)
    first = torch.stack((torch.ones(11, 8), torch.zeros(11, 8))).double()[None]
    torch.testing.assert_close(weighted_fusion_minimiser((a, b), first, first), a)
    low = first.bfloat16()
    assert weighted_fusion_minimiser((a.bfloat16(), b.bfloat16()), low, low).dtype == torch.float32


def test_the_minimiser_keeps_its_precision_under_autocast() -> None:
    a, b, w, v = (x.float() for x in _images(1, 1, 12, 10, count=4))
    given = (a, b), torch.cat((w, 1 - w), 1), torch.cat((v, 1 - v), 1)
    with torch.autocast("cpu", torch.bfloat16):
        found = weighted_fusion_minimiser(*given)
    torch.testing.assert_close(found, weighted_fusion_minimiser(*given), rtol=0, atol=0)
