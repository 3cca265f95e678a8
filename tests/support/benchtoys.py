"""Small pairs, fusers and metrics to bench with: formulas simple enough to be redone by hand, and ones that fail."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import cv2
import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Fuser, Metric, MetricInfo
from fusionkit.plugins import catalogue


class BenchMean(Fuser):
    """The mean of two; counts its calls on images of the size that :func:`make_pairs` writes."""

    calls: ClassVar[int] = 0

    def forward(self, *sources: Tensor) -> Tensor:
        type(self).calls += 1
        return torch.stack(sources).mean(0)


class BenchSlow(BenchMean):
    """The mean, taking its time; under torchrun, no process goes on before all have begun."""

    def forward(self, *sources: Tensor) -> Tensor:
        time.sleep(0.1)
        _wait_for_all_processes()
        return super().forward(*sources)


def _wait_for_all_processes() -> None:
    begun = Path("begun")
    begun.mkdir(exist_ok=True)
    with (begun / os.environ.get("RANK", "0")).open("a") as calls:
        calls.write("x")
    ends = time.monotonic() + 60
    while len(list(begun.iterdir())) < int(os.environ.get("WORLD_SIZE", "1")) and time.monotonic() < ends:
        time.sleep(0.01)


class BenchPicky(BenchMean):
    """The mean, but it raises on images with a white corner."""

    def forward(self, *sources: Tensor) -> Tensor:
        if bool((sources[0][..., 0, 0] == 1).any()):
            raise ZeroDivisionError("a white corner")
        return super().forward(*sources)


@dataclass(frozen=True)
class BlendOptions:
    """Options of :class:`BenchBlend`."""

    start: Annotated[float, Field(ge=0, le=1)] = 0.25


class BenchBlend(Fuser):
    """A blend with one learned weight, which its authors publish under another name."""

    Config = BlendOptions
    tasks = ("ivif", "mif")

    def __init__(self, config: BlendOptions | None = None) -> None:
        super().__init__(config)
        self.share = nn.Parameter(torch.tensor(self.config.start))

    def forward(self, *sources: Tensor) -> Tensor:
        a, b = sources
        return self.share * a + (1 - self.share) * b

    @classmethod
    def import_weights(cls, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"share": tensors["alpha"]}


def _info(name: str) -> MetricInfo:
    return MetricInfo(
        name=name,
        title="a metric to test with",
        measures="the mean grey level",
        higher_is_better=False,
        range=(0.0, 255.0),
        unit="grey levels",
        paper="none",
        equation="mean F",
        needs="fused",
    )


class BenchLevel(Metric):
    """The mean grey level; counts its calls."""

    info = _info("BenchLevel")
    calls: ClassVar[int] = 0

    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        type(self).calls += 1
        return fused.mean((1, 2, 3))


class BenchBroken(Metric):
    """Raises on bright images, is not a number on dark ones, and infinite in between."""

    info = _info("BenchBroken")

    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        level = fused.mean()
        if level > 170:
            raise ValueError("too bright")
        return torch.full((len(fused),), torch.nan if level < 85 else torch.inf, dtype=fused.dtype)


def register() -> None:
    """Offer the toys to this process; calls are counted from 0."""
    for name, kind in {
        "bench-mean": BenchMean,
        "bench-slow": BenchSlow,
        "bench-picky": BenchPicky,
        "bench-blend": BenchBlend,
    }.items():
        catalogue.fusers.register(name, kind)
    for metric in (BenchLevel, BenchBroken):
        catalogue.metrics.register(metric.info.name, metric)
        metric.calls = 0
    for kind in (BenchMean, BenchSlow, BenchPicky):
        kind.calls = 0


def register_for_a_test(patch: pytest.MonkeyPatch) -> None:
    """Offer the toys, and nothing else of this process, until the test is over."""
    for registry in (catalogue.fusers, catalogue.metrics):
        patch.setattr(registry, "_registered", {})
    register()


def make_pairs(folder: Path, names: list[str], *, size: tuple[int, int] = (24, 32), colour: bool = True) -> Path:
    """A folder of random infrared-visible pairs; the visible ones are in colour."""
    rng = np.random.default_rng(0)
    for side, channels in (("ir", 1), ("vi", 3 if colour else 1)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        for name in names:
            cv2.imwrite(str(folder / side / f"{name}.png"), rng.integers(20, 230, (*size, channels), dtype=np.uint8))
    return folder


if __name__ == "__main__":
    # Under its own name, as a test imports it: where a fuser comes from is part of what it is.
    from fusionkit.cli import main
    from tests.support import benchtoys

    benchtoys.register()
    main(sys.argv[1:])
