"""How long to train: a preset as it is, or cut to a number of steps, named wherever a result of it stands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fusionkit.config import as_dict, merged, resolve
from fusionkit.errors import UsageError, did_you_mean
from fusionkit.plugins import catalogue
from fusionkit.train.bilevel import BilevelOptions

TRAINER = "refusion"
DEFAULT = "quick"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule of ReFusion's trainer.

    Attributes:
        name: ``"quick"``, ``"quick-150"``: for folders.
        preset: the preset that it starts from.
        options: every option of the preset with the cut, so that a later change of the preset is noticed.
        steps: of the whole method; ablations that leave stages out have fewer.
        paper_steps: of the paper's own schedule.
    """

    name: str
    preset: str
    options: Mapping[str, Any]
    steps: int
    paper_steps: int

    @property
    def title(self) -> str:
        """What it is, in a sentence."""
        if self.steps == self.paper_steps:
            return f"preset `{self.preset}`, {self.steps:,} steps, the length of the paper's"
        how = "," if self.name == self.preset else " cut to"
        part = 100 * self.steps / self.paper_steps
        return f"preset `{self.preset}`{how} {self.steps:,} steps, {part:.2g} % of the paper's {self.paper_steps:,}"


def parse_schedule(text: str) -> Schedule:
    """``PRESET``, ``PRESET:STEPS``, or ``STEPS`` of the preset ``quick``.

    Raises:
        UsageError: no such preset, or no positive number of steps.
    """
    name, colon, count = text.partition(":")
    if not colon and text.isdigit():
        name, count = DEFAULT, text
    presets = catalogue.trainers.get(TRAINER).presets
    if name not in presets:
        raise UsageError(f"--schedule {text}: {did_you_mean(name, presets)}, or a number of steps")
    if (colon or count) and not (count.isdigit() and int(count) > 0):
        raise UsageError(f"--schedule {text}: write PRESET:STEPS with a positive number, as in quick:150")
    whole = trainer_options(presets[name])
    chosen = cut(whole, int(count)) if count else whole
    options = merged(presets[name], {"trainer": as_dict(chosen)})
    return Schedule(
        name=f"{name}-{steps_of(chosen)}" if count else name,
        preset=name,
        options=options,
        steps=steps_of(chosen),
        paper_steps=steps_of(trainer_options(presets["paper"])),
    )


def trainer_options(options: Mapping[str, Any]) -> BilevelOptions:
    """The schedule's part of a set of options."""
    config: Any = resolve(catalogue.trainers.get(TRAINER).Config, ("schedule", options))
    found: BilevelOptions = config.trainer
    return found


def steps_of(options: BilevelOptions) -> int:
    """Length of the whole method's training: the epochs that warm up or settle have no meta steps."""
    o = options
    return o.epochs * o.fusion_steps + (o.epochs - o.warmup - o.frozen_epochs) * o.meta_steps


def cut(options: BilevelOptions, steps: int) -> BilevelOptions:
    """A schedule of about ``steps`` steps and the same shape.

    Epochs are scaled by the root of the ratio and steps an epoch by the rest, so that neither runs out first: P and F
    go on taking turns, and pairs go on being split anew.
    """
    root = math.sqrt(steps / steps_of(options))
    epochs = max(round(options.epochs * root), 1)
    warmup = min(round(options.warmup * root), epochs - 1)
    shorter = replace(options, epochs=epochs, warmup=warmup)
    rest = steps / steps_of(shorter)
    return replace(
        shorter,
        meta_steps=max(round(options.meta_steps * rest), min(options.meta_steps, 1)),
        fusion_steps=max(round(options.fusion_steps * rest), min(options.fusion_steps, 1)),
    )
