"""Tests a MetaTrainer against its contract."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from fusionkit.config import resolve
from fusionkit.contracts import Fuser, MetaTrainer
from fusionkit.data.pair_store import PairStore
from fusionkit.errors import FusionkitError
from fusionkit.runtime.precision import float32_products
from fusionkit.testing.examples import example_labelled_pairs, example_pairs, example_sources
from fusionkit.testing.rules import (
    Notes,
    check_config,
    fail,
    place_of,
    require,
    require_close,
    require_same,
    require_terms,
)


def check_trainer(
    trainer: type[MetaTrainer],
    *,
    source: PairStore | None = None,
    config: Any = None,
    steps: int = 4,
    device: torch.device | str = "cpu",
) -> Notes:
    """Check that a trainer keeps its contract.

    Presets that build, a schedule with named stages, finite losses, steps that depend on the state, their number and
    the seed alone, and a state that goes through a file and leads a new trainer to the same next steps: bit for bit on
    the CPU, and up to rounding elsewhere, where sums are taken in another order at each call.

    Args:
        trainer: the class.
        source: training pairs on ``device``; synthetic ones of 136x144 pixels when None, with the labels that the
            config needs.
        config: an instance of ``trainer.Config``, best one whose first ``steps`` steps meet every stage; the first
            preset when None.
        steps: how many steps to take, at least 2; half of them before and half after the state is handed over.
        device: where to run it, such as what the pytest fixture ``fusionkit_device`` gives.

    Raises:
        AssertionError: a rule is broken; the message says which and what to do.
        unittest.SkipTest: ``device`` is a CUDA device and there is none here.
    """
    place = place_of(device)
    subject = f"MetaTrainer {trainer.__name__}"
    require(issubclass(trainer, MetaTrainer), subject, "it is not a MetaTrainer", "subclass MetaTrainer")
    require(bool(trainer.fuser_name), subject, "fuser_name is blank", "set it to the registered name of its fuser")
    presets = _check_presets(subject, trainer)
    options = config if config is not None else next(iter(presets.values()), None)
    options = options if options is not None else trainer.Config()
    pairs = source if source is not None else _example_source(trainer, options, place)

    def build(seed: int = 0) -> MetaTrainer:
        return trainer(options, pairs, device=place, precision="fp32", seed=seed)

    with float32_products():
        first = build()
        notes = _check_schedule(subject, first, steps)
        require(first.config == options, subject, "self.config is not the config it was given", "set it in __init__")
        require(first.source is pairs, subject, "self.source is not the source it was given", "set it in __init__")
        _check_fuser(subject, first.fuser(), place)
        _check_steps(subject, build, steps)
        _check_snapshot(subject, first, place)
    return notes


def _example_source(trainer: type[MetaTrainer], options: Any, device: torch.device) -> PairStore:
    kind = trainer.label_kind(options)
    return example_pairs(device=device) if kind is None else example_labelled_pairs(kind, device=device)


def _check_presets(subject: str, trainer: type[MetaTrainer]) -> dict[str, Any]:
    check_config(subject, trainer.Config)
    built: dict[str, Any] = {}
    for name, values in trainer.presets.items():
        try:
            built[name] = resolve(trainer.Config, (f"preset {name}", values))
        except FusionkitError as error:
            fail(subject, f"its preset {name!r} does not build ({error})", "name options of Config alone")
        remedy = "say in preset_notes what it is for"
        require(bool(trainer.preset_notes.get(name, "").strip()), subject, f"the preset {name!r} has no note", remedy)
    extra = set(trainer.preset_notes) - set(trainer.presets)
    require(not extra, subject, f"preset_notes names {', '.join(sorted(extra))}", "name presets alone")
    return built


def _check_schedule(subject: str, trainer: MetaTrainer, steps: int) -> Notes:
    total = trainer.steps
    whole = isinstance(total, int) and total >= 1
    require(whole, subject, f"steps is {total!r}", "give the length of the schedule, 1 or more")
    stages = [trainer.stage(index) for index in range(min(total, 100_000))]
    named = all(isinstance(stage, str) and stage for stage in stages)
    require(named, subject, "a step has no stage", "name the stage of every step below steps")
    require(total >= steps, subject, f"its schedule has {total} steps, too few to try {steps}", "give a longer config")
    missed = sorted(set(stages) - set(stages[:steps]))
    if missed:
        return (f"{subject}: the steps tried met no {' or '.join(missed)} step: give a config that reaches them",)
    return ()


def _check_fuser(subject: str, fuser: Fuser, device: torch.device) -> None:
    found = f"fuser() returns a {type(fuser).__name__}"
    require(isinstance(fuser, Fuser), subject, found, "return the Fuser as trained so far")
    remedy = "train a fuser with parameters"
    weights = list(fuser.parameters())
    require(bool(weights), subject, "its fuser has no parameters", remedy)
    found = f"trained on {device}, its fuser has weights on {weights[0].device}"
    require(weights[0].device.type == device.type, subject, found, "build its networks on the device it is given")


def _check_steps(subject: str, build: Callable[[], MetaTrainer], steps: int) -> None:
    half = steps // 2
    torch.manual_seed(11)
    one = build()
    start = _state(subject, one)
    whole = _run(subject, one, range(steps))
    end = _state(subject, one)
    changed = [name for name in end if name not in start or not torch.equal(end[name], start[name])]
    require(bool(changed), subject, f"{steps} steps change nothing in state()", "return all weights from state()")

    torch.manual_seed(12)  # a step may not draw from torch's global stream
    other = build()
    remedy = "draw from a generator seeded by the seed and the step's number"
    again = _run(subject, other, range(half))
    _check_terms_equal(subject, "with one seed, two runs differ", whole[:half], again, remedy)
    middle = _state(subject, other)

    torch.manual_seed(13)
    stored = safetensors.torch.load(safetensors.torch.save(middle))
    resumed = build()
    resumed.load_state(stored)
    unchanged = {name: value.clone() for name, value in stored.items()}
    taken = _state(subject, resumed)
    remedy = "put into state() all that later steps depend on, and take all of it up in load_state()"
    require(set(taken) == set(middle), subject, "state() names other tensors after load_state()", remedy)
    for name, value in middle.items():
        require_same(subject, f"{name!r} is not what load_state() was given", taken[name], value, remedy)
    rest = _run(subject, resumed, range(half, steps))
    _check_terms_equal(subject, "a resumed run takes other steps", whole[half:], rest, remedy)
    for name, value in _state(subject, resumed).items():
        _require_equal(subject, f"after a resumed run {name!r} is another", value, end[name], remedy)
    for name, value in stored.items():
        what = f"steps change {name!r} of the state that load_state() was given"
        require_same(subject, what, value, unchanged[name], "copy what load_state() takes up")


def _run(subject: str, trainer: MetaTrainer, indices: range) -> list[dict[str, Tensor]]:
    log = []
    for index in indices:
        terms = trainer.step(index)
        require_terms(f"{subject}, step {index}", terms)
        held = [name for name, value in terms.items() if value.requires_grad]
        remedy = "detach the losses that step() returns"
        require(not held, subject, f"the terms {', '.join(held)} hold on to their graph", remedy)
        log.append({name: value.clone() for name, value in terms.items()})
    return log


def _state(subject: str, trainer: MetaTrainer) -> dict[str, Tensor]:
    """A copy of the trainer's state, which must be one flat dictionary that a file can hold."""
    state = trainer.state()
    flat = isinstance(state, Mapping) and all(isinstance(value, Tensor) for value in state.values())
    require(
        flat, subject, "state() is not a flat dictionary of tensors", "turn numbers into tensors, join nested names"
    )
    copied = {name: value.detach().clone() for name, value in state.items()}
    try:
        safetensors.torch.save(copied)
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        fail(subject, f"state() cannot be written as safetensors ({reason})", "return dense contiguous tensors")
    return copied


