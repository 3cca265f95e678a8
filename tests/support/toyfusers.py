"""Small fusers to test with: formulas simple enough to be redone by hand, and ones that break the contract."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Capabilities, Fuser


class ToyMean(Fuser):
    """The mean of any number of sources."""

    capabilities = Capabilities(max_sources=None)

    def forward(self, *sources: Tensor) -> Tensor:
        return torch.stack(sources).mean(0)


class ToyMeanRgb(ToyMean):
    """The mean, of colour images."""

    space = "rgb"


class ToyLean(Fuser):
    """A quarter of the first and three of the second: the order of folding shows."""

    stretch = "full"

    def forward(self, *sources: Tensor) -> Tensor:
        a, b = sources
        return 0.25 * a + 0.75 * b


class ToyThree(Fuser):
    """Up to three sources a call, weighted 1, 2, 3."""

    capabilities = Capabilities(max_sources=3)

    def forward(self, *sources: Tensor) -> Tensor:
        assert 2 <= len(sources) <= 3
        weights = range(1, len(sources) + 1)
        return sum(w * s for w, s in zip(weights, sources, strict=True)) / sum(weights)


class ToySlow(ToyMean):
    """The mean, taking its time."""

    def forward(self, *sources: Tensor) -> Tensor:
        time.sleep(0.05)
        return super().forward(*sources)


class ToyCropped(ToyMean):
    """Breaks the contract: gives back another size."""

    def forward(self, *sources: Tensor) -> Tensor:
        return super().forward(*sources)[..., :-1]


class ToyHungry(ToyMean):
    """Needs more memory than there is."""

    def forward(self, *sources: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 1 TiB")


@dataclass(frozen=True)
class ToyOptions:
    """Options of :class:`ToyTrained`."""

    start: Annotated[float, Field(ge=0, le=1)] = 0.5


class ToyTrained(Fuser):
    """A blend with one learned weight."""

    Config = ToyOptions
    tasks = ("mif", "ivif", "mfif")
    shipped: ClassVar[dict[str, Path]] = {}

    def __init__(self, config: ToyOptions | None = None) -> None:
        super().__init__(config)
        self.share = nn.Parameter(torch.tensor(self.config.start))

    def forward(self, *sources: Tensor) -> Tensor:
        a, b = sources
        return self.share * a + (1 - self.share) * b

    @classmethod
    def pretrained(cls) -> Mapping[str, Path]:
        return cls.shipped


TOYS: dict[str, type[Fuser]] = {
    "toy-mean": ToyMean,
    "toy-mean-rgb": ToyMeanRgb,
    "toy-lean": ToyLean,
    "toy-slow": ToySlow,
    "toy-cropped": ToyCropped,
    "toy-hungry": ToyHungry,
    "toy-trained": ToyTrained,
}
