"""Fuses many sources that are read when they are needed, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.fuse.adapter import call_stream, check_size, plan_calls
from fusionkit.fuse.tensors import Gamut, Stretch, check_gamut, check_stretch, finish, finish_rgb, fold
from fusionkit.io.color import ChromaSum, chroma_of, luminance

__all__ = ["SourceStack", "fuse_stack", "is_streamed"]


def is_streamed(fuser: Fuser, count: int) -> bool:
    """Return whether a fuser takes sources one at a time: it has a ``fuse_stream`` of its own, or folds them.

    A pair is fused in tiles where the fuser states a halo.
    """
    if type(fuser).fuse_stream is not Fuser.fuse_stream:
        return fuser.capabilities.multiple == 1 and (count > 2 or fuser.capabilities.halo is None)
    most = fuser.capabilities.max_sources
    return most is not None and count > most


class SourceStack(Sequence[Tensor]):
    """Sources of one size as a fuser of either space takes them; each is read anew whenever it is looked up.

    The chroma of a luminance fuser's sources is added up when each is looked up for the first time.

    Args:
        read: reads source k as ``(1, C, H, W)`` in [0, 1], C 1 if it is grey or 3.
        count: number of sources.
        fuser: what they are for.
    """

    def __init__(self, read: Callable[[int], Tensor], count: int, fuser: Fuser) -> None:
        self._read, self._count, self._fuser = read, count, fuser
        self._seen: set[int] = set()
        self.chroma: ChromaSum | None = None
        self.has_color = False

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, k: int) -> Tensor: ...

    @overload
    def __getitem__(self, k: slice) -> list[Tensor]: ...

    def __getitem__(self, k: int | slice) -> Tensor | list[Tensor]:
        if isinstance(k, slice):
            return [self[place] for place in range(self._count)[k]]
        source = self._read(range(self._count)[k])
        rgb = self._fuser.space == "rgb"
        if k not in self._seen:
            self._seen.add(k)
            check_size(
                self._fuser, (source.shape[2], source.shape[3]), name=type(self._fuser).__name__, image="a source"
            )
            if source.shape[1] == 3:
                self.has_color = True
                if not rgb:
                    self.chroma = self.chroma or ChromaSum()
                    self.chroma.add(chroma_of(source))
        return source.expand(-1, 3, -1, -1) if rgb else luminance(source)


def fuse_stack(
    fuser: Fuser,
    read: Callable[[int], Tensor],
    count: int,
    *,
    stretch: Stretch = "none",
    gamut: Gamut = "keep-luminance",
) -> Tensor:
    """Fuse sources that are read one at a time: the result of :func:`fusionkit.fuse.tensors.fuse_tensors`.

    Args:
        fuser: the fuser.
        read: reads source k as a tensor ``(1, C, H, W)`` in [0, 1], C 1 or 3, on the fuser's device.
        count: number of sources, two or more.
        stretch: range stretch of the fused luminance.
        gamut: rule for colours that leave RGB.

    Returns:
        ``(1, C, H, W)`` in [0, 1]: one channel if no source has three, else three.

    Raises:
        fusionkit.errors.UsageError: a number of sources that the fuser does not take.
        fusionkit.errors.DataError: what ``read`` raises, or sources that are smaller than the fuser takes.
        fusionkit.errors.PluginError: the fuser does not give back the shape that it was given.
    """
    check_stretch(stretch)
    check_gamut(gamut)
    calls = plan_calls(fuser.capabilities, count, name=type(fuser).__name__)
    stack = SourceStack(read, count, fuser)
    own = type(fuser).fuse_stream is not Fuser.fuse_stream
    fused = call_stream(fuser, stack) if own and len(calls) == 1 else fold(fuser, calls, stack)
    if fuser.space == "rgb":
        return finish_rgb(fused, has_color=stack.has_color, stretch=stretch, gamut=gamut)
    chroma = stack.chroma.value() if stack.chroma else None
    return finish(fused, None if chroma is None else lambda rows: chroma[:, :, rows], stretch=stretch, gamut=gamut)
