"""Arrays, tensors and Pillow images as sources: refused in the terms of the caller where they are something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionkit.errors import UsageError

__all__ = ["as_array"]

_PIL_MODES = {"P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "LA": "L", "1": "L"}
"""Modes of Pillow and what they are read as, as from a file: alpha is dropped."""

_CHANNELS = (1, 3)


def as_array(source: Any, name: str) -> NDArray[Any]:
    """Convert a source in memory to an array ``(H, W, C)``; its values are not touched.

    Args:
        source: an array ``(H, W)`` or ``(H, W, C)``, a tensor ``(H, W)``, ``(C, H, W)`` or ``(1, C, H, W)`` of any
            memory format and floating type, or a Pillow image.
        name: what to call it in messages.

    Raises:
        fusionkit.errors.UsageError: it is none of these; the message has its own type and shape.
    """
    if isinstance(source, Tensor):
        return _of_tensor(source, name)
    if isinstance(source, PIL.Image.Image):
        if source.mode not in {"L", "RGB", "I;16", "F", *_PIL_MODES}:
            raise UsageError(f"{name}: is a Pillow image of mode {source.mode}: convert it to L or RGB")
        array = np.asarray(source.convert(_PIL_MODES[source.mode]) if source.mode in _PIL_MODES else source)
    elif isinstance(source, np.ndarray):
        array = source
    elif isinstance(source, list | tuple):
        raise UsageError(f"{name}: is a {type(source).__name__}: give each source as an argument, as in fuse(*sources)")
    elif isinstance(source, bytes | bytearray) or hasattr(source, "read"):
        kind = type(source).__name__
        raise UsageError(f"{name}: is {kind}: give the path of a file, or open it with PIL.Image.open")
    else:
        raise UsageError(f"{name}: a file, image, array or tensor is needed, got {type(source).__name__}")
    if array.ndim == 3 and array.shape[0] in _CHANNELS and array.shape[2] not in _CHANNELS:
        raise UsageError(f"{name}: is an array {array.shape}: channels come last in arrays: transpose(1, 2, 0)")
    if array.ndim == 4:
        raise UsageError(f"{name}: is an array {array.shape}: one image (H, W) or (H, W, C) at a time is fused")
    return array[..., None] if array.ndim == 2 else array


def _of_tensor(source: Tensor, name: str) -> NDArray[Any]:
    shape = tuple(source.shape)
    if source.ndim == 4 and shape[0] != 1:
        raise UsageError(
            f"{name}: is a batch {shape}: fuse one image at a time, or a batch with "
            "fusionkit.fuse_tensors(model.fuser, *sources)"
        )
    tensor = source[0] if source.ndim == 4 else source
    if tensor.ndim == 3 and tensor.shape[2] in _CHANNELS and tensor.shape[0] not in _CHANNELS:
        raise UsageError(f"{name}: is a tensor {shape}: channels come first in tensors: permute(2, 0, 1)")
    if tensor.ndim not in (2, 3) or (tensor.ndim == 3 and tensor.shape[0] not in _CHANNELS):
        raise UsageError(f"{name}: is a tensor {shape}: (H, W), (C, H, W) or (1, C, H, W) with C 1 or 3 is needed")
    if tensor.dtype in (torch.bfloat16, torch.float16):  # NumPy has no bfloat16
        tensor = tensor.float()
    array: NDArray[Any] = tensor.detach().cpu().numpy()
    return array.transpose(1, 2, 0) if array.ndim == 3 else array[..., None]
