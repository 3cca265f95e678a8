"""Muon against torch's own, whose matrices are two-dimensional and orthogonalised in bfloat16."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fusionkit.train.bilevel.muon import Muon, is_matrix, orthogonal
from fusionkit.train.bilevel.optimisers import MATRICES, make_rule


@given(rows=st.integers(2, 24), columns=st.integers(2, 24), seed=st.integers(0, 999))
def test_singular_values_come_near_one_and_the_directions_stay(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(1, rows, columns, generator=generator, dtype=torch.float64)
    u, values, v = torch.linalg.svd(matrix[0], full_matrices=False)
    found = orthogonal(matrix)[0]
    inside = u.T @ found @ v.T
    assert torch.allclose(u @ inside @ v, found, atol=1e-9), "it left the matrix's own row and column spaces"
    assert torch.allclose(inside, inside.diag().diag(), atol=1e-9), "singular vectors were mixed"
    # A singular value below a hundredth of the norm is not brought up within five rounds.
    kept = values / values.norm() > 0.02
    assert ((inside.diag()[kept] > 0.4) & (inside.diag()[kept] < 1.3)).all()


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)])
def test_steps_are_torchs_to_its_bfloat16(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    mine = Muon([ours], lr=0.1)
    rival = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.0)
    for _ in range(4):
        slope = torch.randn(shape)
        # torch multiplies its momentum by 0.95 and adds 0.05 of the gradient: another scale, which drops out.
        ours.grad, theirs.grad = slope.clone(), slope.clone()
        mine.step()
        rival.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved


def test_a_convolution_moves_as_the_matrix_that_it_is_and_shapes_do_not_mix() -> None:
    torch.manual_seed(0)
    kernel, other, matrix = nn.Parameter(torch.zeros(6, 4, 3, 3)), nn.Parameter(torch.zeros(6, 36)), torch.randn(6, 36)
    kernel.grad, other.grad = matrix.view(6, 4, 3, 3).clone(), 3 * matrix.flip(0)
    Muon([kernel, other], lr=0.5).step()
    alone = nn.Parameter(torch.zeros(6, 36))
    alone.grad = matrix.clone()
    Muon([alone], lr=0.5).step()
    assert torch.allclose(kernel.flatten(1), alone, atol=1e-6)
    assert torch.allclose(other, alone.flip(0), atol=1e-6), "the size of a gradient made a difference"


def test_what_is_no_matrix_is_left_to_adam() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 1, 1), nn.LayerNorm(3))
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    assert [name for name, p in net.named_parameters() if is_matrix(p)] == ["0.weight"]
    rule = make_rule("muon", net, 1e-3)
    slopes = {name: torch.randn_like(p) for name, p in net.named_parameters()}
    rule.update(slopes, 0.5)
    for name, p in net.named_parameters():
        change = p.detach() - before[name]
        if name == "0.weight":
            expected = -MATRICES * 1e-3 * 0.5 * 2**0.5 * orthogonal(slopes[name].flatten(1)[None] * 1.95)[0]
            assert torch.allclose(change.flatten(1), expected, atol=1e-6)
        else:
            # Adam's first step has the length of its learning rate, in the gradient's direction.
            assert torch.allclose(change, -0.5e-3 * slopes[name].sign(), atol=1e-6), name


def test_its_state_goes_on_where_it_was() -> None:
    def net() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 4, 3), nn.Conv2d(4, 2, 1))

    def slopes(step: int) -> dict[str, torch.Tensor]:
        generator = torch.Generator().manual_seed(step)
        return {n: torch.randn(p.shape, generator=generator) for n, p in net().named_parameters()}

    whole, first = net(), net()
    rule, begun = make_rule("muon", whole, 1e-2), make_rule("muon", first, 1e-2)
    for step in range(4):
        rule.update(slopes(step))
    for step in range(2):
        begun.update(slopes(step))
    second = net()
    second.load_state_dict(first.state_dict())
    resumed = make_rule("muon", second, 1e-2)
    resumed.load_state(begun.state())
    for step in range(2, 4):
        resumed.update(slopes(step))
    for name, p in whole.named_parameters():
        assert torch.equal(p, second.get_parameter(name)), name
