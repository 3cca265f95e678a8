"""Two operations of the Restormer block with derivatives of their own: fewer copies, less kept for the backward pass.

Autograd would keep every intermediate and put the gradients of slices together by copying; these keep their inputs
alone and write each slice of a gradient where it belongs. Both have forward-mode derivatives, and under
``create_graph`` their backward is made of differentiable operations.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from fusionkit_restormer.cuda_forms import sum_over_pixels


class GramAndValues(Function):
    """q, k and v side by side, ``(B, P, 3 C)``, to the sums over pixels of all products among q and k, and v.

    ``gram = [q, k]^T [q, k]``, ``(B, 2 C, 2 C)``, and v ``(B, P, C)`` as a view.
    """

    @staticmethod
    def forward(qkv: Tensor) -> tuple[Tensor, Tensor]:
        both, v = _split(qkv)
        return sum_over_pixels(both, both), v

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, gram_slope: Tensor, v_slope: Tensor) -> Tensor:
        both, _ = _split(ctx.saved_tensors[0])
        # Under autocast the sum is float32 and what it sums is not.
        symmetric = (gram_slope + gram_slope.transpose(1, 2)).to(both.dtype)
        if torch.is_grad_enabled():
            return torch.cat((both @ symmetric, v_slope), 2)
        slope = torch.empty_like(ctx.saved_tensors[0])
        into_both, into_v = _split(slope)
        _multiply(both, symmetric, into_both)
        into_v.copy_(v_slope)
        return slope

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> tuple[Tensor, Tensor]:
        both, _ = _split(ctx.saved_tensors[0])
        along, v = _split(tangent)
        half = sum_over_pixels(along, both)
        # A view of the tangent for a view of the input, as forward-mode AD asks for.
        return half + half.transpose(1, 2), v


class GatedProjection(Function):
    """Gate and value side by side, ``(B, P, 2 E)``, to ``(GELU(gate) * value) W^T``, ``(B, P, D)``."""

    @staticmethod
    def forward(halves: Tensor, weight: Tensor) -> Tensor:
        gate, value = halves.chunk(2, -1)
        return F.linear(F.gelu(gate) * value, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor]:
        halves, weight = ctx.saved_tensors
        gate, value = halves.chunk(2, -1)
        opened = F.gelu(gate)
        weight_slope = sum_over_pixels(slope.flatten(0, 1)[None], (opened * value).flatten(0, 1)[None])[0]
        pulled = slope @ weight
        if torch.is_grad_enabled():
            gate_slope = torch.ops.aten.gelu_backward(pulled * value, gate)
            return torch.cat((gate_slope, pulled * opened), -1), weight_slope
        into = torch.empty_like(halves)
        into_gate, into_value = into.chunk(2, -1)
        torch.mul(pulled, opened, out=into_value)
        torch.ops.aten.gelu_backward.grad_input(pulled.mul_(value), gate, grad_input=into_gate)
        return into, weight_slope

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor | None, weight_tangent: Tensor | None) -> Tensor:
        halves, weight = ctx.saved_tensors
        gate, value = halves.chunk(2, -1)
        opened = F.gelu(gate)
        out = torch.zeros((), dtype=halves.dtype, device=halves.device)
        if tangent is not None:
            gate_tangent, value_tangent = tangent.chunk(2, -1)
            moved = torch.ops.aten.gelu_backward(gate_tangent * value, gate) + opened * value_tangent
            out = F.linear(moved, weight)
        if weight_tangent is not None:
            out = out + F.linear(opened * value, weight_tangent)
        return out


def _split(qkv: Tensor) -> tuple[Tensor, Tensor]:
    channels = qkv.shape[2] // 3
    return qkv[..., : 2 * channels], qkv[..., 2 * channels :]


def _multiply(left: Tensor, right: Tensor, out: Tensor) -> None:
    """``out = left @ right`` for batches of matrices, ``out`` possibly a slice."""
    if left.device.type != "cpu":
        torch.bmm(left, right, out=out)
        return
    # One product per sample: unlike the batched one it writes into a slice without a copy aside.
    for k in range(len(left)):
        torch.mm(left[k], right[k], out=out[k])
