"""AFM, the adaptive fusion module: cross attention between the sources, then gates on what each adds to the result."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit_restormer.restormer import Depthwise, Pointwise, apply_map, attention_map, gram


class CrossAttention(nn.Module):
    """Attention of the other source's queries to the keys and values of source k; each source has a temperature."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.temperature = nn.ParameterList(nn.Parameter(torch.ones(heads, 1, 1)) for _ in range(2))
        self.qkv = nn.ModuleList(Pointwise(channels, 3 * channels) for _ in range(2))
        self.depthwise = nn.ModuleList(Depthwise(3 * channels) for _ in range(2))
        self.project = nn.ModuleList(Pointwise(channels, channels) for _ in range(2))

    def split(self, x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """q, k, v of source ``k``'s feature ``(B, C, H, W)``."""
        query, key, value = self.depthwise[k](self.qkv[k](x)).chunk(3, 1)
        return query, key, value

    def map(self, query_of_other: Tensor, key: Tensor, k: int) -> Tensor:
        """The folded map ``(B, C, C)`` that source ``k``'s values are multiplied with."""
        return self.fold(gram(query_of_other, key), k)

    def fold(self, products: Tensor, k: int) -> Tensor:
        """The map of source ``k`` from the sums ``products`` over pixels that :func:`gram` gives."""
        weight = self.project[k].weight
        assert isinstance(weight, Tensor)
        return attention_map(products, self.temperature[k], weight)

    def forward(self, x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
        """Add to each of two features ``(B, C, H, W)`` its attention to the other's queries."""
        q1, k1, v1 = self.split(x1, 0)
        q2, k2, v2 = self.split(x2, 1)
        return x1 + apply_map(self.map(q2, k1, 0), v1), x2 + apply_map(self.map(q1, k2, 1), v2)


class Gating(nn.Module):
    """``c + sum_i W_i (GELU(g_i) * D_i x_i)``, with the gates g_i taken from the concatenated feature c."""

    def __init__(self, channels: int, expansion: int) -> None:
        super().__init__()
        wide = 2 * expansion * channels
        self.gates = nn.Sequential(Pointwise(2 * channels, 2 * wide), Depthwise(2 * wide))
        self.values = nn.ModuleList(nn.Sequential(Pointwise(channels, wide), Depthwise(wide)) for _ in range(2))
        self.project = nn.ModuleList(Pointwise(wide, 2 * channels) for _ in range(2))

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two features ``(B, C, H, W)`` to one ``(B, 2 C, H, W)``."""
        both = torch.cat((x1, x2), 1)
        g1, g2 = self.gates(both).chunk(2, 1)
        y1 = F.gelu(g1) * self.values[0](x1)
        y2 = F.gelu(g2) * self.values[1](x2)
        return both + self.project[0](y1) + self.project[1](y2)


class AdaptiveFusion(nn.Module):
    """AFM: cross attention, then gating; each half can be left out.

    Args:
        channels: width C of each source's feature.
        heads: attention heads; must divide ``channels``.
        expansion: factor of the gated paths.
        cross_attention: False is ablation VII.
        gating: False is ablation VIII (both False, ablation VI: plain concatenation).

    Reference:
        Bai et al., ReFusion, IJCV 2025, section 3.4 and Fig. 3.
    """

    def __init__(self, channels: int, heads: int, expansion: int, *, cross_attention: bool, gating: bool) -> None:
        super().__init__()
        self.cross = CrossAttention(channels, heads) if cross_attention else None
        self.gating = Gating(channels, expansion) if gating else None

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        """Two features ``(B, C, H, W)`` to one ``(B, 2 C, H, W)``."""
        if self.cross is not None:
            x1, x2 = self.cross(x1, x2)
        return torch.cat((x1, x2), 1) if self.gating is None else self.gating(x1, x2)
