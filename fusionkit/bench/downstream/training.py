"""Training of a downstream network, decided by its seed alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from fusionkit.bench.downstream.protocol import Protocol
from fusionkit.contracts import Downstream, Terms, Trainer
from fusionkit.data.epoch_plan import FLIP_COLUMNS, FLIP_ROWS, draw_epoch
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.runtime.parameters import trainable
from fusionkit.train.bilevel.microbatch import under
from fusionkit.train.bilevel.optimisers import GradientRule

__all__ = ["DownstreamTrainer", "weights_digest"]

_NETWORK, _OPTIMISER, _SECONDS = "network.", "optimiser.", "seconds"


class DownstreamTrainer(Trainer):
    """Trains a network on labelled images by AdamW under a protocol's schedule.

    Args:
        network: on its device, with its initial weights; trained in place.
        images: labelled images of the protocol's size; every one comes once before any comes again.
        protocol: the schedule.
        seed: of every draw.
    """

    diverged_advice: ClassVar[str] = "with a lower learning rate, --set lr=..."

    def __init__(self, network: Downstream, images: LabelledStore, protocol: Protocol, *, seed: int) -> None:
        self.network = network.train()
        self._images, self._protocol, self._seed = images, protocol, seed
        self._learned = list(trainable(network).values())
        # The rule multiplies the rate of 1 by the protocol's; capturable steps count on the device, where it puts them.
        on_cuda = images.device.type == "cuda"
        adam = torch.optim.AdamW(self._learned, lr=1.0, weight_decay=protocol.weight_decay, capturable=on_cuda)
        self._rule = GradientRule(network, adam)
        whole = [(1, 1)] * len(images)  # whole images: there is no place to draw
        self._rows = draw_epoch(
            whole, seed=seed, epoch=0, meta_steps=0, fusion_steps=protocol.steps, batch=protocol.batch, crop=1
        ).ftr
        self._rows[..., FLIP_COLUMNS] *= protocol.flip != "none"
        self._rows[..., FLIP_ROWS] *= protocol.flip == "both"
        self._before, self._began = 0.0, time.monotonic()

    @property
    def steps(self) -> int:
        return self._protocol.steps

    @property
    def seconds(self) -> float:
        """Wall time so far, of the sittings before a checkpoint too."""
        return self._before + time.monotonic() - self._began

    def stage(self, index: int) -> str:
        return "downstream"

    def step(self, index: int) -> Terms:
        assert self._protocol.size is not None
        batch = self._images.resized(self._rows[index], self._protocol.size)
        device = self._images.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            # Networks that drop units at random draw the same in every sitting.
            torch.manual_seed(_mixed(self._seed, index))
            total = self.network.loss(batch.sources[0], batch)["total"]
            total.backward()
        if self._protocol.clip:
            torch.nn.utils.clip_grad_norm_(self._learned, self._protocol.clip)
        # A parameter that has no part in the loss has none.
        gradients: dict[str, Any] = {name: parameter.grad for name, parameter in self.network.named_parameters()}
        self._rule.update(gradients, self._protocol.rate(index))
        return {"total": total.detach()}

    def state(self) -> dict[str, Tensor]:
        return {
            **{_NETWORK + name: value for name, value in self.network.state_dict().items()},
            **{_OPTIMISER + name: value for name, value in self._rule.state().items()},
            _SECONDS: torch.tensor(self.seconds, dtype=torch.float64),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.network.load_state_dict(under(state, _NETWORK))
        self._rule.load_state(under(state, _OPTIMISER))
        self._before = float(state[_SECONDS])


def weights_digest(network: torch.nn.Module) -> str:
    """SHA-256 of the names, shapes and values of a network's state."""
    total = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        plain = value.detach().cpu().contiguous()
        total.update(f"{name} {tuple(plain.shape)} {plain.dtype}\n".encode())
        total.update(plain.view(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b"")
    return total.hexdigest()


def _mixed(seed: int, step: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:7], "big")
