"""The kit passes sound outer losses, metrics and trainers and names the rule that each broken one breaks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Batch, Fuser, MetaTrainer, Metric, MetricInfo, OuterLoss, Reconstructor, Terms
from fusionkit.testing import (
    check_metric,
    check_outer_loss,
    check_reconstructor,
    check_trainer,
    example_pairs,
    example_sources,
)
from fusionkit.testing.module_checks import check_gradient

SMALL = ((1, 1), (5, 6))


class Rebuilds(Reconstructor):
    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self.body = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        first, second = (fused + self.body(fused)).split(1, 1)
        return first, second

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        errors = torch.stack(self(fused)) - torch.stack(tuple(batch.sources))
        return {"total": errors.square().amax(0).mean()}


class Listed(Rebuilds):
    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        return list(super().forward(fused))  # type: ignore[return-value]


class Short(Rebuilds):
    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        return tuple(image[..., 1:] for image in super().forward(fused))


class Pooled(Rebuilds):
    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        return super().forward(nn.functional.pad(fused, (2, 2, 2, 2), mode="reflect")[..., 2:-2, 2:-2])


class Mixed(Rebuilds):
    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        return super().forward(fused - fused.mean())


class Changes(Rebuilds):
    def forward(self, fused: Tensor) -> tuple[Tensor, ...]:
        return super().forward(fused.mul_(0.5))


class SummedLoss(Rebuilds):
    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": super().loss(fused, batch)["total"] * len(fused)}


class Unmoved(Rebuilds):
    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return super().loss(fused.detach(), batch)


class NanLoss(Rebuilds):
    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": super().loss(fused, batch)["total"] * math.nan}


@pytest.mark.parametrize("reconstructor", [Rebuilds, Rebuilds()], ids=str)
def test_a_sound_reconstructor_passes(reconstructor: type[Reconstructor] | Reconstructor) -> None:
    assert check_reconstructor(reconstructor) == ()


@pytest.mark.parametrize(
    ("reconstructor", "told"),
    [
        (Listed, "return a tuple of one image per source"),
        (Short, "source 0 comes back as torch.float32 (2, 1, 1, 0)"),
        (Pooled, "take any H, W >= 1; pad inside"),
        (Mixed, "source 0 of a batch is not that of its samples"),
        (Changes, "it changes the fused image in place"),
        (SummedLoss, "the loss of a batch is not the mean of its samples' losses"),
        (Unmoved, "the loss does not depend on fused image; use it without detach"),
        (NanLoss, "the term 'total' is nan"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_reconstructor_is_told_the_rule(reconstructor: type[Reconstructor], told: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_reconstructor(reconstructor, sizes=SMALL)
    assert told in str(caught.value)


class Segments(OuterLoss):
    """A downstream network: classifies each pixel."""

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self.body = nn.Conv2d(1, 3, 3, padding=1)

    def loss(self, fused: Tensor, batch: Batch) -> Terms:
        return {"total": nn.functional.cross_entropy(self.body(fused), batch.targets)}


def test_an_outer_loss_with_targets_passes_on_a_batch_that_has_them() -> None:
    targets = torch.randint(0, 3, (2, 8, 9))
    assert check_outer_loss(Segments, batch=Batch(example_sources((8, 9), batch=2), targets)) == ()


def test_an_outer_loss_with_targets_asks_for_a_batch_that_has_them() -> None:
    with pytest.raises(AssertionError, match="pass check_outer_loss a batch with the targets"):
        check_outer_loss(Segments)


def rms(fused: Tensor, *sources: Tensor) -> Tensor:
    error = torch.stack([(fused - source).square().mean((1, 2, 3)) for source in sources]).mean(0)
    return error.sqrt()


class Distance(Metric):
    info = MetricInfo(
        name="DIST",
        title="distance",
        measures="how far the fused image is from its sources",
        higher_is_better=False,
        range=(0.0, 255.0),
        unit="grey levels",
        paper="none",
        equation="sqrt of the mean squared difference",
        needs="sources",
        differentiable=True,
    )

    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return rms(fused, *sources)


class Blank(Distance):
    info = replace(Distance.info, paper=" ")


class Backwards(Distance):
    info = replace(Distance.info, range=(1.0, 0.0))


class Narrow(Distance):
    info = replace(Distance.info, range=(0.0, 1.0))


class Scalar(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return rms(fused, *sources).mean()


class Doubled(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return rms(fused, *sources).double()


class Scaled(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return rms(fused, *sources) / (2 if fused.dtype == torch.float32 else 1)


class Pooling(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return rms(fused, *sources).mean().expand(len(fused))


class FirstOnly(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return rms(fused, sources[0])


class Windowed(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return rms(fused, *sources) + nn.functional.conv2d(fused, fused.new_ones(1, 1, 8, 8)).sum((1, 2, 3)) * 0


class PairOnly(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        first, second = sources
        return rms(fused, first, second)


class PairStated(PairOnly):
    info = replace(Distance.info, sources="two")


class Inverse(Distance):
    info = replace(Distance.info, range=(0.0, 1e9))

    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return 1 / rms(fused, *sources)


class InverseStated(Inverse):
    info = replace(Distance.info, range=(0.0, math.inf))


class Rounded(Distance):
    def __call__(self, fused: Tensor, *sources: Tensor, truth: Tensor | None = None) -> Tensor:
        return rms(fused, *sources) + (fused - fused.detach()).mean((1, 2, 3))


class Needy(Distance):
    def __init__(self, window: int) -> None:
        self.window = window


class Recordless(Distance):
    info = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    "metric", [Distance, Distance(), PairStated, InverseStated], ids=["class", "instance", "pair", "inverse"]
)
def test_a_sound_metric_passes(metric: type[Metric] | Metric) -> None:
    assert check_metric(metric) == ()


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        (Blank, "info.paper is blank"),
        (Backwards, "info.range is (1.0, 0.0)"),
        (Narrow, "lie outside of info.range (0.0, 1.0)"),
        (Scalar, "one value per sample"),
        (Doubled, "return torch.float32 (3,)"),
        (Scaled, "float32 and float64 images give other values"),
        (Pooling, "the values of a batch are not those of its samples"),
        (FirstOnly, "the sources in another order give other values"),
        (Windowed, "take any size from info.min_size on"),
        (PairOnly, "it fails on torch.float32 images (3, 1, 33, 40)"),
        (Inverse, "constant images of 0 and 0 give inf"),
        (Rounded, "the gradient of its value in fused image is wrong"),
        (Needy, "give every option of __init__ a default"),
        (Recordless, "it has no info"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_metric_is_told_the_rule(metric: type[Metric], told: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_metric(metric)
    assert told in str(caught.value)


@dataclass(frozen=True)
class Schedule:
    rounds: Annotated[int, Field(ge=1, le=100)] = 6
    lr: Annotated[float, Field(gt=0, le=1)] = 0.1


class Blend(Fuser):
    """s I_1 + (1 - s) I_2 with one learned share s."""

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self.share = nn.Parameter(torch.zeros(()))

    def forward(self, *sources: Tensor) -> Tensor:
        share = self.share.sigmoid()
        return share * sources[0] + (1 - share) * sources[1]


class Trains(MetaTrainer):
    """Momentum descent on the distance to the first source, on a pair drawn from the seed and the step's number."""

    Config = Schedule
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"rounds": 8}}
    preset_notes: ClassVar[Mapping[str, str]] = {"quick": "for tests"}
    fuser_name = "blend"

    def __init__(self, config, source, *, device, precision, seed) -> None:
        self.config, self.source, self.seed = config, source, seed
        self.blend = Blend().to(device)
        self.speed = torch.zeros((), device=device)

    @property
    def steps(self) -> int:
        return self.config.rounds

    def stage(self, index: int) -> str:
        return "meta" if index % 2 == 0 else "fusion"

    def draw(self, index: int) -> int:
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        return int(torch.randint(len(self.source), (), generator=generator))

    def step(self, index: int) -> Terms:
        pair = self.source.whole(self.draw(index))
        loss = (self.blend(*pair) - pair[0]).square().mean()
        (slope,) = torch.autograd.grad(loss, [self.blend.share])
        self.speed = 0.9 * self.speed + slope
        with torch.no_grad():
            self.blend.share -= self.config.lr * self.speed
        return {"total": loss.detach()}

    def state(self) -> dict[str, Tensor]:
        return {"share": self.blend.share.detach(), "speed": self.speed}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            self.blend.share.copy_(state["share"])
        self.speed = state["speed"].clone()

    def fuser(self) -> Fuser:
        return self.blend


