"""Calls a fuser within its capabilities: converts type and size, and refuses what it cannot do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import DataError, PluginError, UsageError
from fusionkit.fuse.tiling import LARGE_PIXELS, TILE_SIDE, crop, smaller_side, tiles
from fusionkit.plugins.guard import owner, plugin_call
from fusionkit.runtime.devices import is_out_of_memory

_ROUNDING = 0.01
"""Distance from [0, 1] that a result may have: half precision rounds by up to 0.004 there."""

__all__ = ["call_fuser", "call_maps", "call_stream", "check_device", "check_size", "plan_calls"]


def check_device(fuser: Fuser | type[Fuser], device: torch.device, *, name: str) -> None:
    """Refuse a device that a fuser cannot run on.

    Args:
        fuser: the fuser or its class.
        device: where it is to run.
        name: what to call the fuser in the message.

    Raises:
        fusionkit.errors.UsageError: it needs CUDA and the device is another one.
    """
    if fuser.capabilities.needs_cuda and device.type != "cuda":
        raise UsageError(f"{name} needs a CUDA device and cannot run on {device}: use --device cuda where there is one")


def check_size(fuser: Fuser, size: tuple[int, int], *, name: str, image: str) -> None:
    """Refuse images that are smaller than a fuser takes, or not square where it takes no others.

    Args:
        fuser: the fuser.
        size: height and width.
        name: what to call the fuser in the message.
        image: the file or image that the message names.

    Raises:
        fusionkit.errors.DataError: always in that case.
    """
    least = fuser.capabilities.min_size
    if min(size) < least:
        remedy = "give larger images, or use another model"
        raise DataError(f"{image}: is {size[1]}x{size[0]} pixels, and {name} takes {least}x{least} or more: {remedy}")
    if fuser.capabilities.square and size[0] != size[1]:
        raise DataError(
            f"{image}: is {size[1]}x{size[0]} pixels, and {name} takes square images: cut or pad the sources"
        )


def plan_calls(capabilities: Capabilities, count: int, *, name: str) -> list[slice]:
    """Share out sources into calls; after the first, every call also takes the result of the one before.

    Args:
        capabilities: of the fuser.
        count: number of sources.
        name: what to call the fuser in the message.

    Returns:
        The sources of each call. Of a fuser of two sources three are fused as ((a, b), c): slices 0:2 and 2:3.

    Raises:
        fusionkit.errors.UsageError: the sources cannot be shared out into calls of a number that the fuser takes.
    """
    least, most = capabilities.min_sources, capabilities.max_sources or max(count, capabilities.min_sources)
    calls = [slice(0, min(most, count))]
    while calls[-1].stop < count:
        calls.append(slice(calls[-1].stop, min(calls[-1].stop + most - 1, count)))
    taken = [call.stop - call.start + (call.start > 0) for call in calls]
    if min(taken) < least:
        top = capabilities.max_sources
        span = f"{least} or more" if top is None else f"{least}" if top == least else f"{least} to {top}"
        raise UsageError(f"{name} fuses {span} sources at a time, and {count} do not come out: give another number")
    return calls


def call_fuser(fuser: Fuser, sources: Sequence[Tensor]) -> Tensor:
    """Fuse sources of any floating type and of any size from the fuser's ``min_size`` on.

    If the fuser states a halo, an image that is large or does not fit into memory is fused in tiles.

    Args:
        fuser: the fuser, on the sources' device.
        sources: ``(B, C, H, W)`` in [0, 1], of a number that the fuser takes.

    Returns:
        ``(B, C, H, W)`` in [0, 1], of the sources' type.

    Raises:
        fusionkit.errors.PluginError: the fuser raises, or gives back anything but a tensor of the shape that it was
            given with values in [0, 1], up to rounding.
        fusionkit.errors.UsageError: the fuser's weights are of a type in which its results are not right.
    """
    return _crop(_check_range(fuser, _call(fuser, _fit(fuser, sources))), sources[0])


def call_stream(fuser: Fuser, sources: Sequence[Tensor]) -> Tensor:
    """Fuse sources that are read when they are looked up, with the fuser's ``fuse_stream``.

    Args:
        fuser: a fuser with ``fuse_stream``, on the sources' device.
        sources: ``(B, C, H, W)`` in [0, 1], of a type and number that the fuser takes.

    Returns:
        ``(B, C, H, W)`` in [0, 1].

    Raises:
        fusionkit.errors.PluginError: as :func:`call_fuser`.
        fusionkit.errors.DataError: a source cannot be read.
    """
    with plugin_call(type(fuser), "fuse these sources"):
        fused = fuser.fuse_stream(sources)
    if not isinstance(fused, Tensor):
        kind = type(fused).__name__
        raise PluginError(f"{owner(type(fuser))} gave back a {kind}: a fuser returns a tensor: correct it")
    return _check_range(fuser, fused)


def _check_range(fuser: Fuser, fused: Tensor) -> Tensor:
    """Refuse values outside [0, 1], and clamp what rounding leaves outside."""
    low, high = (float(value) for value in torch.aminmax(fused.detach()))
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise PluginError(
            f"{owner(type(fuser))} gave values from {low:.6g} to {high:.6g}; a fused image is in [0, 1]: correct it"
        )
    return fused if low >= 0 and high <= 1 else fused.clamp(0, 1)


def call_maps(fuser: Fuser, sources: Sequence[Tensor]) -> Mapping[str, Tensor]:
    """Compute a fuser's maps for sources that :func:`call_fuser` takes; maps of another size are left as they are."""
    fitted = _fit(fuser, sources)
    size = fitted[0].shape[2:]
    maps = fuser.maps(*fitted)
    return {name: _crop(image, sources[0]) if image.shape[2:] == size else image for name, image in maps.items()}


