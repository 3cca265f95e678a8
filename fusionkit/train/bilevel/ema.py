"""The running average of a network's weights, updated without waiting for the device."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class RunningAverage(AveragedModel):
    """``average <- decay * average + (1 - decay) * weights``; the first update copies.

    PyTorch's own looks at its counter on the host at every update, which would wait for the device.
    ``timm.utils.ModelEmaV3`` has the same values, but keeps no counter: its caller says which update is the first, as a
    number on the host, which a captured CUDA graph would repeat, and a checkpoint would have to keep beside it.

    Args:
        module: the network to follow.
        decay: in [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__(module)
        self._decay = decay

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Update the average with the present weights of the network."""
        taken = torch.where(self.n_averaged > 0, 1 - self._decay, 1.0)
        for own, current in zip(self.module.parameters(), model.parameters(), strict=True):
            own.lerp_(current.detach(), taken.to(own.dtype))
        for kept, seen in zip(self.module.buffers(), model.buffers(), strict=True):
            kept.copy_(seen)
        self.n_averaged += 1
