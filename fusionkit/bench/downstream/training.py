"""Training of a downstream network: decided by its seed alone, and resumed from a checkpoint."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fusionkit.bench.downstream.protocol import Protocol
from fusionkit.bench.downstream.samples import Samples
from fusionkit.contracts import Downstream
from fusionkit.data.epoch_plan import FLIP_COLUMNS, FLIP_ROWS, PAIR, draw_epoch
from fusionkit.io.atomic import written_aside
from fusionkit.plugins.guard import PluginCallFailed

__all__ = ["Checkpoint", "Trained", "draw_plan", "train", "weights_digest"]

_WINDOWS = 60
_SAVE_SECONDS = 45.0


@dataclass(frozen=True)
class Checkpoint:
    """State of a training on disk.

    Attributes:
        path: the file.
        identity: of the training: the state of another one is not loaded.
    """

    path: Path
    identity: str

    def save(self, state: dict[str, Any]) -> None:
        """Write a state, whole or not at all.

        Raises:
            fusionkit.errors.DataError: it cannot be written.
        """
        with written_aside(self.path) as aside:
            torch.save({"identity": self.identity, **state}, aside)

    def load(self) -> dict[str, Any] | None:
        """The state, on the CPU; None if there is none of this training."""
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # a damaged file can raise anything; the training then starts again
            return None
        return state if state.get("identity") == self.identity else None


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes:
        losses: update -> mean of the loss since the entry before.
        seconds: wall time, all sittings.
    """

    losses: tuple[tuple[int, float], ...]
    seconds: float


def draw_plan(count: int, protocol: Protocol, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the samples of every update and their mirrorings: every sample once before any comes again.

    Args:
        count: number of samples.
        protocol: the schedule.
        seed: of the draws.

    Returns:
        ``(steps, batch)`` int64, and ``(steps, batch, 2)`` bool: mirrored left-right, top-bottom.
    """
    sizes = [(1, 1)] * count  # whole images: there is no place to draw
    steps, batch = protocol.steps, protocol.batch
    plan = draw_epoch(sizes, seed=seed, epoch=0, meta_steps=0, fusion_steps=steps, batch=batch, crop=1).ftr
    allowed = {"none": (False, False), "horizontal": (True, False), "both": (True, True)}[protocol.flip]
    return plan[..., PAIR], plan[..., [FLIP_COLUMNS, FLIP_ROWS]].bool() & torch.tensor(allowed)


def train(
    network: Downstream,
    samples: Samples,
    protocol: Protocol,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Checkpoint,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train ``network`` in place by Adam under a cosine schedule; it is left in evaluation mode.

    An update depends on the state, its number and the seed alone: an interrupted training ends with the same weights
    as an uninterrupted one.

    Args:
        network: on its device, with its initial weights.
        samples: what to train on.
        protocol: the schedule.
        seed: of every draw.
        device: where the network is.
        checkpoint: where to keep the state.
        progress: called with the number of updates done and of all.

    Raises:
        fusionkit.plugins.guard.PluginCallFailed: the loss is not finite.
    """
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=protocol.lr, weight_decay=protocol.weight_decay)
    done, losses, before = 0, [], 0.0
    if (state := checkpoint.load()) is not None:
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        done, losses, before = state["done"], [tuple(entry) for entry in state["losses"]], state["seconds"]
    order, flips = draw_plan(len(samples), protocol, seed)
    window = max(protocol.steps // _WINDOWS, 1)
    pending: list[Tensor] = []
    began = saved = time.monotonic()
    network.train()
    for step in range(done, protocol.steps):
        fused, batch = samples.batch(order[step].tolist(), flips[step], device=device)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            # Networks that drop units at random draw the same in every sitting.
            torch.manual_seed(_mixed(seed, step))
            total = network.loss(fused, batch)["total"]
            total.backward()
        pending.append(total.detach())
        if protocol.clip:
            torch.nn.utils.clip_grad_norm_(learned, protocol.clip)
        for group in optimiser.param_groups:
            group["lr"] = protocol.rate(step)
        optimiser.step()
        optimiser.zero_grad()
        done = step + 1
        if done % window and done < protocol.steps:
            continue
        losses.append((done, _mean(pending, done)))
        pending = []
        if progress:
            progress(done, protocol.steps)
        now = time.monotonic()
        if now - saved > _SAVE_SECONDS and done < protocol.steps:
            state = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            checkpoint.save({**state, "done": done, "losses": losses, "seconds": before + now - began})
            saved = time.monotonic()
    network.eval()
    return Trained(tuple(losses), before + time.monotonic() - began)


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


def _mean(pending: list[Tensor], done: int) -> float:
    mean = float(torch.stack(pending).double().mean())
    if mean != mean or mean in (float("inf"), float("-inf")):
        raise PluginCallFailed(f"the loss is not finite by update {done}: lower the learning rate, --set lr=...")
    return mean