class DrawsGlobally(Trains):
    def draw(self, index: int) -> int:
        return int(torch.randint(len(self.source), ()))


class CountsItself(Trains):
    def draw(self, index: int) -> int:
        self.count = getattr(self, "count", 0) + 1
        return self.count % len(self.source)


class ForgetsSpeed(Trains):
    def state(self) -> dict[str, Tensor]:
        return {"share": self.blend.share.detach()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            self.blend.share.copy_(state["share"])


class LoadsNothing(Trains):
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        pass


class Aliases(Trains):
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.blend.share.data = state["share"]
        self.speed = state["speed"].clone()


class Nested(Trains):
    def state(self) -> dict[str, Tensor]:
        return {"blend": dict(self.blend.state_dict())}  # type: ignore[dict-item]


class HoldsGraph(Trains):
    def step(self, index: int) -> Terms:
        pair = self.source.whole(0)
        return {"total": (self.blend(*pair) - pair[0]).square().mean()}


class Stands(Trains):
    def step(self, index: int) -> Terms:
        return {"total": torch.zeros(())}


class Nameless(Trains):
    fuser_name = ""


class BadPreset(Trains):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"quick": {"round": 8}}


class NoteLess(Trains):
    preset_notes: ClassVar[Mapping[str, str]] = {}


class Loses(Trains):
    def __init__(self, config, source, *, device, precision, seed) -> None:
        super().__init__(config, source, device=device, precision=precision, seed=seed)
        self.config = Schedule(rounds=9, lr=0.2)


