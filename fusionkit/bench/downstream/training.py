"""One training of a downstream network: fixed by its seed alone, and gone on with where it was stopped."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fusionkit.bench.downstream.protocol import Protocol
from fusionkit.bench.downstream.samples import Samples
from fusionkit.contracts import Downstream
from fusionkit.io.atomic import written_aside
from fusionkit.plugins.guard import PluginCallFailed
from fusionkit.train.bilevel.optimisers import GradientRule

__all__ = ["Checkpoint", "Trained", "draw_plan", "train", "weights_digest"]

_MODEL, _RULE = "network.", "optimiser."
_WINDOWS = 60
_SAVE_SECONDS = 45.0


@dataclass(frozen=True)
class Checkpoint:
    """Where a training keeps its state.

    Attributes:
        path: the file.
        identity: of what is trained: a state of another training is passed over.
    """

    path: Path
    identity: str


@dataclass(frozen=True)
class Trained:
    """How a training went.

    Attributes:
        losses: update -> mean of the loss since the entry before.
        seconds: wall time, all sittings.
    """

    losses: tuple[tuple[int, float], ...]
    seconds: float


def draw_plan(count: int, protocol: Protocol, seed: int) -> tuple[Tensor, Tensor]:
    """Which samples every update sees and how they are mirrored: every sample once before any comes again.

    Args:
        count: number of samples.
        protocol: the schedule.
        seed: of the draws.

    Returns:
        ``(steps, batch)`` int64 and ``(steps, batch, 2)`` bool.
    """
    generator = torch.Generator().manual_seed(seed)
    needed = protocol.steps * protocol.batch
    rounds = [torch.randperm(count, generator=generator) for _ in range(-(-needed // count))]
    order = torch.cat(rounds)[:needed].reshape(protocol.steps, protocol.batch)
    flips = torch.rand((protocol.steps, protocol.batch, 2), generator=generator) < 0.5
    allowed = {"none": (False, False), "horizontal": (True, False), "both": (True, True)}[protocol.flip]
    return order, flips & torch.tensor(allowed)


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
    """Train ``network`` in place by Adam under a cosine; it is left in evaluation mode.

    What an update does depends on the state, its number and the seed alone: a training that was stopped ends with
    the same weights as one that was not.

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
    rule = GradientRule(network, _optimiser(network, protocol))
    first, losses, before = _take_up(network, rule, checkpoint)
    order, flips = draw_plan(len(samples), protocol, seed)
    window = max(protocol.steps // _WINDOWS, 1)
    pending: list[Tensor] = []
    began = saved = time.monotonic()
    network.train()
    devices = [device] if device.type == "cuda" else []
    for step in range(first, protocol.steps):
        fused, batch = samples.batch(order[step].tolist(), flips[step], device=device)
        with torch.random.fork_rng(devices):
            # Networks that drop units at random draw the same in every sitting.
            torch.manual_seed(_mixed(seed, step))
            total = network.loss(fused, batch)["total"]
            total.backward()
        pending.append(total.detach())
        _update(rule, network, protocol, step)
        done = step + 1
        if done % window == 0 or done == protocol.steps:
            losses.append((done, _mean(pending, done)))
            pending = []
            if progress:
                progress(done, protocol.steps)
            now = time.monotonic()
            if now - saved > _SAVE_SECONDS and done < protocol.steps:
                _save(network, rule, checkpoint, done, losses, before + now - began)
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


def _optimiser(network: Downstream, protocol: Protocol) -> torch.optim.Optimizer:
    learned = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.AdamW(learned, lr=protocol.lr, weight_decay=protocol.weight_decay)


def _update(rule: GradientRule, network: Downstream, protocol: Protocol, step: int) -> None:
    if protocol.clip:
        torch.nn.utils.clip_grad_norm_(network.parameters(), protocol.clip)
    gradients = {
        name: parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
        for name, parameter in network.named_parameters()
    }
    rule.update(gradients, protocol.rate(step) / protocol.lr)


def _mixed(seed: int, step: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {step}".encode()).digest()[:7], "big")


def _mean(pending: list[Tensor], done: int) -> float:
    mean = float(torch.stack(pending).double().mean())
    if mean != mean or mean in (float("inf"), float("-inf")):
        raise PluginCallFailed(f"the loss is not finite by update {done}: lower the learning rate, --set lr=...")
    return mean


def _save(
    network: Downstream,
    rule: GradientRule,
    checkpoint: Checkpoint,
    done: int,
    losses: list[tuple[int, float]],
    seconds: float,
) -> None:
    state = {_MODEL + name: value for name, value in network.state_dict().items()}
    state |= {_RULE + name: value for name, value in rule.state().items()}
    about = {"identity": checkpoint.identity, "done": str(done), "seconds": str(seconds), "losses": json.dumps(losses)}
    with written_aside(checkpoint.path) as aside:
        save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, aside, about)


def _take_up(
    network: Downstream, rule: GradientRule, checkpoint: Checkpoint
) -> tuple[int, list[tuple[int, float]], float]:
    """Load a state of this training, if there is one: updates done, losses and seconds so far."""
    about = _about(checkpoint)
    if about is None:
        return 0, [], 0.0
    state = load_file(checkpoint.path)
    network.load_state_dict({k.removeprefix(_MODEL): v for k, v in state.items() if k.startswith(_MODEL)})
    rule.load_state({k.removeprefix(_RULE): v for k, v in state.items() if k.startswith(_RULE)})
    losses = [(int(step), float(loss)) for step, loss in json.loads(about["losses"])]
    return int(about["done"]), losses, float(about["seconds"])


def _about(checkpoint: Checkpoint) -> Mapping[str, str] | None:
    try:
        with safe_open(checkpoint.path, framework="pt") as opened:
            about: Mapping[str, str] = opened.metadata() or {}
    except (OSError, SafetensorError):
        return None
    return about if about.get("identity") == checkpoint.identity else None
