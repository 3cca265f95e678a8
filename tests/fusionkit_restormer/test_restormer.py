"""Restormer's layers against other implementations."""

from __future__ import annotations

import pytest
import torch
from torch.func import jvp

from fusionkit.runtime.torchvision import load_torchvision
from fusionkit_restormer.restormer import ChannelNorm


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_norm_over_channels_is_timms_bit_by_bit(layout: torch.memory_format) -> None:
    load_torchvision()
    from timm.layers import LayerNorm2d

    torch.manual_seed(1)
    own, theirs = ChannelNorm(6), LayerNorm2d(6, eps=1e-5)
    with torch.no_grad():
        own.weight.normal_()
        own.bias.normal_()
    theirs.load_state_dict(own.state_dict())
    x, along = (torch.randn(2, 6, 5, 7).contiguous(memory_format=layout) for _ in range(2))
    assert torch.equal(own(x), theirs(x))
    assert torch.equal(jvp(own, (x,), (along,))[1], jvp(theirs, (x,), (along,))[1])
