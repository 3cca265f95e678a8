"""The Restormer block: channel attention and a gated feed-forward, each behind a channel LayerNorm.

Written for speed with the published arithmetic: the L2 norms of q and k come out of the same Gram matrix as q.k,
and the attention is folded into the output projection, so that v is multiplied once by one C x C matrix a sample.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from fusionkit_restormer.cuda_forms import channel_norm, linear, multiply, sum_over_pixels
from fusionkit_restormer.operations import GatedProjection, GramAndValues

_TINY = 1e-12  # F.normalize's bound, squared below: an all-zero channel attends to nothing rather than to NaN


class ChannelNorm(nn.Module):
    """LayerNorm over the channels of every pixel, with weight and bias, biased variance, eps 1e-5.

    ``timm.layers.LayerNorm2d`` is the same, bit by bit. It is not used: importing timm, and torchvision with it, takes
    longer than importing PyTorch, for every image that is fused.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        return channel_norm(x.permute(0, 2, 3, 1), self.weight, self.bias, 1e-5).permute(0, 3, 1, 2)


def pixels(x: Tensor) -> Tensor:
    """``(B, C, H, W)`` as ``(B, H W, C)``: a view where the memory is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def unpixels(x: Tensor, like: Tensor) -> Tensor:
    """``(B, H W, C)`` back as ``(B, C, H, W)`` of the height and width of ``like``."""
    return x.unflatten(1, like.shape[2:]).permute(0, 3, 1, 2)


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """A 1x1 convolution without bias, as one matrix product: ``(B, C, H, W)`` to ``(B, D, H, W)``."""
    return linear(x.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)


class Pointwise(nn.Conv2d):
    """A 1x1 convolution without bias that runs as a matrix product over channels-last memory."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to ``(B, D, H, W)``."""
        return pointwise(x, self.weight)


class Depthwise(nn.Conv2d):
    """A 3x3 convolution of every channel by itself, zero padding, no bias."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, padding=1, groups=channels, bias=False)


def gram(q: Tensor, k: Tensor) -> Tensor:
    """Sums over pixels of all products among q and k: ``(B, 2 C, 2 C)`` from two ``(B, C, H, W)``.

    It holds q.k, |q|^2 and |k|^2, everything that the attention map needs of the image: sums, so that an image can
    also be taken in strips.
    """
    both = pixels(torch.cat((q, k), 1))
    return sum_over_pixels(both, both)


def attention_map(products: Tensor, temperature: Tensor, project: Tensor) -> Tensor:
    """The channel attention folded into the projection behind it.

    Args:
        products: :func:`gram`, ``(B, 2 C, 2 C)``.
        temperature: ``(heads, 1, 1)``.
        project: weight of the 1x1 projection, ``(C, C, 1, 1)``.

    Returns:
        ``(B, C, C)``: what v is to be multiplied with.
    """
    channels, heads = project.shape[1], temperature.shape[0]
    norm = products.diagonal(dim1=1, dim2=2).clamp_min(_TINY**2).sqrt()
    cosine = products[:, :channels, channels:] / (norm[:, :channels, None] * norm[:, None, channels:])
    # Heads are the diagonal blocks of the C x C matrix.
    blocks = rearrange(cosine, "b (h c) (g d) -> b h g c d", h=heads, g=heads).diagonal(dim1=1, dim2=2)
    attention = (rearrange(blocks, "b c d h -> b h c d") * temperature).softmax(-1)
    weight = rearrange(project, "o (h c) 1 1 -> h o c", h=heads)
    return rearrange(weight @ attention, "b h o d -> b o (h d)")


def apply_map(matrix: Tensor, v: Tensor) -> Tensor:
    """Multiply every pixel's v by the folded map: ``(B, C, C)``, ``(B, C, H, W)`` to ``(B, C, H, W)``."""
    return multiply(v.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)


class ChannelAttention(nn.Module):
    """MDTA: attention between channels, a (C/heads) x (C/heads) map for each head."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = Pointwise(channels, 3 * channels)
        self.depthwise = Depthwise(3 * channels)
        self.project = Pointwise(channels, channels)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v of ``(B, C, H, W)``, each of the same shape."""
        q, k, v = self.depthwise(self.qkv(x)).chunk(3, 1)
        return q, k, v

    def map(self, q: Tensor, k: Tensor) -> Tensor:
        """The folded attention map ``(B, C, C)``."""
        return attention_map(gram(q, k), self.temperature, self.project.weight)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        qkv = self.depthwise(self.qkv(x))
        products, v = GramAndValues.apply(pixels(qkv))  # type: ignore[no-untyped-call]
        matrix = attention_map(products, self.temperature, self.project.weight)
        return multiply(v.unflatten(1, x.shape[2:]), matrix).permute(0, 3, 1, 2)


class GatedFeedForward(nn.Module):
    """GDFN: two gated halves of an expanded image, ``GELU(first) * second``."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        self.expand = Pointwise(channels, 2 * expansion * channels)
        self.depthwise = Depthwise(2 * expansion * channels)
        self.project = Pointwise(expansion * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        halves = pixels(self.depthwise(self.expand(x)))
        weight = self.project.weight.flatten(1).to(halves.dtype)
        return unpixels(GatedProjection.apply(halves, weight), x)  # type: ignore[no-untyped-call]


class RestormerBlock(nn.Module):
    """``x + MDTA(LN(x))``, then ``x + GDFN(LN(x))``.

    Args:
        channels: width C.
        heads: attention heads; must divide ``channels``.
        expansion: factor of the feed-forward.

    Reference:
        Zamir et al., Restormer, CVPR 2022, section 3.
    """

    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1 = ChannelNorm(channels)
        self.attention = ChannelAttention(channels, heads)
        self.norm2 = ChannelNorm(channels)
        self.feedforward = GatedFeedForward(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        # The layout of the residual decides that of every sum with it.
        x = x.contiguous(memory_format=torch.channels_last)
        x = x + self.attention(self.norm1(x))
        return x + self.feedforward(self.norm2(x))
