"""The running average of a network's weights, against timm's."""

from __future__ import annotations

import copy

import torch
from torch import nn

from fusionkit.runtime.torchvision import load_torchvision
from fusionkit.train.bilevel.ema import RunningAverage


def test_the_average_is_timms_bit_by_bit() -> None:
    load_torchvision()
    from timm.utils import ModelEmaV3

    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 1, 1))
    own, theirs = RunningAverage(network, 0.9), ModelEmaV3(network, decay=0.9)
    for step in range(1, 6):  # timm copies at step 1, as the first update here does
        with torch.no_grad():
            for weight in network.parameters():
                weight.add_(torch.randn_like(weight))
        own.update_parameters(network)
        theirs.update(network, step)
        assert all(torch.equal(value, own.state_dict()[name]) for name, value in theirs.state_dict().items())
    assert not torch.equal(own.module[0].weight, network[0].weight)


def test_an_average_that_is_loaded_goes_on_and_does_not_begin_again() -> None:
    torch.manual_seed(3)
    network = nn.Conv2d(1, 2, 3)
    own = RunningAverage(network, 0.5)
    own.update_parameters(network)
    loaded = RunningAverage(network, 0.5)
    loaded.load_state_dict(copy.deepcopy(own.state_dict()))
    with torch.no_grad():
        network.weight.mul_(2)
    loaded.update_parameters(network)
    assert torch.allclose(loaded.module.weight, 0.75 * network.weight)
