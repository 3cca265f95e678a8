"""Image filters of OpenCV on tensors, where no gradient is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["blurred", "box_sums", "dilated", "is_plain", "laplacian", "pyramid_down", "pyramid_up", "votes"]

_LEAST_SIDE = 8
"""Smaller images are left to PyTorch: OpenCV reflects a border only once."""

Plane = npt.NDArray[Any]


def is_plain(image: Tensor) -> bool:
    """Return whether OpenCV can filter an image in place of PyTorch: float on the CPU, no gradient, nothing traced."""
    known = image.device.type == "cpu" and image.dtype in (torch.float32, torch.float64) and type(image) is Tensor
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return known and min(image.shape[-2:]) >= _LEAST_SIDE and not (traced or torch.is_grad_enabled())


def _each_plane(image: Tensor, size: tuple[int, int], work: Callable[[Plane, Plane], object]) -> Tensor:
    """Call ``work(plane, result)`` for every plane of ``(..., H, W)``; results are ``(..., *size)``."""
    planes = image.reshape(-1, *image.shape[-2:]).numpy()
    results = np.empty((len(planes), *size), planes.dtype)
    for plane, result in zip(planes, results, strict=True):
        work(plane, result)
    return torch.from_numpy(results).view(*image.shape[:-2], *size)


def box_sums(image: Tensor, down: int, across: int, *, border: Literal["cut", "edge", "symmetric"]) -> Tensor:
    """Sums over windows of ``2 down + 1`` rows and ``2 across + 1`` columns.

    Args:
        image: ``(..., H, W)``.
        down: rows above and below.
        across: columns on the left and on the right.
        border: what is beyond it: nothing, the border pixels repeated, or the image mirrored with them.
    """
    side = (2 * across + 1, 2 * down + 1)
    rule = {"cut": cv2.BORDER_CONSTANT, "edge": cv2.BORDER_REPLICATE, "symmetric": cv2.BORDER_REFLECT}[border]

    def work(plane: Plane, result: Plane) -> None:
        cv2.boxFilter(plane, -1, side, dst=result, normalize=False, borderType=rule)

    return _each_plane(image, (image.shape[-2], image.shape[-1]), work)


def votes(marked: Tensor, radius: int) -> Tensor:
    """Numbers of marks in square windows of ``2 radius + 1`` pixels, border pixels repeated: int32 of booleans."""
    side = (2 * radius + 1, 2 * radius + 1)
    planes = marked.view(torch.uint8).reshape(-1, *marked.shape[-2:]).numpy()
    counts = np.empty(planes.shape, np.int32)
    for plane, count in zip(planes, counts, strict=True):
        cv2.boxFilter(plane, cv2.CV_32S, side, dst=count, normalize=False, borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(counts).view(marked.shape)


def laplacian(image: Tensor, *, border: Literal["edge", "reflect"]) -> Tensor:
    """Sum of the four neighbours less four times the pixel."""
    rule = cv2.BORDER_REPLICATE if border == "edge" else cv2.BORDER_REFLECT_101

    def work(plane: Plane, result: Plane) -> None:
        cv2.Laplacian(plane, -1, dst=result, ksize=1, borderType=rule)

    return _each_plane(image, (image.shape[-2], image.shape[-1]), work)


def blurred(image: Tensor, window: int, sigma: float) -> Tensor:
    """Smooth with a Gaussian of ``window`` pixels, border pixels repeated."""
    taps = cv2.getGaussianKernel(window, sigma, cv2.CV_64F)

    def work(plane: Plane, result: Plane) -> None:
        cv2.sepFilter2D(plane, -1, taps, taps, dst=result, borderType=cv2.BORDER_REPLICATE)

    return _each_plane(image, (image.shape[-2], image.shape[-1]), work)


def dilated(image: Tensor, radius: int) -> Tensor:
    """Greatest values of square windows of ``2 radius + 1`` pixels, cut off at the border."""
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    size = (image.shape[-2], image.shape[-1])
    return _each_plane(image, size, lambda plane, result: cv2.dilate(plane, kernel, dst=result))


def pyramid_down(image: Tensor) -> Tensor:
    """Smooth with [1 4 6 4 1] / 16 and keep every second row and column."""
    size = (-(-image.shape[-2] // 2), -(-image.shape[-1] // 2))
    return _each_plane(image, size, lambda plane, result: cv2.pyrDown(plane, dst=result))


def pyramid_up(image: Tensor, height: int, width: int) -> Tensor:
    """Double an image by interpolation with the kernel of :func:`pyramid_down`."""
    return _each_plane(
        image, (height, width), lambda plane, result: cv2.pyrUp(plane, dst=result, dstsize=(width, height))
    )