class Shows(Trains):
    def snapshot(self, sources: Sequence[Tensor]) -> dict[str, Tensor]:
        return {"fused": 255 * self.blend(*sources).detach()}


class Unstaged(Trains):
    def stage(self, index: int) -> str:
        return "" if index == 7 else "fusion"


SOURCE = example_pairs(count=4, size=(12, 13))


def test_a_sound_trainer_passes() -> None:
    assert check_trainer(Trains, source=SOURCE) == ()


def test_a_stage_that_the_tried_steps_do_not_reach_is_noted() -> None:
    class Late(Trains):
        def stage(self, index: int) -> str:
            return "meta" if index < 7 else "fusion"

    (note,) = check_trainer(Late, source=SOURCE)
    assert "met no fusion step" in note


@pytest.mark.parametrize(
    ("trainer", "told"),
    [
        (DrawsGlobally, "with one seed, two runs differ"),
        (CountsItself, "a resumed run takes other steps"),
        (ForgetsSpeed, "a resumed run takes other steps"),
        (LoadsNothing, "'share' is not what load_state() was given"),
        (Aliases, "steps change 'share' of the state that load_state() was given"),
        (Nested, "state() is not a flat dictionary of tensors"),
        (HoldsGraph, "the terms total hold on to their graph"),
        (Stands, "4 steps change nothing in state()"),
        (Nameless, "fuser_name is blank"),
        (BadPreset, "its preset 'quick' does not build"),
        (NoteLess, "the preset 'quick' has no note"),
        (Loses, "self.config is not the config it was given"),
        (Shows, "the snapshot 'fused' has values from"),
        (Unstaged, "a step has no stage"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_trainer_is_told_the_rule(trainer: type[MetaTrainer], told: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_trainer(trainer, source=SOURCE)
    assert told in str(caught.value)


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (64, 48)])
@pytest.mark.parametrize("channels", [1, 3])
def test_example_sources_are_images_of_the_asked_form_and_the_same_at_every_call(size, channels) -> None:
    for dtype in (torch.float32, torch.float64):
        sources = example_sources(size, count=3, batch=2, channels=channels, dtype=dtype)
        assert [tuple(source.shape) for source in sources] == [(2, channels, *size)] * 3
        assert {source.dtype for source in sources} == {dtype}
        assert all(0 <= float(source.min()) <= float(source.max()) <= 1 for source in sources)
        again = example_sources(size, count=3, batch=2, channels=channels, dtype=dtype)
        assert all(torch.equal(one, other) for one, other in zip(sources, again, strict=True))
        assert not torch.equal(sources[0], sources[1])


def smooth(weights: Mapping[str, Tensor]) -> Tensor:
    return torch.tanh(weights["a"] @ weights["b"]) * weights["c"]


def test_a_right_gradient_passes_and_one_wrong_in_any_tensor_is_named() -> None:
    drawn = {name: torch.randn(shape, dtype=torch.float64) for name, shape in {"a": (4, 5), "b": (5,), "c": ()}.items()}
    check_gradient("it", "the value", smooth, drawn)
    for name in drawn:

        def skewed(weights: Mapping[str, Tensor], name: str = name) -> Tensor:
            # Right in value; the gradient in one tensor is one per cent too large.
            w = weights[name]
            return smooth({**weights, name: 1.01 * w - 0.01 * w.detach()})

        with pytest.raises(AssertionError, match=f"the gradient of the value in {name} is wrong"):
            check_gradient("it", "the value", skewed, drawn)


@pytest.mark.parametrize("distance", [0.0, 3e-7, -3e-7])
def test_a_gradient_at_a_corner_of_relu_is_that_of_one_side(distance: float) -> None:
    point = torch.tensor([0.5, -0.25], dtype=torch.float64)

    def cornered(weights: Mapping[str, Tensor]) -> Tensor:
        return torch.relu(weights["w"] - point + distance) + 0.1 * weights["w"]

    check_gradient("it", "the value", cornered, {"w": point})


def test_the_gradient_of_many_tensors_is_checked_in_bounded_time() -> None:
    calls = []
    many = {f"w{k}": torch.randn(3, dtype=torch.float64) for k in range(200)}

    def total(weights: Mapping[str, Tensor]) -> Tensor:
        calls.append(1)
        return torch.stack([w.square().sum() for w in weights.values()])

    check_gradient("it", "the value", total, many)
    assert len(calls) <= 40


def test_a_gradient_that_is_not_the_slope_of_its_value_passes_where_that_is_stated_but_not_a_zero_one() -> None:
    weights = {"w": torch.ones(3, dtype=torch.float64)}

    def held(named: Mapping[str, Tensor]) -> Tensor:
        return (named["w"] * named["w"].detach()).sum()

    with pytest.raises(AssertionError, match="the gradient of the loss in w is wrong"):
        check_gradient("It", "the loss", held, weights)
    check_gradient("It", "the loss", held, weights, exact=False)
    with pytest.raises(AssertionError, match="the loss has a gradient of zero"):
        check_gradient("It", "the loss", lambda named: (0 * named["w"]).sum(), weights, exact=False)
