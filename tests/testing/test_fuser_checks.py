"""The kit passes sound fusers and proposers and names the rule that each broken one breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from unittest import SkipTest

import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from fusionkit.contracts import Capabilities, Fuser, LossProposer, Proposal, ShippedModel, Terms
from fusionkit.testing import check_fuser, check_loss_proposer

SMALL = ((1, 1), (5, 6))


@dataclass(frozen=True)
class Width:
    width: Annotated[int, Field(ge=1, le=64)] = 3


class Sound(Fuser):
    Config = Width

    def __init__(self, config: Width | None = None) -> None:
        super().__init__(config)
        self.first = nn.Conv2d(2, self.config.width, 3, padding=1)
        self.last = nn.Conv2d(self.config.width, 1, 1)

    def forward(self, *sources: Tensor) -> Tensor:
        return self.last(torch.tanh(self.first(torch.cat(sources, 1)))).sigmoid()


class Mean(Fuser):
    capabilities = Capabilities(max_sources=None)

    def forward(self, *sources: Tensor) -> Tensor:
        return torch.stack(sources).mean(0)


class OnlyBackward(torch.autograd.Function):
    """A product without a forward-mode derivative."""

    @staticmethod
    def forward(ctx, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        return grad * scale, (grad * x).sum()


class Wrong(OnlyBackward):
    """The same with half the gradient."""

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        return grad * scale, 0.5 * (grad * x).sum()


class WrongTangent(OnlyBackward):
    """The same with a forward-mode derivative that is not its own."""

    @staticmethod
    def forward(x: Tensor, scale: Tensor) -> Tensor:
        return x * scale

    @staticmethod
    def setup_context(ctx, inputs, output) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx, x_tangent, scale_tangent):
        x, _ = ctx.saved_tensors
        return 2 * x * scale_tangent


def scaled(function: type[torch.autograd.Function]) -> type[Fuser]:
    class Scaled(Fuser):
        def __init__(self, config: object = None) -> None:
            super().__init__(config)
            self.scale = nn.Parameter(torch.tensor(0.7))

        def forward(self, *sources: Tensor) -> Tensor:
            return function.apply(sources[0], self.scale).sigmoid()

    return Scaled


@pytest.mark.parametrize("fuser", [Sound, Mean, Sound(Width(5)), Mean()], ids=str)
def test_a_sound_fuser_passes_without_notes(fuser: type[Fuser] | Fuser) -> None:
    assert check_fuser(fuser) == ()


def test_a_fuser_with_maps_passes() -> None:
    assert check_fuser(Mapped, sizes=SMALL) == ()


def test_an_instance_is_left_as_it_was() -> None:
    fuser = Sound()
    before = {name: value.clone() for name, value in fuser.state_dict().items()}
    check_fuser(fuser, sizes=SMALL)
    assert fuser.training
    for name, value in fuser.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, before[name])


def test_a_fuser_without_forward_mode_passes_with_a_note() -> None:
    (note,) = check_fuser(scaled(OnlyBackward), sizes=SMALL)
    assert "no forward-mode derivative" in note


class InPlace(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0].add_(sources[1]).div_(2)


class Escapes(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0] + sources[1]


class Nan(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        total = sources[0] + sources[1]
        return sources[0] * sources[0] / total


class Batchwise(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        return (sources[0] - sources[0].mean() + 0.5).clamp(0, 1)


class Random(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        return torch.rand_like(sources[0])


class Normed(Sound):
    def __init__(self, config: Width | None = None) -> None:
        super().__init__(config)
        self.norm = nn.BatchNorm2d(1)

    def forward(self, *sources: Tensor) -> Tensor:
        return self.norm(super().forward(*sources)).sigmoid()


class Padded(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        return nn.functional.pad(sources[0], (1, 1, 1, 1), mode="reflect")[..., 1:-1, 1:-1]


class Halved(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0][..., ::2, ::2]


class Single(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        return super().forward(*sources).float()


class Fixed(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        first, second = sources
        return (first + second) / 2


class Viewing(Mean):
    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0].view(-1).view(sources[0].shape)


class Cached(Sound):
    def __init__(self, config: Width | None = None) -> None:
        super().__init__(config)
        self.table = [1.0]

    def forward(self, *sources: Tensor) -> Tensor:
        first = dict(self.__dict__.setdefault("kept", {}))
        if not first:
            self.__dict__["kept"]["last"] = self.last.weight.detach().clone()
        weight = self.__dict__["kept"]["last"].to(sources[0].dtype)
        hidden = torch.tanh(self.first(torch.cat(sources, 1)))
        return (nn.functional.conv2d(hidden, weight) + 0 * self.last(hidden)).sigmoid()


class Detached(Sound):
    def forward(self, *sources: Tensor) -> Tensor:
        return super().forward(*sources).detach()


class Idle(Sound):
    def __init__(self, config: Width | None = None) -> None:
        super().__init__(config)
        self.idle = nn.Parameter(torch.zeros(2))


class Forgetful(Sound):
    def __init__(self, config: Width | None = None) -> None:
        super().__init__(config)
        self.register_buffer("table", torch.rand(1), persistent=False)

    def forward(self, *sources: Tensor) -> Tensor:
        return super().forward(*sources) * self.table.to(sources[0])


class Tied(Sound):
    def __init__(self, config: Width | None = None) -> None:
        super().__init__(config)
        self.again = nn.Parameter(self.first.weight)
        self.again = self.first.weight


@dataclass
class Thawed:
    width: Annotated[int, Field(ge=1, le=64)] = 3


class ThawedOptions(Mean):
    Config = Thawed


@dataclass(frozen=True)
class Needy:
    width: int


class NeedyOptions(Mean):
    Config = Needy


class NoConfig(Mean):
    def __init__(self) -> None:
        super().__init__()


class OddSpace(Mean):
    space = "hsv"  # type: ignore[assignment]


class NoCapabilities(Mean):
    capabilities = {"max_sources": 2}  # type: ignore[assignment]


class Halves(Fuser):
    """Takes even sizes from 4 on: it works at half the size."""

    capabilities = Capabilities(min_size=4, multiple=2, min_sources=3, max_sources=3)

    def forward(self, *sources: Tensor) -> Tensor:
        first, second, third = sources
        assert first.shape[2] >= 4
        assert first.shape[3] >= 4
        small = nn.functional.avg_pool2d((first + second + third) / 3, 2)
        return small.reshape(*small.shape[:2], -1).view_as(small).repeat_interleave(2, 2).repeat_interleave(2, 3)


class AnySize(Halves):
    capabilities = Capabilities(min_sources=3, max_sources=3)


class OddSize(Halves):
    capabilities = Capabilities(min_size=4, min_sources=3, max_sources=3)


class AnyCount(Halves):
    capabilities = Capabilities(min_size=4, multiple=2, min_sources=3, max_sources=4)


class Blurred(Fuser):
    """A mean over 7x7 pixels, cut off at the border."""

    capabilities = Capabilities(halo=3)

    def forward(self, *sources: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(sources[0], 7, 1, 3, count_include_pad=False)


class NarrowHalo(Blurred):
    capabilities = Capabilities(halo=2)


class WholeImage(Mean):
    """Depends on every pixel, and claims tiles."""

    capabilities = Capabilities(max_sources=None, halo=8)

    def forward(self, *sources: Tensor) -> Tensor:
        return super().forward(*sources) * sources[0].amax((1, 2, 3), keepdim=True)


class OnlySingle(Sound):
    """Right in float32 alone."""

    capabilities = Capabilities(dtypes=(torch.float32,))

    def forward(self, *sources: Tensor) -> Tensor:
        assert sources[0].dtype == torch.float32
        return super().forward(*sources)


class ClaimsDouble(OnlySingle):
    capabilities = Capabilities()


class ClaimsHalf(Mean):
    """Amplifies what rounding to half precision leaves of a difference."""

    capabilities = Capabilities(dtypes=(torch.float16, torch.float32), max_sources=None)

    def forward(self, *sources: Tensor) -> Tensor:
        return ((sources[0] + 1000 - sources[1] - 1000) * 4 + 0.5).clamp(0, 1)


class OnCuda(Mean):
    capabilities = Capabilities(max_sources=None, needs_cuda=True)


class ShipsNothingThere(Mean):
    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel]:
        return (ShippedModel(task="mif", file=Path("nowhere.safetensors")),)


class ShipsTwice(Mean):
    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel]:
        return (ShippedModel(task="mif", file=Path(__file__)), ShippedModel(task="mif", file=Path(__file__)))


class ShipsOrphan(Mean):
    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel]:
        return (ShippedModel(task="mif", file=Path(__file__), superseded_by="v2"),)


class Mapped(Mean):
    def maps(self, *sources: Tensor) -> dict[str, Tensor]:
        return {"w_a": sources[0]}


class NamedMap(Mean):
    def maps(self, *sources: Tensor) -> dict[str, Tensor]:
        return {"w/a": sources[0]}


class SmallMap(Mean):
    def maps(self, *sources: Tensor) -> dict[str, Tensor]:
        return {"w_a": sources[0].mean((2, 3), keepdim=True)}


class WildMap(Mean):
    def maps(self, *sources: Tensor) -> dict[str, Tensor]:
        return {"w_a": 2 * sources[0] + 0.5}


@pytest.mark.parametrize(
    ("fuser", "told"),
    [
        (InPlace, "it changes source 0 in place; work on a copy"),
        (Escapes, "keep the result in [0, 1]"),
        (Nan, "black sources give values that are not finite"),
        (Batchwise, "treat samples apart"),
        (Random, "two equal calls in training mode differ"),
        (Normed, "a call in training mode changes 'norm."),
        (Padded, "take any H, W >= 1 and torch.float32; pad inside"),
        (Halved, "give the same size back"),
        (Single, "return the dtype of the sources"),
        (Fixed, "it fails on torch.float32 sources (2, 1, 1, 1) and (2, 1, 1, 1) and (2, 1, 1, 1)"),
        (Viewing, "use reshape in place of view"),
        (Cached, "read the parameters in forward each time"),
        (Detached, "the fused image has no gradient"),
        (Idle, "the fused image does not depend on idle"),
        (Forgetful, "register every weight and table as a parameter or a persistent buffer"),
        (Tied, "cannot be written as safetensors"),
        (scaled(Wrong), "the gradient of the fused image in scale is wrong"),
        (scaled(WrongTangent), "its forward-mode derivative is not that of its backward"),
        (ThawedOptions, "Config Thawed is not frozen"),
        (NeedyOptions, "does not build by its defaults"),
        (NoConfig, "it cannot be built from its options"),
        (OddSpace, "space is 'hsv'"),
        (NoCapabilities, "capabilities is {'max_sources': 2}; set it to an instance of"),
        (AnySize, "state in its capabilities what it takes"),
        (OddSize, "state in its capabilities which sizes it takes"),
        (AnyCount, "it fails on torch.float32 sources"),
        (NarrowHalo, "with a halo of 2 pixels is not what the whole image gives there"),
        (
            WholeImage,
            "state a wider halo or grid in its capabilities, or None where a pixel depends on",
        ),
        (ClaimsDouble, "it fails on torch.float64 sources"),
        (ClaimsHalf, "leave torch.float16 out of the dtypes of its capabilities"),
        (ShipsNothingThere, "pretrained() names nowhere.safetensors for mif@v1, which is not there"),
        (ShipsTwice, "ships two models mif@v1"),
        (ShipsOrphan, "mif@v1 is superseded by 'v2', which is not shipped"),
        (NamedMap, "maps() names a map 'w/a'; use letters, digits and underscores"),
        (SmallMap, "the map 'w_a' is (2, 1, 1, 1)"),
        (WildMap, "the pixels of the map 'w_a' give values from"),
        (nn.Identity, "it is not a Fuser"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_fuser_is_told_the_rule_and_the_remedy(fuser: type[Fuser], told: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_fuser(fuser, sizes=SMALL)
    message = str(caught.value)
    assert told in message
    assert message.startswith(f"Fuser {fuser.__name__}: ")


@pytest.mark.parametrize("fuser", [Halves, Blurred])
def test_a_fuser_that_states_what_it_takes_is_tried_on_that_alone(fuser: type[Fuser]) -> None:
    assert check_fuser(fuser, sizes=SMALL) == ()


def test_gradients_are_not_tested_without_float64_and_a_note_says_so() -> None:
    (note,) = check_fuser(OnlySingle, sizes=SMALL)
    assert "float64" in note


def test_a_fuser_that_needs_cuda_is_skipped_elsewhere() -> None:
    with pytest.raises(SkipTest, match="--fusionkit-device cuda"):
        check_fuser(OnCuda, sizes=SMALL)


class Proposes(LossProposer):
    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self.body = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, *sources: Tensor) -> Proposal:
        return {"w": self.body(torch.cat(sources, 1)).softmax(1)}

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        error = (torch.cat(tuple(sources), 1) - fused).square()
        return {"total": (proposal["w"] * error).sum(1).mean()}


class Equal(LossProposer):
    def forward(self, *sources: Tensor) -> Proposal:
        return {"w": torch.full_like(torch.cat(sources, 1), 1 / len(sources))}

    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        return {"total": (proposal["w"] * (torch.cat(tuple(sources), 1) - fused).square()).sum(1).mean()}


class Closed(Equal):
    """With a minimiser: the weighted mean of the sources."""

    def minimiser(self, proposal: Proposal, sources: Sequence[Tensor]) -> Tensor | None:
        return (proposal["w"] * torch.cat(tuple(sources), 1)).sum(1, keepdim=True)


@pytest.mark.parametrize("proposer", [Proposes, Equal, Proposes(), Closed], ids=str)
def test_a_sound_proposer_passes(proposer: type[LossProposer] | LossProposer) -> None:
    assert check_loss_proposer(proposer) == ()


def test_a_proposer_for_three_sources_passes() -> None:
    assert check_loss_proposer(Equal, count=3, sizes=SMALL) == ()


class Unnormalised(Proposes):
    def forward(self, *sources: Tensor) -> Proposal:
        return {"w": self.body(torch.cat(sources, 1)).sigmoid()}


class Negative(Proposes):
    def forward(self, *sources: Tensor) -> Proposal:
        logits = self.body(torch.cat(sources, 1))[:, :1] * 9
        return {"w": torch.cat((logits, 1 - logits), 1)}


class OneMap(Proposes):
    def forward(self, *sources: Tensor) -> Proposal:
        return {"w": super().forward(*sources)["w"].sum(1, keepdim=True)}


class NoTotal(Equal):
    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        return {"loss": super().loss(proposal, fused, sources)["total"]}


class Summed(Equal):
    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        return {"total": super().loss(proposal, fused, sources)["total"] * len(fused)}


class Rooted(Equal):
    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        return {"total": (super().loss(proposal, fused, sources)["total"]).log()}


class Unweighed(Proposes):
    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        return {"total": (fused - sources[0]).square().mean() + proposal["w"][:, 0].mean()}


class Blind(Equal):
    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        return {"total": (proposal["w"] * torch.cat(tuple(sources), 1)).mean()}


class BackwardOnlyLoss(Proposes):
    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        error = OnlyBackward.apply((fused - sources[0]).square(), torch.ones((), dtype=fused.dtype))
        return {"total": (proposal["w"][:, :1] * error).mean()}


class HalfDetached(Proposes):
    def loss(self, proposal: Proposal, fused: Tensor, sources: Sequence[Tensor]) -> Terms:
        w = proposal["w"]
        error = (w * (torch.cat(tuple(sources), 1) - fused).square()).sum(1)
        return {"total": error.mean() + (w.detach()[:, :1] * fused).mean()}


class Highest(Closed):
    def minimiser(self, proposal: Proposal, sources: Sequence[Tensor]) -> Tensor | None:
        return proposal["w"][:, :1] * 0 + torch.stack(tuple(sources)).amax(0)


class Outside(Closed):
    def minimiser(self, proposal: Proposal, sources: Sequence[Tensor]) -> Tensor | None:
        return proposal["w"][:, :1] * 4


class Severed(Closed):
    def minimiser(self, proposal: Proposal, sources: Sequence[Tensor]) -> Tensor | None:
        return torch.stack(tuple(sources)).mean(0)


class Small(Closed):
    def minimiser(self, proposal: Proposal, sources: Sequence[Tensor]) -> Tensor | None:
        return proposal["w"][:, :1, 1:]


@pytest.mark.parametrize(
    ("proposer", "told"),
    [
        (Highest, "at its minimiser and"),
        (Outside, "its minimiser leaves [0, 1]; limit it"),
        (Severed, "its minimiser has no gradient in the proposal"),
        (Small, "its minimiser is torch.float64 (1, 1, 23, 20); make it torch.float64 (1, 1, 24, 20)"),
        (Unnormalised, "the map 'w' does not sum to 1"),
        (Negative, "the map 'w' has negative weights; put a softmax over the sources last"),
        (OneMap, "make it torch.float32 (2, 2, 1, 1): one channel per source"),
        (NoTotal, 'the loss has no "total"'),
        (Summed, "the loss of a batch is not the mean of its samples' losses"),
        (Rooted, "the term 'total' is -inf"),
        (Unweighed, "nothing can be learned"),
        (Blind, "the loss has no gradient"),
        (BackwardOnlyLoss, "cannot be differentiated in the fused image and its parameters"),
        (HalfDetached, "the hypergradient is not what central differences give"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_proposer_is_told_the_rule_and_the_remedy(proposer: type[LossProposer], told: str) -> None:
    torch.manual_seed(3)
    with pytest.raises(AssertionError) as caught:
        check_loss_proposer(proposer, sizes=SMALL)
    assert told in str(caught.value)
