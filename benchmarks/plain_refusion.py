"""Plain form of F, P and R, as published code writes such networks, for comparison with our training step.

Restormer's own way: NCHW throughout, LayerNorm between two rearranges, q and k normalised one by one, attention
times v, then the projection. Parameters have the names of ``fusionkit_refusion``'s networks, so that
``load_state_dict`` takes theirs; nothing else is shared with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from fusionkit.contracts import Batch, Fuser, LossProposer, Proposal, Reconstructor, Terms
from fusionkit_restormer.losses import image_gradient, reconstruction_loss, weighted_fusion_loss


def _pointwise(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, bias=False)


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)


class PlainNorm(nn.Module):
    """LayerNorm over channels, with the image rearranged to pixels and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        x = rearrange(x, "b c h w -> b (h w) c")
        mean = x.mean(-1, keepdim=True)
        variance = x.var(-1, keepdim=True, unbiased=False)
        x = (x - mean) / torch.sqrt(variance + 1e-5) * self.weight + self.bias
        return rearrange(x, "b (h w) c -> b c h w", h=height)


def plain_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor, project: nn.Conv2d) -> Tensor:
    """Channel attention of three ``(B, C, H, W)``, then the projection."""
    height, heads = q.shape[2], temperature.shape[0]
    q, k, v = (rearrange(t, "b (head c) h w -> b head c (h w)", head=heads) for t in (q, k, v))
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    out = (q @ k.transpose(-2, -1) * temperature).softmax(dim=-1) @ v
    return project(rearrange(out, "b head c (h w) -> b (head c) h w", h=height))


class PlainAttention(nn.Module):
    """MDTA."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _pointwise(channels, 3 * channels)
        self.depthwise = _depthwise(3 * channels)
        self.project = _pointwise(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.depthwise(self.qkv(x)).chunk(3, dim=1)
        return plain_attention(q, k, v, self.temperature, self.project)


class PlainFeedForward(nn.Module):
    """GDFN."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        self.expand = _pointwise(channels, 2 * expansion * channels)
        self.depthwise = _depthwise(2 * expansion * channels)
        self.project = _pointwise(expansion * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.depthwise(self.expand(x)).chunk(2, dim=1)
        return self.project(F.gelu(gate) * value)


class PlainBlock(nn.Module):
    """RTB."""

    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = PlainNorm(channels), PlainNorm(channels)
        self.attention = PlainAttention(channels, heads)
        self.feedforward = PlainFeedForward(channels, expansion)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feedforward(self.norm2(x))


def _encoder(inputs: int, dim: int, heads: int, blocks: int, expansion: int) -> nn.Sequential:
    stem = nn.Conv2d(inputs, dim, 3, padding=1, bias=False)
    return nn.Sequential(stem, *(PlainBlock(dim, heads, expansion) for _ in range(blocks)))


class PlainCross(nn.Module):
    """Cross attention of the AFM."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.ParameterList(nn.Parameter(torch.ones(heads, 1, 1)) for _ in range(2))
        self.qkv = nn.ModuleList(_pointwise(channels, 3 * channels) for _ in range(2))
        self.depthwise = nn.ModuleList(_depthwise(3 * channels) for _ in range(2))
        self.project = nn.ModuleList(_pointwise(channels, channels) for _ in range(2))

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        q1, k1, v1 = self.depthwise[0](self.qkv[0](x1)).chunk(3, dim=1)
        q2, k2, v2 = self.depthwise[1](self.qkv[1](x2)).chunk(3, dim=1)
        y1 = plain_attention(q2, k1, v1, self.temperature[0], self.project[0])
        y2 = plain_attention(q1, k2, v2, self.temperature[1], self.project[1])
        return x1 + y1, x2 + y2


class PlainGating(nn.Module):
    """Gating of the AFM."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        wide = 2 * expansion * channels
        self.gates = nn.Sequential(_pointwise(2 * channels, 2 * wide), _depthwise(2 * wide))
        self.values = nn.ModuleList(nn.Sequential(_pointwise(channels, wide), _depthwise(wide)) for _ in range(2))
        self.project = nn.ModuleList(_pointwise(wide, 2 * channels) for _ in range(2))

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        both = torch.cat([x1, x2], dim=1)
        g1, g2 = self.gates(both).chunk(2, dim=1)
        y1 = self.project[0](F.gelu(g1) * self.values[0](x1))
        y2 = self.project[1](F.gelu(g2) * self.values[1](x2))
        return both + y1 + y2


class PlainMerge(nn.Module):
    """AFM."""

    def __init__(self, channels: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.cross, self.gating = PlainCross(channels, heads), PlainGating(channels, expansion)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return self.gating(*self.cross(x1, x2))


class PlainFuser(Fuser):
    """F at its published size."""

    def __init__(self, dim: int = 16, heads: int = 8, blocks: int = 2, expansion: int = 2) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(_encoder(1, dim, heads, blocks, expansion) for _ in range(2))
        self.merge = PlainMerge(dim, heads, expansion)
        self.decoder = nn.Sequential(*(PlainBlock(2 * dim, heads, expansion) for _ in range(blocks)))
        self.head = nn.Sequential(
            nn.Conv2d(2 * dim, dim, 3, padding=1, bias=False),
            nn.LeakyReLU(0.01),
            nn.Conv2d(dim, 1, 3, padding=1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, *sources: Tensor) -> Tensor:
        x1, x2 = (encode(x) for encode, x in zip(self.encoders, sources, strict=True))
        fused: Tensor = self.head(self.decoder(self.merge(x1, x2)))
        return fused


class PlainProposer(LossProposer):
    """P at its published size."""

    def __init__(self, dim: int = 16, heads: int = 8, blocks: int = 2, expansion: int = 2) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(_encoder(3, dim, heads, blocks, expansion) for _ in range(2))
        self.trunk = nn.Sequential(*(PlainBlock(2 * dim, heads, expansion) for _ in range(blocks)))
        self.head = nn.Sequential(
            nn.Conv2d(2 * dim, dim, 3, padding=1, bias=False), nn.PReLU(), nn.Conv2d(dim, 4, 3, padding=1, bias=False)
        )

    def forward(self, *sources: Tensor) -> Proposal:
        seen = [torch.cat([x, image_gradient(x, "signed")], dim=1) for x in sources]
        features = [encode(x) for encode, x in zip(self.encoders, seen, strict=True)]
        logits = self.head(self.trunk(torch.cat(features, dim=1)))
        return {"w": logits[:, :2].softmax(dim=1), "v": logits[:, 2:].softmax(dim=1)}

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        return weighted_fusion_loss(fused, sources, proposal["w"], proposal["v"])


class PlainBranch(nn.Module):
    """One branch of R."""

    def __init__(self, dim: int, heads: int, blocks: int, expansion: int) -> None:
        super().__init__()
        self.body = _encoder(1, dim, heads, blocks, expansion)
        self.head = nn.Sequential(
            nn.Conv2d(dim, dim, 3, padding=1, bias=False),
            nn.LeakyReLU(0.01),
            nn.Conv2d(dim, 1, 3, padding=1, bias=False),
        )

    def forward(self, fused: Tensor) -> Tensor:
        return fused + self.head(self.body(fused))


class PlainReconstructor(Reconstructor):
    """R at its default size."""

    def __init__(self, dim: int = 16, heads: int = 8, blocks: int = 4, expansion: int = 2) -> None:
        super().__init__()
        self.branches = nn.ModuleList(PlainBranch(dim, heads, blocks, expansion) for _ in range(2))

    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        return tuple(branch(fused) for branch in self.branches)

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return reconstruction_loss(self(fused), batch.sources)