def _check_terms_equal(
    subject: str, what: str, one: list[dict[str, Tensor]], other: list[dict[str, Tensor]], remedy: str
) -> None:
    for (number, left), right in zip(enumerate(one), other, strict=True):
        require(set(left) == set(right), subject, f"{what}: other terms in step {number}", remedy)
        for name in left:
            _require_equal(subject, f"{what}: {name!r} of step {number}", right[name], left[name], remedy)


def _require_equal(subject: str, what: str, one: Tensor, other: Tensor, remedy: str) -> None:
    """Equal bit for bit on the CPU; up to rounding on devices that add in another order at each call."""
    if other.device.type == "cpu":
        require_same(subject, what, one, other, remedy)
    else:
        require_close(subject, what, one, other.to(one.device), 1e-3, remedy)


def _check_snapshot(subject: str, trainer: MetaTrainer, device: torch.device) -> None:
    fuser = trainer.fuser()
    channels = 3 if fuser.space == "rgb" else 1
    sources = example_sources((20, 24), channels=channels, device=device)
    shown = trainer.snapshot(sources)
    require("fused" in shown, subject, "snapshot() does not show the fused image", 'give it the name "fused"')
    for name, image in itertools.islice(shown.items(), 100):
        fits = image.ndim == 4 and image.shape[0] == 1 and image.shape[2:] == sources[0].shape[2:]
        found = f"the snapshot {name!r} is {tuple(image.shape)}"
        require(fits, subject, found, "make it (1, 1, H, W) of the sources' size")
        low, high = float(image.min()), float(image.max())
        within = low >= -1e-5 and high <= 1 + 1e-5
        require(within, subject, f"the snapshot {name!r} has values from {low:.4g} to {high:.4g}", "scale it to [0, 1]")
