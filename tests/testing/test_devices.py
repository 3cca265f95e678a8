"""Every check runs a plugin on the device that it is given, and names one that leaves a tensor on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest import SkipTest

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fusionkit.contracts import Batch, Downstream, Fuser, LossProposer, OuterLoss, Proposal, Terms
from fusionkit.contracts.label_types import IGNORE
from fusionkit.testing import (
    check_downstream,
    check_fuser,
    check_loss_proposer,
    check_metric,
    check_outer_loss,
    check_reconstructor,
    check_trainer,
    example_labelled_pairs,
    example_pairs,
)
from tests.support.other_device import other_device
from tests.testing.test_fuser_checks import Sound
from tests.testing.test_other_checks import Blend, Distance, Rebuilds, Trains

SMALL = ((1, 1), (5, 6))


class Weighs(LossProposer):
    """Learned weights of a squared distance to every source."""

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self.body = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, *sources: Tensor) -> Proposal:
        return {"w": self.body(torch.cat(sources, 1)).softmax(1)}

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        return {"total": (proposal["w"] * (fused - torch.cat(tuple(sources), 1)).square()).mean()}


class Levels(Downstream):
    """Classifies by brightness."""

    kind = "segmentation"

    def __init__(self, config: Any = None, *, classes: Sequence[str]) -> None:
        super().__init__(config, classes=classes)
        self.levels = nn.Parameter(torch.linspace(0.2, 0.8, len(classes)))

    def scores(self, fused: Tensor) -> Tensor:
        return -20 * (fused - self.levels[:, None, None]).square()

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        masks = batch.targets
        total = F.cross_entropy(self.scores(fused), masks, ignore_index=IGNORE, reduction="sum")
        return {"total": total / masks.numel()}

    def predict(self, fused: Tensor) -> Tensor:
        return self.scores(fused.detach()).argmax(1)


class Aside(Sound):
    """Weighs pixels by a mask that is made on the CPU."""

    def forward(self, *sources: Tensor) -> Tensor:
        return super().forward(*sources) * torch.ones(sources[0].shape[-2:], dtype=sources[0].dtype)


class AsideRebuilds(Rebuilds):
    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        return super().forward(fused * torch.ones(fused.shape[-2:], dtype=fused.dtype))


class AsideMetric(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return super().__call__(fused, *sources).cpu()


class AsideWeighs(Weighs):
    def forward(self, *sources: Tensor) -> Proposal:
        return {"w": super().forward(*sources)["w"].cpu()}


class AsideLevels(Levels):
    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return super().loss(fused, Batch(batch.sources, batch.targets.cpu()))


class AsideTrains(Trains):
    """Builds its network where it likes."""

    def __init__(self, config, source, *, device, precision, seed) -> None:
        super().__init__(config, source, device=torch.device("cpu"), precision=precision, seed=seed)
        self.blend = Blend()


CHECKS: dict[str, tuple[Callable[..., Any], Any, Any, dict[str, Any], str]] = {
    "fuser": (check_fuser, Sound, Aside, {"sizes": SMALL}, "on the same device"),
    "reconstructor": (check_reconstructor, Rebuilds, AsideRebuilds, {"sizes": SMALL}, "on the same device"),
    "outer loss": (check_outer_loss, Rebuilds, AsideRebuilds, {}, "on the same device"),
    "metric": (check_metric, Distance, AsideMetric, {}, "compute on the device of the fused image"),
    "loss proposer": (check_loss_proposer, Weighs, AsideWeighs, {"sizes": SMALL}, "the map 'w' is"),
    "downstream": (check_downstream, Levels, AsideLevels, {"size": (16, 24)}, "on the same device"),
    "trainer": (check_trainer, Trains, AsideTrains, {}, "its fuser has weights on cpu"),
}
"""Kind -> its check, a sound plugin, one that leaves a tensor on the CPU, options, and the answer to the second."""


@pytest.mark.parametrize("kind", CHECKS)
def test_a_sound_plugin_passes_on_another_device(kind: str) -> None:
    check, sound, _, options, _ = CHECKS[kind]
    with other_device() as device:
        assert check(sound, device=device, **options) == ()


@pytest.mark.parametrize("kind", CHECKS)
def test_a_plugin_that_leaves_a_tensor_on_the_cpu_is_noticed_on_another_device_alone(kind: str) -> None:
    check, _, aside, options, told = CHECKS[kind]
    check(aside, **options)
    with other_device() as device, pytest.raises((AssertionError, RuntimeError), match=told):
        check(aside, device=device, **options)


@pytest.mark.parametrize("kind", CHECKS)
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_the_device_a_check_is_skipped_with_the_reason(kind: str) -> None:
    check, sound, _, options, _ = CHECKS[kind]
    with pytest.raises(SkipTest, match=r"device cuda: PyTorch .* sees no CUDA device here"):
        check(sound, device="cuda", **options)


def test_training_pairs_are_made_on_the_device() -> None:
    with other_device() as device:
        for store in (example_pairs(device=device), example_labelled_pairs("segmentation", device=device)):
            assert store.device == device


def test_the_emulated_device_refuses_tensors_of_the_cpu() -> None:
    with other_device() as device:
        there = torch.ones(3, device=device)
        assert (there + 1).cpu().tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="on the same device"):
            there + torch.ones(3)


def test_a_fuser_of_another_device_is_the_fuser(tmp_path) -> None:
    fuser: Fuser = Sound()
    sources = [torch.rand(1, 1, 4, 5) for _ in range(2)]
    expected = fuser(*sources)
    with other_device() as device:
        fused = fuser.to(device)(*(source.to(device) for source in sources))
    assert torch.equal(fused.values, expected)


def test_an_outer_loss_is_given_a_batch_on_its_device() -> None:
    class Needs(OuterLoss):
        def loss(self, fused: Tensor, batch: Batch) -> Terms:
            return {"total": (fused - batch.targets).square().mean()}

    with other_device() as device:
        image = torch.rand(2, 1, 4, 5, dtype=torch.float64)
        sources = (image.to(device), image.flip(-1).to(device))
        assert check_outer_loss(Needs, batch=Batch(sources, image.to(device)), device=device) == ()
