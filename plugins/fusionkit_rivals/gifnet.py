"""GIFNet: one set of weights for every fusion task."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit.contracts import PublishedWeights
from fusionkit_rivals.conventions import Conventions, chroma_by_distance, join_colour
from fusionkit_rivals.layers import convolution
from fusionkit_rivals.rival import Rival, RivalOptions, is_grey

__all__ = ["GIFNet", "GIFNetOptions"]

WIDTH, HEADS, WINDOW = 98, 2, 8

_SWIN = r"extractor_multask\.SwinTransformerSpecific\."
_BLOCK = _SWIN + r"layer1\.blocks\."
_PARTS = (
    (r"norm1{}\.meta1\.(.*)", "norm.scale."),
    (r"norm1{}\.meta2\.(.*)", "norm.shift."),
    (r"norm1{}\.(weight|bias)", "norm."),
    (r"attn\.QK{}\.(.*)", "qk."),
    (r"attn\.V{}\.(.*)", "v."),
    (r"attn\.conv{}\.(.*)", "local."),
    (r"attn\.proj{}\.(.*)", "project."),
    (r"mlp{}\.mlp\.(.*)", "mlp."),
)
"""Published and our names of a branch's layers; ``_mfif`` stands in the place of the braces for the main branch."""


@dataclass(frozen=True)
class GIFNetOptions(RivalOptions):
    """Options of GIFNet: ``first`` is the source that it takes first, ``"b"`` as its authors do for exposures."""

    first: Literal["a", "b"] = "a"


class ImageNorm(nn.Module):
    """Normalise over channels and the whole image; gives back how the attention's result is scaled and shifted."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, WIDTH, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, WIDTH, 1, 1))
        self.scale = nn.Conv2d(1, WIDTH, 1)
        self.shift = nn.Conv2d(1, WIDTH, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise ``(B, C, H, W)``."""
        mean = x.mean((1, 2, 3), keepdim=True)
        deviation = ((x - mean).square().mean((1, 2, 3), keepdim=True) + 1e-5).sqrt()
        return (x - mean) / deviation * self.weight + self.bias, self.scale(deviation), self.shift(mean)


class Branch(nn.Module):
    """One branch of a block: attention in windows beside a depthwise convolution of the values, then an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = ImageNorm()
        self.qk = nn.Conv2d(WIDTH, 2 * WIDTH, 1)
        self.v = nn.Conv2d(WIDTH, WIDTH, 1)
        self.local = nn.Conv2d(WIDTH, WIDTH, 5, padding=2, groups=WIDTH, padding_mode="reflect")
        self.project = nn.Conv2d(WIDTH, WIDTH, 1)
        self.mlp = nn.Sequential(nn.Conv2d(WIDTH, 2 * WIDTH, 1), nn.ReLU(), nn.Conv2d(2 * WIDTH, WIDTH, 1))

    def forward(self, x: Tensor, bias: Tensor, shift: int, q: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Compute the block's features ``(B, C, H, W)`` and the queries that it used: its own unless some are given."""
        normed, scale, offset = self.norm(x)
        if q is None:
            q, k = self.qk(normed).chunk(2, 1)
        else:
            k = F.conv2d(normed, self.qk.weight[WIDTH:], self.qk.bias[WIDTH:])  # type: ignore[index]
        v = self.v(normed)
        y = self.project(window_attention(q, k, v, bias, shift) + self.local(v))
        x = x + y * scale + offset
        return x + self.mlp(x), q


