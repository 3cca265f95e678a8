"""The base class of published networks: the toolkit's conventions by default, their authors' under ``published``."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass, replace
from importlib import resources
from typing import ClassVar

import torch
from torch import Tensor

from fusionkit.contracts import Capabilities, Fuser
from fusionkit.io.color import luminance
from fusionkit_rivals.conventions import Conventions, read_grey, save_levels, to_levels

__all__ = ["Rival", "RivalOptions", "is_grey"]


@dataclass(frozen=True)
class RivalOptions:
    """Options of a published network.

    Attributes:
        published: give the 8-bit image that the authors' program saves, in its colours and with its faults, instead of
            the network's own image.
    """

    published: bool = False


def is_grey(image: Tensor) -> bool:
    """Return whether the three channels of ``(B, 3, H, W)`` are equal at every pixel."""
    return bool((image == image[:, :1]).all())


class Rival(Fuser):
    """A published network.

    By default it fuses luminance, or RGB where its authors do, and the toolkit does the rest. With ``published`` it
    takes RGB, rounds it to 8 bits, and gives the whole levels of the file that the authors' program would save.
    """

    Config: ClassVar[type] = RivalOptions
    config: RivalOptions
    capabilities = Capabilities(dtypes=(torch.float32, torch.float64))
    conventions: ClassVar[Conventions]
    names: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Patterns of the published names and ours for them; "" for tensors that never act."""

    def __init__(self, config: RivalOptions | None = None) -> None:
        super().__init__(config)
        if self.config.published:
            self.space = "rgb"
            self.stretch = "none"
            self.capabilities = replace(self.capabilities, square=self.conventions.square, halo=None)

    @abstractmethod
    def fuse(self, *planes: Tensor) -> Tensor:
        """Compute the network's image.

        Args:
            planes: one tensor ``(B, C, H, W)`` in [0, 1] per source: grey, or RGB for networks of that space.

        Returns:
            ``(B, C, H, W)`` before any clip, with :attr:`Conventions.white` for white.
        """

    def planes(self, *sources: Tensor) -> tuple[Tensor, ...]:
        """Convert sources of any form to what :meth:`fuse` takes, as the authors' program reads them."""
        return tuple(read_grey(source, self.conventions.reader) for source in sources)

    def render(self, *sources: Tensor) -> Tensor:
        """Compute the file that the authors' program saves, as whole levels 0..255 ``(B, 3, H, W)``.

        Args:
            sources: ``(B, 3, H, W)`` in [0, 1].
        """
        y = self.fuse(*self.planes(*sources)) / self.conventions.white
        return save_levels(y, self.conventions.saver).expand(-1, 3, -1, -1)

    def forward(self, *sources: Tensor) -> Tensor:
        """Fuse sources ``(B, C, H, W)`` in [0, 1]."""
        if self.config.published:
            rounded = [to_levels(source) / 255 for source in sources]
            # Whether a source is grey is a property of one image, not of a batch.
            each = [self.render(*(s[k : k + 1] for s in rounded)) for k in range(len(sources[0]))]
            return (torch.cat(each) / 255).contiguous()
        planes = sources if self.space == "rgb" else tuple(luminance(source) for source in sources)
        return (self.fuse(*planes) / self.conventions.white).clamp(0, 1)

    @classmethod
    def bibtex(cls) -> str:
        """Give the entry of the network's paper, from ``references.bib``."""
        text = resources.files("fusionkit_rivals").joinpath("references.bib").read_text(encoding="utf-8")
        entries = {entry.partition("{")[2].partition(",")[0]: entry for entry in text.strip().split("\n\n")}
        return entries.get(cls.__module__.rpartition(".")[2], "")

    @classmethod
    def rename_published(cls, name: str) -> str | None:
        """Our name of a published tensor, "" for one that never acts, None for an unknown one."""
        for pattern, ours in cls.names:
            if found := re.fullmatch(pattern, name):
                return found.expand(ours)
        return None
