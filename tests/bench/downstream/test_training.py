"""One training: fixed by its seed, and the same after an interruption."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusionkit.bench.downstream import training
from fusionkit.bench.downstream.protocol import Protocol
from fusionkit.bench.downstream.samples import Samples
from fusionkit.bench.downstream.training import Checkpoint, draw_plan, train, weights_digest
from fusionkit.contracts import Batch, Terms
from fusionkit.plugins.guard import PluginCallFailed
from tests.support.downstreamtoys import ToyDiverging, ToyOptions, ToySegmenter

CPU = torch.device("cpu")
PROTOCOL = Protocol(size=(32, 32), steps=24, batch=3, warmup=4, lr=1e-2)


class Stop(Exception):
    """The power fails."""


@pytest.fixture
def samples() -> Samples:
    generator = torch.Generator().manual_seed(5)
    pictures = torch.randint(0, 256, (5, 1, 32, 32), generator=generator, dtype=torch.uint8)
    return Samples(pictures, tuple((picture[0] > 128).to(torch.uint8) for picture in pictures))


def _network(kind: type[ToySegmenter] = ToySegmenter, drop: float = 0.5) -> ToySegmenter:
    torch.manual_seed(3)
    return kind(ToyOptions(width=4, drop=drop), classes=("dark", "light"))


def _run(samples: Samples, path: Path, *, identity: str = "a", stop: int | None = None, seed: int = 0) -> ToySegmenter:
    network = _network()

    def progress(done: int, total: int) -> None:
        assert total == PROTOCOL.steps
        if stop is not None and done > stop:
            raise Stop

    train(network, samples, PROTOCOL, seed=seed, device=CPU, checkpoint=Checkpoint(path, identity), progress=progress)
    return network


def test_an_interrupted_training_ends_with_the_same_weights(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights_digest(_run(samples, tmp_path / "whole"))
    monkeypatch.setattr(training, "_SAVE_SECONDS", -1.0)
    for stop in (5, 17):
        with pytest.raises(Stop):
            _run(samples, tmp_path / "parts", stop=stop)
    network = _network()
    before = weights_digest(network)
    trained = train(network, samples, PROTOCOL, seed=0, device=CPU, checkpoint=Checkpoint(tmp_path / "parts", "a"))
    assert weights_digest(network) == whole != before
    assert [step for step, _ in trained.losses] == list(range(1, 25))
    assert not network.training


def test_the_seed_changes_the_result_and_the_clock_does_not(samples: Samples, tmp_path: Path) -> None:
    once, again, other = (weights_digest(_run(samples, tmp_path / "none", seed=seed)) for seed in (0, 0, 1))
    assert once == again != other


def test_the_state_of_another_training_or_a_damaged_one_is_passed_over(
    samples: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights_digest(_run(samples, tmp_path / "whole"))
    monkeypatch.setattr(training, "_SAVE_SECONDS", -1.0)
    with pytest.raises(Stop):
        _run(samples, tmp_path / "state", identity="another", stop=9, seed=4)
    assert weights_digest(_run(samples, tmp_path / "state")) == whole
    (tmp_path / "state").write_bytes(b"half of a f")
    assert weights_digest(_run(samples, tmp_path / "state")) == whole


def test_every_sample_comes_once_before_any_comes_again() -> None:
    order, flips = draw_plan(7, replace(PROTOCOL, steps=14, batch=5), seed=2)
    assert (tuple(order.shape), tuple(flips.shape)) == ((14, 5), (14, 5, 2))
    for rounds in order.flatten().reshape(10, 7):
        assert sorted(rounds.tolist()) == list(range(7))
    assert not flips[..., 1].any()
    assert 15 < int(flips[..., 0].sum()) < 55
    assert not draw_plan(7, replace(PROTOCOL, flip="none"), seed=2)[1].any()
    assert draw_plan(7, replace(PROTOCOL, flip="both"), seed=2)[1][..., 1].any()
    assert tuple(draw_plan(2, replace(PROTOCOL, batch=8), seed=0)[0].shape) == (24, 8)


class Quadratic(ToySegmenter):
    """A loss of one number, so that Adam can be redone by hand."""

    def __init__(self) -> None:
        super().__init__(ToyOptions(), classes=("a", "b"))
        self.body = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(self.body.weight, 1.0)

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": (3 * self.body.weight**2).sum()}


def test_the_updates_are_adams_under_the_schedule(samples: Samples, tmp_path: Path) -> None:
    protocol = Protocol(size=(32, 32), steps=6, batch=1, warmup=2, lr=0.1, clip=0.5)
    network = Quadratic()
    train(network, samples, protocol, seed=0, device=CPU, checkpoint=Checkpoint(tmp_path / "none", "a"))
    weight, first, second = 1.0, 0.0, 0.0
    for step in range(6):
        slope = 6 * weight
        slope *= min(1.0, 0.5 / (abs(slope) + 1e-6))
        first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
        corrected = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        weight -= protocol.rate(step) * corrected[0] / (math.sqrt(corrected[1]) + 1e-8)
    assert float(network.body.weight.detach()) == pytest.approx(weight, rel=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training(samples: Samples, tmp_path: Path) -> None:
    with pytest.raises(PluginCallFailed, match=r"not finite by update 1: lower the learning rate"):
        train(
            _network(ToyDiverging),
            samples,
            PROTOCOL,
            seed=0,
            device=CPU,
            checkpoint=Checkpoint(tmp_path / "none", "a"),
        )