def window_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, shift: int) -> Tensor:
    """Attend within windows of 8x8 pixels whose grid begins ``shift`` pixels outside; borders are mirrored."""
    height, width = v.shape[2:]
    after = [(shift + -size % WINDOW) % WINDOW if shift else -size % WINDOW for size in (height, width)]
    padded = F.pad(torch.cat((q, k, v), 1), (shift, after[1], shift, after[0]), mode="reflect")
    b, _, rows, columns = padded.shape
    grid = padded.view(b, 3, HEADS, WIDTH // HEADS, rows // WINDOW, WINDOW, columns // WINDOW, WINDOW)
    windows = grid.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(3, -1, HEADS, WINDOW**2, WIDTH // HEADS)
    weights = (windows[0] * (WIDTH // HEADS) ** -0.5 @ windows[1].transpose(-2, -1) + bias).softmax(-1)
    y = (weights @ windows[2]).view(b, rows // WINDOW, columns // WINDOW, HEADS, WINDOW, WINDOW, -1)
    y = y.permute(0, 3, 6, 1, 4, 2, 5).reshape(b, WIDTH, rows, columns)
    return y[..., shift : shift + height, shift : shift + width]


class PositionBias(nn.Module):
    """Bias of the attention between two pixels of a window, from a small MLP of their logarithmic offset."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2, 256), nn.ReLU(), nn.Linear(256, HEADS))

    def forward(self) -> Tensor:
        """Compute ``(HEADS, 64, 64)``."""
        line = torch.arange(WINDOW).to(next(self.parameters()))
        places = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1).view(-1, 2)
        offsets = places[:, None] - places[None]
        return self.mlp(offsets.sign() * (1 + offsets.abs()).log()).permute(2, 0, 1)


class GIFNet(Rival):
    """Shared features, two branches of windowed attention that meet in one block, and a decoder.

    Only layers that act on the result are built: 652,676 of the 822,780 published parameters act, and the queries of
    one branch are kept with its keys.
    """

    Config = GIFNetOptions
    config: GIFNetOptions
    reference = "Cheng et al., One Model for ALL: Low-Level Task Interaction ... (GIFNet), CVPR 2025"
    capabilities = replace(Rival.capabilities, min_size=5)
    conventions: ClassVar[Conventions] = Conventions(
        reader="truncated",
        colour="one colour source: its chroma; two: nearly the mean, since chroma around 0 is weighted by |C - 128|",
        order="infrared or PET, visible or MRI; near, far; over, under",
        whole_image="mean and standard deviation of the features",
        faults=("luminance of colour sources is cut to 8 bits", "chroma is weighted around the wrong neutral value"),
    )
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = tuple(
        PublishedWeights(
            title="GIFNet",
            source="https://github.com/AWCXV/GIFNet",
            licence="none stated",
            files=("Final.model",),
            sha256=("bfc1dfef0d5b386b0c04f172daf8f6af52ba395f26dc3dd5757425fd32eb1038",),
            parameters=822780,
            tasks=tasks,
            options={"first": first},
        )
        for tasks, first in ((("ivif", "mif", "mfif"), "a"), (("meif",), "b"))
    )
    names = (
        (r"getSharedFeatures\.conv_(\d)\.conv2d\.(.*)", r"shared.\1.\2"),
        (_SWIN + r"patch_embed_ivif\.proj\.(.*)", r"embed_first.\1"),
        (_SWIN + r"patch_embed_mfif\.proj\.(.*)", r"embed.\1"),
        (_SWIN + r"patch_unembed\.proj\.0\.(.*)", r"leave.\1"),
        (_SWIN + r"layer1\.weights_mfif\.0", "link"),
        (_BLOCK + r"(\d)\.attn\.attn\.meta\.(.*)", r"bias.\1.mlp.\2"),
        # The other branch of block 1 and its position tables are computed and never used.
        *((_BLOCK + r"1\." + part.format(""), "") for part, _ in _PARTS),
        *((_BLOCK + r"0\." + part.format(""), rf"side.{ours}\1") for part, ours in _PARTS),
        *((_BLOCK + r"(\d)\." + part.format("_mfif"), rf"main.\1.{ours}\2") for part, ours in _PARTS),
        (_SWIN + r"layer1\.(weights\..*|weights_mfif\.1|.*relative_positions)|decoder_rec\..*", ""),
        (r"cnnDecoder\.fuseComplementFeatures\.mlp\.(.*)", r"join.\1"),
        *((rf"cnnDecoder\.decoder\.{3 * k + 1}\.(.*)", rf"decode.{k}.\1") for k in range(4)),
    )

    def __init__(self, config: GIFNetOptions | None = None) -> None:
        super().__init__(config)
        self.shared = nn.ModuleDict({str(k): convolution(w, 32) for k, w in ((1, 2), (2, 34), (3, 66))})
        self.embed_first, self.embed, self.leave = (convolution(WIDTH, WIDTH) for _ in range(3))
        self.bias = nn.ModuleList(PositionBias() for _ in range(2))
        self.side = Branch()
        self.main = nn.ModuleList(Branch() for _ in range(2))
        self.link = nn.Parameter(torch.zeros(1))
        self.join = nn.Sequential(
            nn.Conv2d(2 * WIDTH, WIDTH, 1, bias=False), nn.ReLU(), nn.Conv2d(WIDTH, 128, 1, bias=False)
        )
        self.decode = nn.ModuleList(convolution(*widths) for widths in ((128, 64), (64, 32), (32, 16), (16, 1)))

    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the network's image."""
        x = torch.cat(planes if self.config.first == "a" else planes[::-1], 1)
        for layer in self.shared.values():
            x = torch.cat((x, F.relu(layer(x))), 1)
        height, width = x.shape[2:]
        fitted = F.pad(x, (0, -width % 4, 0, -height % 4), mode="reflect")
        side, main = self.embed_first(fitted), self.embed(fitted)
        main, q = self.main[0](main, self.bias[0](), 0)
        main = main + self.link * self.side(side, self.bias[0](), 0, q)[0]
        main = self.leave(self.main[1](main, self.bias[1](), WINDOW // 2)[0])[..., :height, :width]
        y = self.join(torch.cat((x, main), 1))
        for layer in self.decode[:-1]:
            y = F.relu(layer(y))
        return torch.tanh(self.decode[-1](y)) / 2 + 0.5

    def render(self, *sources: Tensor) -> Tensor:
        """Compute the file that the authors' program saves: colour from every source that has some."""
        y = 255 * self.fuse(*self.planes(*sources))
        chroma = []
        for red, green, blue in ((255 * source).split(1, 1) for source in sources if not is_grey(source)):
            cb = -0.169 * red - 0.331 * green + 0.5 * blue
            chroma.append(torch.cat((cb, 0.5 * red - 0.419 * green - 0.081 * blue), 1))
        if not chroma:
            return y.floor().expand(-1, 3, -1, -1)
        fused = chroma[0] if len(chroma) == 1 else chroma_by_distance(chroma, 128)
        return join_colour(y, fused).clamp(0, 255).round()
