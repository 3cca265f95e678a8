"""Three layers for each kind of label, and scenes that such a network can learn: bright squares on a dim ground."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Batch, Downstream, Fuser, OuterLoss, Terms
from fusionkit.contracts.label_types import IGNORE, Boxes
from fusionkit.plugins import catalogue

SQUARE = 16


@dataclass(frozen=True)
class ToyOptions:
    """Options of the toys."""

    width: Annotated[int, Field(ge=1, le=64)] = 8
    drop: Annotated[float, Field(ge=0, le=1)] = 0.0


def _layers(width: int, drop: float, out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1),
        nn.LeakyReLU(0.1),
        nn.Dropout2d(drop),
        nn.Conv2d(width, width, 3, stride=stride, padding=1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(width, out, 3, padding=1),
    )


class ToySegmenter(Downstream):
    """Three convolutions and cross entropy; counts how often one is made."""

    Config = ToyOptions
    kind = "segmentation"
    made: ClassVar[int] = 0

    def __init__(self, config: ToyOptions | None = None, *, classes: Sequence[str]) -> None:
        super().__init__(config, classes=classes)
        type(self).made += 1
        self.body = _layers(self.config.width, self.config.drop, len(self.classes))

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": F.cross_entropy(self.body(4 * fused - 1), batch.targets, ignore_index=IGNORE)}

    def predict(self, fused: Tensor) -> Tensor:
        return self.body(4 * fused - 1).argmax(1)


class ToySlowSegmenter(ToySegmenter):
    """The same, taking its time."""

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        time.sleep(0.02)
        return super().loss(fused, batch)


class ToyDetector(Downstream):
    """A score for each cell of 8 x 8 pixels; a box of the squares' size around the middle of those above one half."""

    Config = ToyOptions
    kind = "detection"

    def __init__(self, config: ToyOptions | None = None, *, classes: Sequence[str]) -> None:
        super().__init__(config, classes=classes)
        self.body = nn.Sequential(nn.AvgPool2d(4), _layers(self.config.width, self.config.drop, 1, stride=2))

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        logits = self.body(4 * fused - 1)[:, 0]
        wanted = torch.zeros_like(logits)
        for k, boxes in enumerate(batch.targets):
            middle = (boxes.corners[:, :2] + boxes.corners[:, 2:]) / 2
            columns, rows = (middle / 8).long().unbind(1)
            wanted[k, rows.clamp(0, logits.shape[1] - 1), columns.clamp(0, logits.shape[2] - 1)] = 1
        return {"total": F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=torch.tensor(8.0))}

    def predict(self, fused: Tensor) -> tuple[Boxes, ...]:
        height, width = fused.shape[2:]
        found = []
        for scores in torch.sigmoid(self.body(4 * fused - 1)[:, 0]):
            rows, columns = torch.nonzero(scores > 0.5, as_tuple=True)
            middle = torch.stack([columns, rows], 1) * 8.0 + 4
            corners = torch.cat([middle - SQUARE / 2, middle + SQUARE / 2], 1)
            limits = torch.tensor([width, height, width, height])
            corners = corners.clamp(min=0).minimum(limits)
            found.append(Boxes(corners, torch.zeros(len(rows), dtype=torch.int64), scores[rows, columns]))
        return tuple(found)


class ToyRaising(ToySegmenter):
    """A network that cannot be trained."""

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        raise RuntimeError("no kernel\nfor this")


class ToyDiverging(ToySegmenter):
    """A network whose loss is not a number."""

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": super().loss(fused, batch)["total"] * torch.nan}


class ToyJudge(OuterLoss):
    """An outer loss that has nothing to do with labels."""

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": fused.mean()}


class ToyFlat(Fuser):
    """An image that shows nothing."""

    def forward(self, *sources: Tensor) -> Tensor:
        return torch.full_like(sources[0], 0.5)


class ToyPicky(Fuser):
    """Fails on every image."""

    def forward(self, *sources: Tensor) -> Tensor:
        raise ZeroDivisionError("cannot")


OUTER_LOSSES = {
    "toy-segmenter": ToySegmenter,
    "toy-slow-segmenter": ToySlowSegmenter,
    "toy-detector": ToyDetector,
    "toy-raising": ToyRaising,
    "toy-diverging": ToyDiverging,
    "toy-judge": ToyJudge,
}
FUSERS = {"toy-flat": ToyFlat, "toy-picky": ToyPicky}


def register() -> None:
    """Offer the toys to this process."""
    for name, kind in OUTER_LOSSES.items():
        catalogue.outer_losses.register(name, kind)
    for name, fuser in FUSERS.items():
        catalogue.fusers.register(name, fuser)
    ToySegmenter.made = 0


def register_for_a_test(patch: pytest.MonkeyPatch) -> None:
    """Offer the toys until the test is over."""
    for registry in (catalogue.fusers, catalogue.outer_losses):
        patch.setattr(registry, "_registered", {})
    register()


def make_labelled(folder: Path, kind: str, *, train: int = 6, test: int = 3, size: tuple[int, int] = (48, 64)) -> Path:
    """Labelled infrared-visible pairs: a square that is bright in the infrared image alone, at a random place."""
    rng = np.random.default_rng(0)
    height, width = size
    for split, count in (("train", train), ("test", test)):
        for place in ("ir", "vi", "label"):
            (folder / split / place).mkdir(parents=True, exist_ok=True)
        for k in range(count):
            name = f"{split}{k}"
            y, x = rng.integers(0, height - SQUARE), rng.integers(0, width - SQUARE)
            warm = rng.integers(20, 60, size, dtype=np.uint8)
            warm[y : y + SQUARE, x : x + SQUARE] = 220
            cv2.imwrite(str(folder / split / "ir" / f"{name}.png"), warm)
            seen = rng.integers(20, 60, (*size, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / split / "vi" / f"{name}.png"), seen)
            label = folder / split / "label"
            if kind == "segmentation":
                mask = np.zeros(size, np.uint8)
                mask[y : y + SQUARE, x : x + SQUARE] = 1
                mask[0, :5] = IGNORE
                cv2.imwrite(str(label / f"{name}.png"), mask)
            else:
                box = ((x + SQUARE / 2) / width, (y + SQUARE / 2) / height, SQUARE / width, SQUARE / height)
                (label / f"{name}.txt").write_text("0 " + " ".join(f"{value:.6f}" for value in box) + "\n")
    (folder / "classes.txt").write_text("ground\nsquare\n" if kind == "segmentation" else "square\n")
    return folder


if __name__ == "__main__":
    # Under its own name, as a test imports it: where a network comes from is part of what it is.
    from fusionkit.cli import main
    from tests.support import downstreamtoys

    downstreamtoys.register()
    main(sys.argv[1:])
