"""Training schedule and image size of a downstream network, the same for every compared method."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from fusionkit.config import parse_assignments, resolve
from fusionkit.errors import UsageError, did_you_mean

__all__ = ["PRESETS", "Protocol", "network_digest", "parse_size", "resolve_protocol", "split_assignments"]

_MULTIPLE = 32
"""Sides that are chosen by themselves are multiples of the stride of usual networks."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The schedule of one training.

    Attributes:
        size: height and width that every image is resized to; None for the training images' own, at most ``longest``.
        longest: the longer side where no size is given.
        steps: number of updates.
        batch: images per update.
        lr: greatest learning rate of Adam.
        lr_end: share of it that the cosine ends at.
        warmup: updates in which it rises linearly from 0.
        weight_decay: decoupled, as in AdamW; 0 is Adam.
        clip: greatest norm of the gradient of an update; 0 for any.
        flip: which random mirrorings augment the training images.
    """

    size: tuple[int, int] | None = None
    longest: int = 256
    steps: int = 400
    batch: int = 4
    lr: float = 1e-3
    lr_end: float = 0.01
    warmup: int = 50
    weight_decay: float = 0.0
    clip: float = 10.0
    flip: Literal["none", "horizontal", "both"] = "horizontal"

    def rate(self, step: int) -> float:
        """Learning rate of update ``step``, from 0: a linear rise, then half a cosine.

        >>> Protocol(steps=100, warmup=0, lr=1.0, lr_end=0.0).rate(50)
        0.5
        """
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        along = (step - self.warmup) / max(self.steps - self.warmup, 1)
        return self.lr * (self.lr_end + (1 - self.lr_end) * (1 + math.cos(math.pi * along)) / 2)

    def sized(self, height: int, width: int) -> Protocol:
        """The protocol for training images of a size: with the size that they are resized to filled in.

        >>> Protocol(longest=320).sized(1024, 1280).size
        (256, 320)
        """
        if self.size is not None:
            return self
        scale = min(self.longest / max(height, width), 1.0)
        own = tuple(max(round(side * scale / _MULTIPLE), 1) * _MULTIPLE for side in (height, width))
        return replace(self, size=(own[0], own[1]))


_DRAWS = 2
"""Version of how batches and mirrorings are drawn: trainings of other versions are in tables of their own."""

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick": {},
    "paper": {"longest": 640, "steps": 40_000, "batch": 8, "lr": 1e-4, "warmup": 500},
}
"""``quick`` is for a CPU, minutes per training; ``paper`` is of the length and size that papers train such networks."""


def resolve_protocol(preset: str, size: str | None, given: Mapping[str, Any]) -> Protocol:
    """The protocol of a preset with what was given over it.

    Args:
        preset: name of one of :data:`PRESETS`.
        size: ``HEIGHTxWIDTH``, or None.
        given: options by name.

    Raises:
        fusionkit.errors.UsageError: an unknown preset or option, or a value that makes no sense.
    """
    if preset not in PRESETS:
        raise UsageError(f"--preset {preset!r}: {did_you_mean(preset, PRESETS)}")
    layers: list[tuple[str, Mapping[str, Any]]] = [(f"preset {preset}", PRESETS[preset]), ("--set", given)]
    if size is not None:
        layers.append(("--size", {"size": parse_size(size)}))
    protocol = resolve(Protocol, *layers)
    _check(protocol)
    return protocol


def parse_size(text: str) -> tuple[int, int]:
    """``"256x320"`` as height and width.

    Raises:
        fusionkit.errors.UsageError: it is written otherwise.
    """
    found = re.fullmatch(r"(\d+)\s*[xX]\s*(\d+)", text.strip())
    if found is None:
        raise UsageError(f"--size {text!r}: write HEIGHTxWIDTH, as in 256x320")
    return int(found[1]), int(found[2])


def split_assignments(assignments: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``--set`` values: options of the protocol, and of the network (``network.NAME=VALUE``).

    Raises:
        fusionkit.errors.UsageError: an assignment without ``=`` or without a name.
    """
    given = parse_assignments(assignments)
    network = given.pop("network", {})
    if not isinstance(network, dict):
        raise UsageError("--set network: is a group of options: write network.NAME=VALUE")
    return given, network


def network_digest(network: Mapping[str, Any], protocol: Mapping[str, Any]) -> str:
    """A digest of all that the methods of one table share beside the data: the network and the protocol's options."""
    decisive = {"network": dict(network), "protocol": dict(protocol), "draws": _DRAWS}
    text = json.dumps(decisive, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _check(protocol: Protocol) -> None:
    sides = [*(protocol.size or ()), protocol.longest]
    rules = (
        ("size", min(sides) >= _MULTIPLE, f"sides of {_MULTIPLE} pixels or more are needed"),
        ("steps", protocol.steps >= 1, "1 or more"),
        ("batch", protocol.batch >= 1, "1 or more"),
        ("lr", math.isfinite(protocol.lr) and protocol.lr > 0, "above 0"),
        ("lr_end", 0 <= protocol.lr_end <= 1, "a share from 0 to 1"),
        ("warmup", protocol.warmup >= 0, "0 or more"),
        ("weight_decay", protocol.weight_decay >= 0, "0 or more"),
        ("clip", protocol.clip >= 0, "0 (none) or more"),
    )
    for name, holds, wanted in rules:
        if not holds:
            raise UsageError(f"--set {name}={getattr(protocol, name)}: {wanted}")
