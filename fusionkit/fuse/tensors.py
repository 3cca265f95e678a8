"""Fuses tensors with any fuser: handles colour, the range stretch, and more sources than one call takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.fuse.adapter import call_fuser, check_size, plan_calls
from fusionkit.io.color import chroma_of, fit_gamut, fuse_chroma, luminance, ycrcb_to_rgb
from fusionkit.io.row_strips import row_strips

__all__ = [
    "Gamut",
    "SourceRows",
    "Stretch",
    "check_gamut",
    "check_stretch",
    "finish",
    "finish_rgb",
    "fold",
    "fuse_sources",
    "fuse_tensors",
    "stretch_range",
]

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
    return _scaled(y, y.amin((1, 2, 3), keepdim=True), y.amax((1, 2, 3), keepdim=True))


def _scaled(y: Tensor, least: Tensor, greatest: Tensor) -> Tensor:
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
    _check_sources(sources)
    return fuse_sources(fuser, [_rows_of(source) for source in sources], stretch=stretch, gamut=gamut)


@dataclass(frozen=True)
class SourceRows:
    """A source whose rows are read when they are needed.

    Attributes:
        channels: 1 or 3.
        height: in pixels.
        width: in pixels.
        read: reads rows as ``(B, C, h, W)`` in [0, 1], on the fuser's device.
    """

    channels: int
    height: int
    width: int
    read: Callable[[slice], Tensor]

    def whole(self) -> Tensor:
        """All rows, ``(B, C, H, W)``."""
        return self.read(slice(0, self.height))

    def luminance(self) -> Tensor:
        """Luminance of all rows, ``(B, 1, H, W)``."""
        return self.whole() if self.channels == 1 else _over_strips(self, lambda rows: luminance(self.read(rows)))


def _rows_of(source: Tensor) -> SourceRows:
    return SourceRows(source.shape[1], source.shape[2], source.shape[3], lambda rows: source[:, :, rows])


def _over_strips(size: SourceRows | Tensor, work: Callable[[slice], Tensor]) -> Tensor:
    """Put an image together from strips of rows; on an accelerator there is one strip."""
    height, width = size.shape[2:] if isinstance(size, Tensor) else (size.height, size.width)
    strips = row_strips(height, width)
    first = next(strips)
    part = work(first)
    if first.stop == height:
        return part
    if part.device.type != "cpu":
        return torch.cat([part, work(slice(first.stop, height))], 2)
    whole = part.new_empty((*part.shape[:2], height, width))
    whole[:, :, first] = part
    for rows in strips:
        whole[:, :, rows] = work(rows)
    return whole


def fuse_sources(fuser: Fuser, sources: Sequence[SourceRows], *, stretch: Stretch, gamut: Gamut) -> Tensor:
    """Fuse sources of one size as :func:`fuse_tensors`; colour is handled a strip of rows at a time."""
    check_stretch(stretch)
    check_gamut(gamut)
    name, first = type(fuser).__name__, sources[0]
    check_size(fuser, (first.height, first.width), name=name, image="a source")
    calls = plan_calls(fuser.capabilities, len(sources), name=name)
    colour = [source for source in sources if source.channels == 3]
    if fuser.space == "rgb":
        fused = fold(fuser, calls, [source.whole().expand(-1, 3, -1, -1) for source in sources])
        return finish_rgb(fused, has_color=bool(colour), stretch=stretch, gamut=gamut)
    y = fold(fuser, calls, [source.luminance() for source in sources])
    if not colour:
        return finish(y, None, stretch=stretch, gamut=gamut)
    # A grey source has neutral chroma everywhere, which the rule leaves out.
    return finish(
        y, lambda rows: fuse_chroma(*(chroma_of(source.read(rows)) for source in colour)), stretch=stretch, gamut=gamut
    )


def finish_rgb(fused: Tensor, *, has_color: bool, stretch: Stretch, gamut: Gamut) -> Tensor:
    """Finish the result ``(B, 3, H, W)`` of an RGB fuser: as luminance where no source has colour."""
    if has_color and stretch == "none":
        return fused
    y = _over_strips(fused, lambda rows: luminance(fused[:, :, rows]))
    chroma = (lambda rows: chroma_of(fused[:, :, rows])) if has_color else None
    return finish(y, chroma, stretch=stretch, gamut=gamut)


def finish(y: Tensor, chroma: Callable[[slice], Tensor] | None, *, stretch: Stretch, gamut: Gamut) -> Tensor:
    """Stretch a fused luminance and join it with its chroma.

    Args:
        y: ``(B, 1, H, W)`` in [0, 1].
        chroma: computes rows of the chroma, ``(B, 2, h, W)``: Cr, Cb; None for a grey result.
        stretch: range stretch of the luminance.
        gamut: rule for colours that leave RGB.

    Returns:
        ``(B, C, H, W)`` in [0, 1], C 1 or 3.
    """
    limits = (y.amin((1, 2, 3), keepdim=True), y.amax((1, 2, 3), keepdim=True)) if stretch == "full" else None

    def joined(rows: slice) -> Tensor:
        part = y[:, :, rows] if limits is None else _scaled(y[:, :, rows], *limits)
        if chroma is None:
            return part
        ycrcb = torch.cat([part, chroma(rows)], dim=1)
        return fit_gamut(ycrcb) if gamut == "keep-luminance" else ycrcb_to_rgb(ycrcb).clamp(0, 1)

    return y if limits is None and chroma is None else _over_strips(y, joined)


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
