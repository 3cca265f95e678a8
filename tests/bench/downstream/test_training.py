"""One training: fixed by its seed, and the same after an interruption."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusionkit.bench.downstream.protocol import Protocol
from fusionkit.bench.downstream.training import DownstreamTrainer, weights_digest
from fusionkit.contracts import Batch, Terms
from fusionkit.contracts.label_types import LabelSpec
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.errors import DataError, DivergedError
from fusionkit.tasks import IVIF
from fusionkit.train.loop import take_steps
from fusionkit.train.run_folder import RunFolder
from tests.support.downstreamtoys import ToyDiverging, ToyOptions, ToySegmenter

PROTOCOL = Protocol(size=(32, 32), steps=24, batch=3, warmup=4, lr=1e-2)


class Stop(Exception):
    """The power fails."""


def _images(pictures: Tensor) -> LabelledStore:
    masks = [(picture[0] > 128).to(torch.uint8) for picture in pictures]
    spec = LabelSpec(kind="segmentation", classes=("dark", "light"))
    return LabelledStore(IVIF, [[picture] for picture in pictures], masks, spec, device=torch.device("cpu"))


@pytest.fixture
def images() -> LabelledStore:
    generator = torch.Generator().manual_seed(5)
    return _images(torch.randint(0, 256, (5, 1, 32, 32), generator=generator, dtype=torch.uint8))


def _network(kind: type[ToySegmenter] = ToySegmenter, drop: float = 0.5) -> ToySegmenter:
    torch.manual_seed(3)
    return kind(ToyOptions(width=4, drop=drop), classes=("dark", "light"))


def _run(
    images: LabelledStore, path: Path, *, identity: str = "a", stop: int | None = None, seed: int = 0
) -> DownstreamTrainer:
    trainer = DownstreamTrainer(_network(), images, PROTOCOL, seed=seed)

    def logged(done: int, losses: Mapping[str, float]) -> None:
        assert list(losses) == ["downstream.total"]
        if stop is not None and done > stop:
            raise Stop

    take_steps(
        trainer,
        RunFolder(path),
        facts={"identity": identity},
        advice=trainer.diverged_advice,
        logged=logged,
        log_every=1,
        checkpoint_seconds=-1.0 if stop else 60.0,
    )
    return trainer


def test_an_interrupted_training_ends_with_the_same_weights(images: LabelledStore, tmp_path: Path) -> None:
    whole = weights_digest(_run(images, tmp_path / "whole").network)
    for stop in (5, 17):
        with pytest.raises(Stop):
            _run(images, tmp_path / "parts", stop=stop)
    again = _run(images, tmp_path / "parts")
    assert weights_digest(again.network) == whole != weights_digest(_network())
    assert [row["step"] for row in RunFolder(tmp_path / "parts").metrics()] == list(range(1, 25))


def test_seconds_of_earlier_sittings_count(images: LabelledStore) -> None:
    trainer, later = (DownstreamTrainer(_network(), images, PROTOCOL, seed=0) for _ in range(2))
    trainer.step(0)
    later.load_state({**trainer.state(), "seconds": torch.tensor(100.0, dtype=torch.float64)})
    assert 100 < later.seconds < 160 > trainer.seconds


def test_the_seed_changes_the_result_and_the_clock_does_not(images: LabelledStore, tmp_path: Path) -> None:
    runs = (_run(images, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1)))
    once, again, other = (weights_digest(run.network) for run in runs)
    assert once == again != other


def test_the_state_of_another_training_is_refused(images: LabelledStore, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        _run(images, tmp_path / "state", identity="another", stop=9)
    with pytest.raises(DataError, match="identity=another"):
        _run(images, tmp_path / "state")


def _shown(count: int, protocol: Protocol) -> tuple[list[int], Tensor]:
    """Which of ``count`` images a training shows, in order, and whether each is flipped left-right and top-bottom."""
    pictures = torch.zeros(count, 1, 32, 32, dtype=torch.uint8)
    for k in range(count):
        # The grey level of a corner says which it is, its place how it was flipped.
        pictures[k, 0, 0, 0] = 100 + k
    seen: list[Tensor] = []

    class Watching(ToySegmenter):
        def loss(self, fused: Tensor, batch: Batch) -> Terms:
            seen.append((fused[:, 0] * 255).round())
            return super().loss(fused, batch)

    trainer = DownstreamTrainer(_network(Watching), _images(pictures), protocol, seed=2)
    for step in range(protocol.steps):
        trainer.step(step)
    images = torch.cat(seen)
    where = images.flatten(1).argmax(1)
    return (images.amax((1, 2)).long() - 100).tolist(), torch.stack([where % 32 > 0, where >= 32], 1)


def test_every_image_comes_once_before_any_comes_again() -> None:
    order, flips = _shown(7, replace(PROTOCOL, steps=14, batch=5))
    assert [sorted(order[k : k + 7]) for k in range(0, 70, 7)] == [list(range(7))] * 10
    assert not flips[:, 1].any()
    assert 15 < int(flips[:, 0].sum()) < 55
    assert not _shown(7, replace(PROTOCOL, steps=4, flip="none"))[1].any()
    assert _shown(7, replace(PROTOCOL, steps=4, flip="both"))[1][:, 1].any()
    assert len(_shown(2, replace(PROTOCOL, steps=3, batch=8))[0]) == 24


class Quadratic(ToySegmenter):
    """A loss of one number, so that Adam can be redone by hand."""

    def __init__(self) -> None:
        super().__init__(ToyOptions(), classes=("a", "b"))
        self.body = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(self.body.weight, 1.0)

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": (3 * self.body.weight**2).sum()}


def test_the_updates_are_adams_under_the_schedule(images: LabelledStore) -> None:
    protocol = Protocol(size=(32, 32), steps=6, batch=1, warmup=2, lr=0.1, clip=0.5)
    network = Quadratic()
    trainer = DownstreamTrainer(network, images, protocol, seed=0)
    weight, first, second = 1.0, 0.0, 0.0
    for step in range(6):
        trainer.step(step)
        slope = 6 * weight
        slope *= min(1.0, 0.5 / (abs(slope) + 1e-6))
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        corrected = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        weight -= protocol.rate(step) * corrected[0] / (math.sqrt(corrected[1]) + 1e-8)
    assert float(network.body.weight.detach()) == pytest.approx(weight, rel=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training(images: LabelledStore, tmp_path: Path) -> None:
    trainer = DownstreamTrainer(_network(ToyDiverging), images, PROTOCOL, seed=0)
    with pytest.raises(DivergedError, match=r"is nan at step 10.*with a lower learning rate, --set lr"):
        take_steps(trainer, RunFolder(tmp_path), facts={}, advice=trainer.diverged_advice, logged=lambda *_: None)
