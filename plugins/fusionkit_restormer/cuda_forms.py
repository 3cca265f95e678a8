"""Forms of three operations that CUDA's libraries are slow at: products summed over all pixels, norms of few channels.

For a small product with a long sum cuBLAS takes one thread block, however large the GPU is; in parts, which are added
up, it takes one for each part. PyTorch's layer norm takes a warp per pixel, which has fewer channels than that threads.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["channel_norm", "linear", "multiply", "preferred", "sum_over_pixels"]

_PART = 512
"""Least number of pixels of a part."""


def preferred(x: Tensor) -> bool:
    """Return whether ``x`` lies where these forms are the faster ones."""
    return x.is_cuda


def sum_over_pixels(left: Tensor, right: Tensor) -> Tensor:
    """``left^T right``: ``(B, P, C)`` and ``(B, P, D)`` to ``(B, C, D)``, in parts on CUDA."""
    if not preferred(left):
        return left.transpose(1, 2) @ right
    count = left.shape[1]
    parts = 1
    while count // (2 * parts) >= _PART:
        parts *= 2
    length = count // parts
    whole = parts * length
    one, other = (x[:, :whole].unflatten(1, (parts, length)) for x in (left, right))
    total = (one.transpose(2, 3) @ other).sum(1)
    return total if whole == count else total + left[:, whole:].transpose(1, 2) @ right[:, whole:]


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """``x weight^T`` for ``(B, H, W, C)`` and ``(D, C)``; on CUDA the gradient of ``weight`` is summed row by row."""
    if not (preferred(x) and torch.is_grad_enabled()):
        return torch.nn.functional.linear(x, weight)
    return x @ weight.t().expand(x.shape[0], x.shape[1], -1, -1)


def multiply(x: Tensor, matrix: Tensor) -> Tensor:
    """``x matrix^T`` for ``(B, H, W, C)`` and ``(B, D, C)``; on CUDA the matrix's gradient is summed row by row."""
    if not (preferred(x) and torch.is_grad_enabled()):
        return (x.flatten(1, 2) @ matrix.transpose(1, 2)).unflatten(1, x.shape[1:3])
    return x @ matrix.transpose(1, 2)[:, None]


def channel_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """Layer norm over the last dimension."""
    if not preferred(x):
        return torch.nn.functional.layer_norm(x, weight.shape, weight, bias, eps)
    x = x if x.dtype == torch.float64 else x.float()
    var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    return torch.addcmul(bias, (x - mean) * torch.rsqrt(var + eps), weight)
