"""Fusing tensors: colour, the range stretch and the folding of many sources around a fuser that knows none of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.errors import PluginError, UsageError, did_you_mean
from fusionkit.io.color import fuse_chroma, luminance, rgb_to_ycrcb, ycrcb_to_rgb

__all__ = ["Stretch", "check_stretch", "fuse_tensors", "stretch_range"]

Stretch = Literal["full", "none"]
"""Range stretch of the fused luminance before it is written: to its own full range, or none."""


def stretch_range(y: Tensor) -> Tensor:
    r"""Stretch every image of a batch to its own full range: :math:`(y - \min y) / (\max y - \min y)`.

    Args:
        y: ``(B, C, H, W)``.

    Returns:
        ``(B, C, H, W)`` in [0, 1]; an image that is constant is returned as it is.
    """
    least, greatest = y.amin((1, 2, 3), keepdim=True), y.amax((1, 2, 3), keepdim=True)
    span = greatest - least
    return torch.where(span > 0, (y - least) / torch.where(span > 0, span, torch.ones_like(span)), y)


def fuse_tensors(fuser: Fuser, *sources: Tensor, stretch: Stretch = "none") -> Tensor:
    """Fuse sources of one or three channels with a fuser of either space.

    A luminance fuser gets the sources' luminance, and the fused luminance the fused chroma of the sources that have
    colour (:func:`fusionkit.io.color.fuse_chroma`). An RGB fuser gets every source with three channels. Of more sources
    than the fuser takes, the first are fused, then the result with the next: ((a, b), c); chroma is fused once, over
    all, and the stretch comes once, at the end.

    Args:
        fuser: the fuser, on the sources' device.
        sources: two or more ``(B, C, H, W)`` in [0, 1], C 1 or 3, of one ``B, H, W``.
        stretch: of the fused luminance, each image by itself.

    Returns:
        ``(B, C, H, W)`` in [0, 1]: one channel where no source has three, else three.

    Raises:
        fusionkit.errors.UsageError: fewer than two sources, or their shapes do not fit together.
        fusionkit.errors.PluginError: the fuser does not give back the shape that it was given.
    """
    check_stretch(stretch)
    _check_sources(sources)
    colour = [source for source in sources if source.shape[1] == 3]
    if fuser.space == "rgb":
        fused = _fold(fuser, [source.expand(-1, 3, -1, -1) for source in sources])
        if not colour:
            y, chroma = luminance(fused), None
        elif stretch == "none":
            return fused
        else:
            ycrcb = rgb_to_ycrcb(fused)
            y, chroma = ycrcb[:, :1], ycrcb[:, 1:]
    else:
        y = _fold(fuser, [luminance(source) for source in sources])
        # A grey source is neutral everywhere: leaving it out is what the rule does with it.
        chroma = fuse_chroma(*(rgb_to_ycrcb(source)[:, 1:] for source in colour)) if colour else None
    if stretch == "full":
        y = stretch_range(y)
    if chroma is None:
        return y
    # Chroma that the luminance cannot carry is cut off.
    return ycrcb_to_rgb(torch.cat([y, chroma], dim=1)).clamp(0, 1)


def check_stretch(stretch: str) -> None:
    """Refuse a stretch that there is not.

    Raises:
        fusionkit.errors.UsageError: always in that case.
    """
    if stretch not in ("full", "none"):
        raise UsageError(f"stretch {stretch!r}: {did_you_mean(stretch, ('full', 'none'))}")


def _check_sources(sources: Sequence[Tensor]) -> None:
    if len(sources) < 2:
        raise UsageError(f"two or more sources are needed to fuse, got {len(sources)}")
    shapes = [tuple(source.shape) for source in sources]
    fits = all(len(shape) == 4 and shape[1] in (1, 3) and 0 not in shape for shape in shapes)
    if not fits or len({(shape[0], *shape[2:]) for shape in shapes}) > 1:
        raise UsageError(f"sources (B, C, H, W) with C 1 or 3 and one B, H, W are needed, got {shapes}")


def _fold(fuser: Fuser, sources: Sequence[Tensor]) -> Tensor:
    most = fuser.max_sources or len(sources)
    fused = _call(fuser, sources[:most])
    for start in range(most, len(sources), most - 1):
        fused = _call(fuser, [fused, *sources[start : start + most - 1]])
    return fused


def _call(fuser: Fuser, sources: Sequence[Tensor]) -> Tensor:
    fused: Tensor = fuser(*sources)
    if fused.shape != sources[0].shape:
        raise PluginError(
            f"{type(fuser).__name__} was given {tuple(sources[0].shape)} and gave back {tuple(fused.shape)}; "
            "a fuser must keep the shape: correct it"
        )
    return fused.clamp(0, 1)
