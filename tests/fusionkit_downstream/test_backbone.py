"""Backbones from timm: which fit, what they return, and what is said of those that do not fit."""

from __future__ import annotations

import sys
import warnings

import pytest
import torch
from torch import nn

from fusionkit.errors import UsageError
from fusionkit_downstream import backbone
from fusionkit_downstream.backbone import SUGGESTED, Backbone, network_input
from fusionkit_downstream.detection import DetectorOptions
from fusionkit_downstream.segmentation import SegmenterOptions

TINY = ("test_convnext", "test_efficientnet_gn")


@pytest.mark.parametrize("name", [*TINY, SegmenterOptions().backbone])
def test_features_come_at_the_strides_asked_for_and_every_weight_takes_part(name: str) -> None:
    for strides in ((4, 8, 16, 32), (8, 16, 32)):
        body = Backbone(name, strides)
        features = body(torch.randn(2, 1, 96, 64))
        assert [tuple(f.shape) for f in features] == [
            (2, width, 96 // stride, 64 // stride) for width, stride in zip(body.widths, strides, strict=True)
        ]
        torch.stack([f.square().mean() for f in features]).sum().backward()
        assert [name for name, weight in body.named_parameters() if weight.grad is None] == []


@pytest.mark.parametrize("name", SUGGESTED)
def test_what_messages_suggest_fits(name: str) -> None:
    levels = backbone._levels(name)
    assert levels.keys() >= {4, 8, 16, 32}


def test_both_networks_start_from_a_backbone_that_messages_suggest() -> None:
    assert {SegmenterOptions().backbone, DetectorOptions().backbone} <= set(SUGGESTED)


def test_a_seed_fixes_the_weights_whether_or_not_the_name_was_checked_before() -> None:
    states = []
    for fresh in (True, False):
        if fresh:
            backbone._levels.cache_clear()
        torch.manual_seed(3)
        states.append(Backbone(TINY[0]).state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_dropout_is_off_in_training_too_so_that_the_loss_is_a_function_of_weights_and_batch() -> None:
    network = nn.Sequential(Backbone("focalnet_tiny_srf", (32,))).train()  # stochastic depth of 0.1 by default
    image = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image)[0], network(image)[0])


def test_images_are_centred_and_padded_to_multiples_of_32_with_their_last_row_and_column() -> None:
    image = torch.rand(1, 1, 33, 5)
    seen = network_input(image)
    assert seen.shape == (1, 1, 64, 32)
    assert torch.equal(seen[..., :33, :5], 4 * image - 2)
    assert bool((seen[..., 33:, :5] == seen[..., 32:33, :5]).all())
    assert bool((seen[..., 5:] == seen[..., 4:5]).all())
    assert network_input(torch.rand(1, 1, 64, 32)).shape == (1, 1, 64, 32)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18", "has batch normalisation"),
        ("test_efficientnet", "has batch normalisation"),
        ("test_vit", r"no features of images of any size|no features \(B, C, H, W\)"),
        ("test_mambaout", r"no features \(B, C, H, W\) at strides 4, 8, 16 and 32 \(found: none\)"),
        ("pvt_v2_b9", "is not a model of timm: did you mean pvt_v2_b"),
        ("hf-hub:timm/pvt_v2_b0.in1k", "is not a model of timm"),
    ],
)
def test_a_backbone_that_does_not_fit_is_one_line_with_some_that_do(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        Backbone(name)
    assert "\n" not in str(caught.value)
    assert repr(name) in str(caught.value)
    assert all(fitting in str(caught.value) for fitting in SUGGESTED)


def test_nothing_is_downloaded_and_nothing_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Backbone(SegmenterOptions().backbone)


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_a_missing_extra_is_one_line_that_says_how_to_install_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    backbone._levels.cache_clear()
    with pytest.raises(UsageError, match=r"pip install 'image-fusionkit\[downstream\]'") as caught:
        Backbone(TINY[0])
    assert "\n" not in str(caught.value)
