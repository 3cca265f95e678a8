"""Fuses tensors with any fuser: handles colour, the range stretch, and more sources than one call takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.fuse.adapter import call_fuser, check_size, plan_calls
from fusionkit.io.color import fit_gamut, fuse_chroma, luminance, rgb_to_ycrcb, ycrcb_to_rgb

__all__ = ["Gamut", "Stretch", "check_gamut", "check_stretch", "finish", "fold", "fuse_tensors", "stretch_range"]

Stretch = Literal["full", "none"]
"""Range stretch of the fused luminance before it is written: to its own full range, or none."""

Gamut = Literal["keep-luminance", "clip"]
"""Rule for colours that leave RGB: reduce their chroma, or clip each channel as the papers' codes do."""


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


def fuse_tensors(fuser: Fuser, *sources: Tensor, stretch: Stretch = "none", gamut: Gamut = "keep-luminance") -> Tensor:
    """Fuse sources of one or three channels with a fuser of either space.

    A luminance fuser gets the luminance of the sources; the fused luminance is then combined with the fused chroma of
    the sources that have colour (:func:`fusionkit.io.color.fuse_chroma`). An RGB fuser gets every source with three
    channels. If there are more sources than the fuser takes, the first ones are fused, then the result with the next
    ones: ((a, b), c). Chroma is fused once, over all sources, and the stretch is applied once, at the end. Type and
    size are converted to what :attr:`fusionkit.contracts.Fuser.capabilities` states, and back.

    Args:
        fuser: the fuser, on the sources' device.
        sources: two or more floating tensors ``(B, C, H, W)`` in [0, 1], C 1 or 3, of one ``B, H, W``.
        stretch: range stretch of the fused luminance, per image.
        gamut: ``"keep-luminance"`` reduces chroma where luminance and chroma together leave RGB
            (:func:`fusionkit.io.color.fit_gamut`), so that the result's luminance is the fused one; ``"clip"`` clips
            each channel.

    Returns:
        ``(B, C, H, W)`` in [0, 1], of the sources' type: one channel if no source has three, else three.

    Raises:
        fusionkit.errors.UsageError: fewer than two sources, shapes or types that do not fit together, or a number of
            sources that the fuser does not take.
        fusionkit.errors.DataError: the sources are smaller than the fuser takes.
        fusionkit.errors.PluginError: the fuser does not give back the shape that it was given.
    """
    check_stretch(stretch)
    check_gamut(gamut)
    _check_sources(sources)
    name, shape = type(fuser).__name__, sources[0].shape
    check_size(fuser, (shape[2], shape[3]), name=name, image="a source")
    calls = plan_calls(fuser.capabilities, len(sources), name=name)
    colour = [source for source in sources if source.shape[1] == 3]
    if fuser.space == "rgb":
        fused = fold(fuser, calls, [source.expand(-1, 3, -1, -1) for source in sources])
        if not colour:
            y, chroma = luminance(fused), None
        elif stretch == "none":
            return fused
        else:
            ycrcb = rgb_to_ycrcb(fused)
            y, chroma = ycrcb[:, :1], ycrcb[:, 1:]
    else:
        y = fold(fuser, calls, [luminance(source) for source in sources])
        # A grey source has neutral chroma everywhere, which the rule leaves out.
        chroma = fuse_chroma(*(rgb_to_ycrcb(source)[:, 1:] for source in colour)) if colour else None
    return finish(y, chroma, stretch=stretch, gamut=gamut)


def finish(y: Tensor, chroma: Tensor | None, *, stretch: Stretch, gamut: Gamut) -> Tensor:
    """Stretch a fused luminance and join it with its chroma.

    Args:
        y: ``(B, 1, H, W)`` in [0, 1].
        chroma: ``(B, 2, H, W)``: Cr, Cb; None for a grey result.
        stretch: range stretch of the luminance.
        gamut: rule for colours that leave RGB.

    Returns:
        ``(B, C, H, W)`` in [0, 1], C 1 or 3.
    """
    if stretch == "full":
        y = stretch_range(y)
    if chroma is None:
        return y
    ycrcb = torch.cat([y, chroma], dim=1)
    return fit_gamut(ycrcb) if gamut == "keep-luminance" else ycrcb_to_rgb(ycrcb).clamp(0, 1)


def check_stretch(stretch: str) -> None:
    """Refuse an unknown stretch.

    Raises:
        fusionkit.errors.UsageError: it is neither ``"full"`` nor ``"none"``.
    """
    if stretch not in ("full", "none"):
        raise UsageError(f"stretch {stretch!r}: {did_you_mean(stretch, ('full', 'none'))}")


def check_gamut(gamut: str) -> None:
    """Refuse an unknown gamut rule.

    Raises:
        fusionkit.errors.UsageError: always in that case.
    """
    if gamut not in ("keep-luminance", "clip"):
        raise UsageError(f"gamut {gamut!r}: {did_you_mean(gamut, ('keep-luminance', 'clip'))}")


def _check_sources(sources: Sequence[Tensor]) -> None:
    if len(sources) < 2:
        raise UsageError(f"two or more sources are needed to fuse, got {len(sources)}")
    shapes = [tuple(source.shape) for source in sources]
    fits = all(len(shape) == 4 and shape[1] in (1, 3) and 0 not in shape for shape in shapes)
    if not fits or len({(shape[0], *shape[2:]) for shape in shapes}) > 1:
        raise UsageError(f"sources (B, C, H, W) with C 1 or 3 and one B, H, W are needed, got {shapes}")
    for source in sources:
        if not source.is_floating_point():
            raise UsageError(f"sources of a floating type, in [0, 1], are needed, got {source.dtype}: convert them")


def fold(fuser: Fuser, calls: Sequence[slice], sources: Sequence[Tensor]) -> Tensor:
    """Fuse the sources of each call of :func:`fusionkit.fuse.adapter.plan_calls` with the result of those before."""
    fused = call_fuser(fuser, sources[calls[0]])
    for call in calls[1:]:
        fused = call_fuser(fuser, [fused, *sources[call]])
    return fused
