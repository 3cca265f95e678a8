"""The operations with derivatives of their own: every derivative against finite differences and plain autograd."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from fusionkit_restormer.operations import GatedProjection, GramAndValues
from fusionkit_restormer.restormer import RestormerBlock


def _plain_gram(qkv: Tensor) -> tuple[Tensor, Tensor]:
    q, k, v = qkv.chunk(3, 2)
    both = torch.cat((q, k), 2)
    return torch.einsum("bpc,bpd->bcd", both, both), v


def _plain_gate(halves: Tensor, weight: Tensor) -> Tensor:
    gate, value = halves.chunk(2, 2)
    return torch.einsum("bpe,de->bpd", F.gelu(gate) * value, weight)


def _inputs(name: str) -> tuple[Tensor, ...]:
    shapes = {"gram": [(2, 5, 6)], "gate": [(2, 5, 6), (4, 3)]}[name]
    return tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)


OPERATIONS = {"gram": (GramAndValues.apply, _plain_gram), "gate": (GatedProjection.apply, _plain_gate)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_first_second_and_forward_derivatives_are_those_of_finite_differences(name: str) -> None:
    operation = OPERATIONS[name][0]
    assert gradcheck(operation, _inputs(name), check_forward_ad=True)
    assert gradgradcheck(operation, _inputs(name))


@pytest.mark.parametrize("name", OPERATIONS)
def test_values_and_gradients_are_those_of_the_plain_formula(name: str) -> None:
    inputs = _inputs(name)
    results = []
    for operation in OPERATIONS[name]:
        outputs = operation(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        total = sum((output.sin() * k).sum() for k, output in enumerate(outputs, 1))
        results.append((*outputs, *torch.autograd.grad(total, inputs)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_tangent_of_one_input_alone_is_taken(name: str) -> None:
    operation, plain = OPERATIONS[name]
    inputs = tuple(t.detach() for t in _inputs(name))
    along = torch.randn_like(inputs[-1])
    found, expected = (
        torch.func.jvp(lambda last, f=f: f(*inputs[:-1], last), (inputs[-1],), (along,))[1] for f in (operation, plain)
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_they_keep_their_inputs_alone_for_the_backward_pass() -> None:
    kept: set[int] = set()

    def keep(tensor: Tensor) -> Tensor:
        kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    halves, weight = _inputs("gate")
    (qkv,) = _inputs("gram")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = GatedProjection.apply(halves, weight), GramAndValues.apply(qkv)
    assert len(outputs) == 2
    assert kept == {tensor.untyped_storage().data_ptr() for tensor in (halves, weight, qkv)}


def test_a_block_trains_under_bf16_autocast_near_to_float32() -> None:
    block = RestormerBlock(8, 4, 2)
    x = torch.randn(2, 8, 6, 5)
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            total = block(x).square().mean()
        gradients.append(torch.cat([g.flatten() for g in torch.autograd.grad(total, list(block.parameters()))]))
    assert gradients[1].dtype == torch.float32
    assert (gradients[0] - gradients[1]).norm() <= 0.05 * gradients[0].norm()
