"""Weights of the two-source Restormer network in the order in which the native form reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fusionkit_restormer.fuser_options import FuserOptions
from fusionkit_restormer.merge import AdaptiveFusion
from fusionkit_restormer.restormer import ChannelNorm, RestormerBlock

__all__ = ["RestormerNetwork", "pack_weights"]

GROUP = 16
"""Channels that lie together."""


class RestormerNetwork(Protocol):
    """The part of :class:`fusionkit_restormer.fuser.RestormerFuser` that is read here; its module imports this package.

    Attributes:
        encoders: one per source.
        merge: joins their features.
        decoder: the blocks behind it.
        head: convolutions to the image.
    """

    encoders: nn.ModuleList
    merge: AdaptiveFusion
    decoder: nn.Sequential
    head: nn.Sequential

    @property
    def config(self) -> FuserOptions:
        """Its options."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights."""


class _Packed:
    """Arrays behind each other, in float32."""

    def __init__(self) -> None:
        self.parts: list[NDArray[Any]] = []

    def add(self, values: Tensor) -> None:
        self.parts.append(values.detach().to("cpu", torch.float32).numpy().ravel())

    def products(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """A matrix product ``(outputs, inputs)``, 16 outputs at a time: the weights of each, then the biases."""
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        for rows, shifts in zip(weight.split(GROUP), bias.split(GROUP), strict=True):
            self.add(rows.t().contiguous())
            self.add(shifts)

    def depthwise(self, weight: Tensor) -> None:
        """3x3 kernels of channels ``(C, 1, 3, 3)``, 16 channels at a time."""
        for channels in weight.split(GROUP):
            self.add(channels.flatten(1).t().contiguous())


def pack_weights(fuser: RestormerNetwork) -> NDArray[np.float32]:
    """All weights of F as one array; the affine part of each LayerNorm goes into the product behind it."""
    config, packed = fuser.config, _Packed()
    for encoder in fuser.encoders:
        assert isinstance(encoder, nn.Sequential)
        stem, *blocks = encoder
        for channels in _weight(stem).split(GROUP):
            packed.add(channels.permute(2, 3, 1, 0).contiguous())
        for block in blocks:
            _pack_block(packed, block)
    _pack_merge(packed, fuser.merge, config.dim)
    for block in fuser.decoder:
        _pack_block(packed, block)
    packed.products(_weight(fuser.head[0]).permute(0, 2, 3, 1).flatten(1))
    for channels in _weight(fuser.head[2])[0].split(GROUP):
        packed.add(channels.permute(1, 2, 0).contiguous())
    return np.concatenate(packed.parts)


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _matrix(layer: nn.Module) -> Tensor:
    return _weight(layer).flatten(1).double()


def _behind_norm(norm: ChannelNorm, layer: nn.Module) -> tuple[Tensor, Tensor]:
    """Fold a layer norm's scale and shift into the weights and biases of the 1x1 convolution behind it."""
    matrix = _matrix(layer)
    return matrix * norm.weight.detach().double(), matrix @ norm.bias.detach().double()


def _pack_block(packed: _Packed, block: nn.Module) -> None:
    assert isinstance(block, RestormerBlock)
    attention, feedforward = block.attention, block.feedforward
    packed.products(*_behind_norm(block.norm1, attention.qkv))
    packed.depthwise(_weight(attention.depthwise))
    packed.add(attention.temperature)
    packed.add(_weight(attention.project))
    packed.products(*_behind_norm(block.norm2, feedforward.expand))
    packed.depthwise(_weight(feedforward.depthwise))
    packed.products(_matrix(feedforward.project))


def _pack_merge(packed: _Packed, merge: AdaptiveFusion, dim: int) -> None:
    cross, gating = merge.cross, merge.gating
    assert cross is not None
    assert gating is not None
    # Queries first, each source's in the place of the keys that they meet.
    order: Sequence[tuple[int, int]] = [(1, 0), (0, 0), (0, 1), (1, 1), (0, 2), (1, 2)]

    def parts(layers: nn.ModuleList, of: Callable[[nn.Module], Tensor]) -> list[Tensor]:
        return [of(layers[source])[third * dim : (third + 1) * dim] for source, third in order]

    for matrix in parts(cross.qkv, _matrix):
        packed.products(matrix)
    for kernels in parts(cross.depthwise, _weight):
        packed.depthwise(kernels)
    for temperature in cross.temperature:
        packed.add(temperature)
    for project in cross.project:
        packed.add(_weight(project))
    packed.products(_matrix(gating.gates[0]))
    values = [path for path in gating.values if isinstance(path, nn.Sequential)]
    for path in values:
        packed.products(_matrix(path[0]))
    packed.depthwise(_weight(gating.gates[1]))
    for path in values:
        packed.depthwise(_weight(path[1]))
    packed.products(torch.cat([_matrix(project) for project in gating.project], 1))