def _call(fuser: Fuser, sources: Sequence[Tensor]) -> Tensor:
    """Call the fuser on the whole image, or on exact tiles of a large one or of one that does not fit into memory."""
    size = (sources[0].shape[2], sources[0].shape[3])
    large = size[0] * size[1] > LARGE_PIXELS and sources[0].device.type == "cpu" and not torch.is_grad_enabled()
    halo = fuser.capabilities.halo
    side = TILE_SIDE if large and halo is not None and halo <= TILE_SIDE // 2 else None
    while True:
        try:
            return _call_whole(fuser, sources) if side is None else _call_tiles(fuser, sources, side)
        except (RuntimeError, MemoryError) as error:
            side = smaller_side(size, side, fuser.capabilities)
            if side is None or not is_out_of_memory(error):
                raise


def _call_whole(fuser: Fuser, sources: Sequence[Tensor]) -> Tensor:
    with plugin_call(type(fuser), "fuse these sources"):
        fused = fuser(*sources)
    if not isinstance(fused, Tensor):
        kind = type(fused).__name__
        raise PluginError(f"{owner(type(fuser))} gave back a {kind}: a fuser returns a tensor: correct it")
    if fused.shape != sources[0].shape:
        raise PluginError(
            f"{owner(type(fuser))} was given {tuple(sources[0].shape)} and gave back {tuple(fused.shape)}; "
            "a fuser must keep the shape: correct it"
        )
    return fused


def _call_tiles(fuser: Fuser, sources: Sequence[Tensor], side: int) -> Tensor:
    first = sources[0]
    fused = torch.empty_like(first)
    for tile in tiles((first.shape[2], first.shape[3]), side, fuser.capabilities):
        part = _call_whole(fuser, [crop(source, tile.seen) for source in sources])
        crop(fused, tile.kept).copy_(crop(part, tile.inner))
    return fused


def _fit(fuser: Fuser, sources: Sequence[Tensor]) -> list[Tensor]:
    dtype, multiple = _working_dtype(fuser, sources[0].dtype), fuser.capabilities.multiple
    return [_extend(source.to(dtype), multiple) for source in sources]


def _crop(fused: Tensor, source: Tensor) -> Tensor:
    height, width = source.shape[2:]
    return fused[..., :height, :width].to(source.dtype)


def _extend(source: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and the last column until height and width are multiples of ``multiple``."""
    for dim in (2, 3):
        length = source.shape[dim]
        if length % multiple:
            wanted = torch.arange(-(-length // multiple) * multiple, device=source.device)
            source = source.index_select(dim, wanted.clamp(max=length - 1))
    return source


def _working_dtype(fuser: Fuser, given: torch.dtype) -> torch.dtype:
    """Choose the type to call a fuser with: its weights' or, without weights, the coarsest as fine as the given one."""
    able = fuser.capabilities.dtypes
    held = next((p.dtype for p in fuser.parameters() if p.is_floating_point()), None)
    if held is not None and held not in able:
        known = ", ".join(str(dtype) for dtype in able)
        raise UsageError(
            f"{type(fuser).__name__} has weights of {held}, and its results are right in {known}: convert it"
        )
    if held is not None or given in able:
        return held or given
    fine = [dtype for dtype in able if torch.finfo(dtype).eps <= torch.finfo(given).eps]
    return max(fine, key=_step) if fine else min(able, key=_step)


def _step(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps
