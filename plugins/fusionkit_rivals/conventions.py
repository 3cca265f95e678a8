"""Conventions of published programs around their networks, as data, and the 8-bit arithmetic that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Conventions", "chroma_by_distance", "join_colour", "read_grey", "save_levels", "to_levels"]

Reader = Literal["pil", "opencv", "libpng", "truncated", "float"]
Saver = Literal["truncate", "round", "wrap", "stretch", "stretch and truncate"]


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """Conventions of a network's authors around it. The option ``published`` follows all of it.

    Attributes:
        white: value of white at the network's input and output.
        reader: how a colour source becomes grey: PIL's mode L, OpenCV's conversion, libpng's (with which OpenCV reads
            PNG files as grey), luminance truncated to 8 bits, or luminance that is not rounded.
        saver: how values become 8 bits: cut to whole levels, rounded, cut without a clip so that negative values
            wrap to bright ones, or stretched from their own minimum and maximum.
        colour: what becomes of colour.
        order: what the first and second source are.
        square: whether only square images are taken.
        whole_image: what is computed from the whole image, so that tiles would differ; "" if nothing is.
        postprocessing: what the authors' script does after the network, under an option of its own; "" for nothing.
        faults: what is not right as published and mended without the option ``published``.
    """

    white: float = 1.0
    reader: Reader = "pil"
    saver: Saver = "truncate"
    colour: str = "grey only: a colour source is read as grey"
    order: str = "infrared, visible"
    square: bool = False
    whole_image: str = ""
    postprocessing: str = ""
    faults: tuple[str, ...] = ()


def to_levels(image: Tensor) -> Tensor:
    """Round ``(B, C, H, W)`` in [0, 1] to whole levels 0..255, as files hold them."""
    return (image * 255).round().clamp(0, 255)


def read_grey(image: Tensor, reader: Reader) -> Tensor:
    """Convert ``(B, C, H, W)`` in [0, 1], C 1 or 3, to grey ``(B, 1, H, W)`` as an 8-bit reader does.

    PIL: ``(19595 R + 38470 G + 7471 B + 2^15) >> 16``; OpenCV: ``(9798 R + 19235 G + 3735 B + 2^14) >> 15``;
    libpng: ``(9797 R + 19234 G + 3737 B) >> 15``. A grey image of three equal channels stays as it is.
    """
    levels = to_levels(image)
    if levels.shape[1] == 1:
        return levels / 255
    red, green, blue = levels.double().split(1, 1)
    if reader == "pil":
        grey = ((19595 * red + 38470 * green + 7471 * blue + 2**15) / 2**16).floor()
    elif reader == "opencv":
        grey = ((9798 * red + 19235 * green + 3735 * blue + 2**14) / 2**15).floor()
    elif reader == "libpng":
        grey = ((9797 * red + 19234 * green + 3737 * blue) / 2**15).floor()
    else:
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        grey = grey.floor() if reader == "truncated" else grey
    neutral = (levels == levels[:, :1]).flatten(1).all(1).view(-1, 1, 1, 1)
    return (torch.where(neutral, red, grey) / 255).to(image)


def save_levels(y: Tensor, saver: Saver) -> Tensor:
    """Convert values with white 1 to whole levels 0..255 as a program saves them.

    Args:
        y: ``(B, C, H, W)``; values outside [0, 1] are clipped or, by ``"wrap"``, taken modulo 256.
        saver: see :class:`Conventions`.
    """
    if saver == "wrap":
        return (255 * y).trunc().remainder(256)
    if saver in ("stretch", "stretch and truncate"):
        least, greatest = y.amin((1, 2, 3), keepdim=True), y.amax((1, 2, 3), keepdim=True)
        if saver == "stretch and truncate":
            return (255 * ((y - least) / (greatest - least + 1e-5))).floor()
        # Half up, as the old SciPy saver did.
        return (255 * (y - least) / (greatest - least).clamp(min=1e-12) + 0.5).floor().clamp(0, 255)
    y = (255 * y).clamp(0, 255)
    return y.floor() if saver == "truncate" else y.round()


def chroma_by_distance(chroma: Sequence[Tensor], neutral: float, floor: float = 0.0) -> Tensor:
    """Mean of chroma ``(B, 2, H, W)`` weighted by ``|C - neutral| + floor``; neutral where every weight is 0."""
    stack = torch.stack(tuple(chroma))
    weights = (stack - neutral).abs() + floor
    total = weights.sum(0)
    fused = (stack * weights).sum(0) / torch.where(total > 0, total, torch.ones_like(total))
    return torch.where(total > 0, fused, torch.full_like(fused, neutral))


def join_colour(y: Tensor, chroma: Tensor) -> Tensor:
    """Convert luminance ``(B, 1, H, W)`` and chroma Cb, Cr ``(B, 2, H, W)`` around 0 to RGB, as JPEG does."""
    cb, cr = chroma.split(1, 1)
    return torch.cat((y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb), 1)
