"""F on images of any size: the same numbers, a strip of rows at a time.

A channel-attention map needs only sums over pixels, so it can be gathered strip by strip; once it is known, a block
sees no further than its 3x3 convolutions. Every stage therefore runs in two passes over strips with a border of one
or two rows, and memory holds a few feature maps instead of everything in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from fusionkit_restormer.inputs import REACH, Inputs, network_inputs
from fusionkit_restormer.merge import AdaptiveFusion
from fusionkit_restormer.restormer import RestormerBlock, apply_map, attention_map, gram


class Strip:
    """Rows ``[top, bottom)`` of an image of ``height`` rows."""

    def __init__(self, top: int, bottom: int, height: int) -> None:
        self.top, self.bottom, self.height = top, bottom, height

    def cut(self, x: Tensor, border: int) -> Tensor:
        """The strip's rows of a whole ``(B, C, H, W)`` and ``border`` more on each side, where the image has them."""
        return x[:, :, max(self.top - border, 0) : min(self.bottom + border, self.height)]

    def trim(self, x: Tensor, border: int, left: int = 0) -> Tensor:
        """Take a border of ``border`` rows down to ``left``; at the image's own edges there is none to take."""
        above = min(border, self.top) - min(left, self.top)
        below = min(border, self.height - self.bottom) - min(left, self.height - self.bottom)
        return x[:, :, above : x.shape[2] - below]


def fuse_in_strips(
    encoders: nn.ModuleList,
    merge: AdaptiveFusion,
    decoder: nn.Sequential,
    head: nn.Sequential,
    sources: tuple[Tensor, ...],
    rows: int,
    inputs: Inputs = "image",
) -> Tensor:
    """F's four parts over two sources ``(B, 1, H, W)``, ``rows`` rows at a time.

    Args:
        encoders: one a source.
        merge: the AFM.
        decoder: the blocks behind it.
        head: the two convolutions that end in an image.
        sources: two ``(B, 1, H, W)``.
        rows: how many rows a strip has, the last one perhaps fewer.
        inputs: what the encoders see of a source.

    Returns:
        ``(B, 1, H, W)``, equal to the whole-image result up to the order of summation in the attention maps.
    """
    features = _stems(encoders, sources, rows, inputs)
    for k, encoder in enumerate(encoders):
        assert isinstance(encoder, nn.Sequential)
        for block in list(encoder)[1:]:
            features[k] = _block(block, features[k], rows)
    x = _merge(merge, features[0], features[1], rows)
    del features
    for block in decoder:
        x = _block(block, x, rows)
    return _over_strips(x, 1, rows, lambda s: s.trim(head[1:](s.trim(head[0](s.cut(x, 2)), 2, 1)), 1))


def _stems(encoders: nn.ModuleList, sources: tuple[Tensor, ...], rows: int, inputs: Inputs) -> list[Tensor]:
    """The first convolution of each encoder, over inputs that are made a strip at a time."""
    border = REACH[inputs] + 1
    stems = [stem for encoder in encoders if isinstance(stem := next(encoder.children()), nn.Conv2d)]
    batch, _, height, width = sources[0].shape
    shape = batch, stems[0].out_channels, height, width
    features = [x.new_empty(shape).contiguous(memory_format=torch.channels_last) for x in sources]
    for strip in _strips(height, rows):
        seen = network_inputs(inputs, [strip.cut(x, border) for x in sources])
        for feature, stem, x in zip(features, stems, seen, strict=True):
            feature[:, :, strip.top : strip.bottom] = strip.trim(stem(x), border)
    return features


def _strips(height: int, rows: int) -> Iterator[Strip]:
    for top in range(0, height, rows):
        yield Strip(top, min(top + rows, height), height)


def _over_strips(like: Tensor, channels: int, rows: int, compute: Callable[[Strip], Tensor]) -> Tensor:
    batch, _, height, width = like.shape
    out = like.new_empty(batch, channels, height, width).contiguous(memory_format=torch.channels_last)
    for strip in _strips(height, rows):
        out[:, :, strip.top : strip.bottom] = compute(strip)
    return out


def _block(block: nn.Module, x: Tensor, rows: int) -> Tensor:
    assert isinstance(block, RestormerBlock)
    attention = block.attention
    products = torch.zeros((), dtype=x.dtype, device=x.device)
    for strip in _strips(x.shape[2], rows):
        q, k, _ = attention.split(block.norm1(strip.cut(x, 1)))
        products = products + gram(strip.trim(q, 1), strip.trim(k, 1))
    matrix = attention_map(products, attention.temperature, attention.project.weight)

    def compute(strip: Strip) -> Tensor:
        seen = strip.cut(x, 2)
        y = strip.trim(seen + apply_map(matrix, attention.split(block.norm1(seen))[2]), 2, 1)
        return strip.trim(y + block.feedforward(block.norm2(y)), 1)

    return _over_strips(x, x.shape[1], rows, compute)


def _merge(merge: AdaptiveFusion, x1: Tensor, x2: Tensor, rows: int) -> Tensor:
    cross, gating = merge.cross, merge.gating
    maps: tuple[Tensor, Tensor] | None = None
    if cross is not None:
        products = [torch.zeros((), dtype=x1.dtype, device=x1.device) for _ in range(2)]
        for strip in _strips(x1.shape[2], rows):
            q1, k1, _ = (strip.trim(t, 1) for t in cross.split(strip.cut(x1, 1), 0))
            q2, k2, _ = (strip.trim(t, 1) for t in cross.split(strip.cut(x2, 1), 1))
            products = [products[0] + gram(q2, k1), products[1] + gram(q1, k2)]
        maps = cross.fold(products[0], 0), cross.fold(products[1], 1)

    def compute(strip: Strip) -> Tensor:
        parts = [strip.cut(x, 2) for x in (x1, x2)]
        if cross is not None and maps is not None:
            parts = [x + apply_map(maps[k], cross.split(x, k)[2]) for k, x in enumerate(parts)]
        parts = [strip.trim(x, 2, 1) for x in parts]
        return strip.trim(torch.cat(parts, 1) if gating is None else gating(*parts), 1)

    return _over_strips(x1, 2 * x1.shape[1], rows, compute)
