"""Precision of float32 products on CUDA, where PyTorch's own settings differ by operation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["float32_products"]


@contextmanager
def float32_products(*, tf32: bool = False) -> Iterator[None]:
    """Let CUDA compute products of float32 in float32 and equal calls equally, despite the program's settings.

    By default PyTorch's convolutions take TF32, which has three digits, its matrix products do not, and cuDNN may take
    another kernel at each call.

    Args:
        tf32: take TF32 in both.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    kept = matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = kept
