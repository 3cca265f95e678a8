"""Gradient transfer fusion: its solver against a linear program and another algorithm, and what it keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import bmat, diags_array, eye_array

from fusionkit.errors import UsageError
from fusionkit_classical.gtf import Gtf, GtfConfig
from fusionkit_classical.totalvariation import l1_total_variation

Image = NDArray[np.float64]


def objective(image: Image, target: Image, weight: float) -> float:
    across = np.diff(image, axis=1, append=image[:, -1:])
    down = np.diff(image, axis=0, append=image[-1:])
    return float(np.abs(image - target).sum() + weight * np.hypot(across, down).sum())


def least_by_linear_program(row: Image, weight: float) -> float:
    """The minimum in one dimension: min sum e + weight sum d, e >= |y - f|, d >= |D y|."""
    n = len(row)
    difference = diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[0, 1], shape=(n - 1, n))
    one_n, one_d = eye_array(n), eye_array(n - 1)
    matrix = bmat(
        [[one_n, -one_n, None], [-one_n, -one_n, None], [difference, None, -one_d], [-difference, None, -one_d]]
    )
    bound = np.concatenate([row, -row, np.zeros(2 * (n - 1))])
    cost = np.concatenate([np.zeros(n), np.ones(n), weight * np.ones(n - 1)])
    limits = [(None, None)] * n + [(0, None)] * (2 * n - 1)
    return float(linprog(cost, A_ub=matrix.tocsr(), b_ub=bound, bounds=limits).fun)


def primal_dual(target: Image, weight: float, iterations: int) -> Image:
    """Chambolle and Pock's algorithm, which shares nothing with ADMM but the problem."""
    y, bar = target.copy(), target.copy()
    p, q = np.zeros_like(y), np.zeros_like(y)
    step = 1 / np.sqrt(8)
    for _ in range(iterations):
        p += step * np.diff(bar, axis=1, append=bar[:, -1:])
        q += step * np.diff(bar, axis=0, append=bar[-1:])
        scale = np.maximum(1, np.hypot(p, q) / weight)
        p, q = p / scale, q / scale
        p[:, -1], q[-1] = 0, 0
        divergence = np.diff(p, axis=1, prepend=0) + np.diff(q, axis=0, prepend=0)
        moved = y + step * divergence - target
        new = target + np.sign(moved) * np.maximum(np.abs(moved) - step, 0)
        bar, y = 2 * new - y, new
    return y


@pytest.mark.parametrize("weight", [0.4, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1)])
def test_solver_reaches_the_optimum_of_the_linear_program_in_one_dimension(
    weight: float, shape: tuple[int, int]
) -> None:
    target = np.random.default_rng(0).uniform(-1, 1, shape)
    solved = l1_total_variation(target, weight, iterations=20000, tolerance=1e-9)
    least = least_by_linear_program(target.ravel(), weight)
    assert objective(solved, target, weight) == pytest.approx(least, rel=1e-4)


@pytest.mark.parametrize("weight", [0.3, 1.0, 4.0])
def test_solver_agrees_with_another_algorithm_in_two_dimensions(weight: float) -> None:
    rng = np.random.default_rng(1)
    target = np.kron(rng.uniform(-1, 1, (3, 4)), np.ones((7, 6))) + 0.1 * rng.standard_normal((21, 24))
    solved = l1_total_variation(target, weight, iterations=4000, tolerance=1e-8)
    other = primal_dual(target, weight, 6000)
    reached, reference = objective(solved, target, weight), objective(other, target, weight)
    assert reached <= reference * (1 + 1e-6)
    assert reached == pytest.approx(reference, rel=2e-3)


def test_default_options_come_within_a_thousandth_of_the_optimum() -> None:
    rng = np.random.default_rng(2)
    target = np.kron(rng.uniform(-1, 1, (4, 5)), np.ones((16, 16))) + 0.05 * rng.standard_normal((64, 80))
    config = GtfConfig()
    fast = l1_total_variation(
        target.astype(np.float32), config.weight, iterations=config.iterations, tolerance=config.tolerance
    )
    best = l1_total_variation(target, config.weight, iterations=2500, tolerance=1e-8)
    ratio = objective(fast.astype(float), target, config.weight) / objective(best, target, config.weight)
    assert 1 - 1e-6 < ratio < 1.001


def test_no_weight_gives_the_first_source_and_a_great_weight_the_second_ones_texture() -> None:
    a, b = (torch.rand(1, 1, 24, 24, dtype=torch.float64) * 0.4 + c for c in (0.1, 0.5))
    assert (Gtf(GtfConfig(weight=0.0, tolerance=1e-6))(a, b) - a).abs().max() < 1e-4
    flat = Gtf(GtfConfig(weight=1e3, iterations=5000, tolerance=1e-6))(a, b) - b
    assert flat.max() - flat.min() < 1e-2
    assert flat.mean().item() == pytest.approx((a - b).median().item(), abs=2e-2)


def test_intensities_come_from_the_first_source_and_fine_texture_from_the_second() -> None:
    infrared = torch.full((1, 1, 64, 64), 0.2)
    infrared[..., 16:48, 16:48] = 0.7
    visible = 0.4 + 0.05 * (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    fused = Gtf()(infrared, visible)[0, 0]
    assert fused[32, 26:38].mean().item() == pytest.approx(0.7, abs=0.03)
    assert fused[4, 4:12].mean().item() == pytest.approx(0.2, abs=0.03)
    assert (fused[:, 1::2] - fused[:, ::2])[30:34, 12:20].mean().item() == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(("side", "stays"), [(4, False), (40, True)])
def test_only_targets_larger_than_the_weight_allows_stay(side: int, stays: bool) -> None:
    """A square of side a has a / 4 pixels of area for each of perimeter: with weight 4 it stays from about 16 up."""
    infrared = torch.full((1, 1, 64, 64), 0.2)
    start = 32 - side // 2
    infrared[..., start : start + side, start : start + side] = 0.8
    fused = Gtf()(infrared, torch.full_like(infrared, 0.5))
    assert (fused[0, 0, 32, 32] > 0.7).item() is stays


def test_wrong_options_name_themselves() -> None:
    with pytest.raises(UsageError, match="tolerance=0 is not valid: Input should be greater than 0"):
        Gtf(GtfConfig(tolerance=0))
