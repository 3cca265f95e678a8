"""Measure a training step of ReFusion: time and memory as ratios, with lower bounds of arithmetic and traffic.

Usage: python benchmarks/train_step.py [--device cpu] [--batch 4] [--crop 128] [--rounds 7] [--threads 1]

Whole steps of the trainer are taken: crops, losses, gradients, updates. The variants take turns in one process, in an
order that turns round, so that whatever else the machine does falls on all of them; a ratio is one of medians, with
the quartiles of the ratios within a round. Time is CPU time of the process with one thread, wall time with more, and
the device's with CUDA. Peak memory is the growth of a fresh process's resident set, or the device's allocated peak.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from floors import Floors, Machine, measure_machine, step_floors
from plain_refusion import PlainFuser, PlainProposer, PlainReconstructor
from torch import nn

from fusionkit.contracts import Batch
from fusionkit.data.pair_store import PairStore
from fusionkit.tasks import MIF
from fusionkit.train.bilevel import BilevelOptions, BilevelTrainer, Networks, OneStep, meta_gradient
from fusionkit.train.run_folder import environment
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import ReFusionProposer
from fusionkit_refusion.reconstructor import ReFusionReconstructor

OURS = (ReFusionFuser, ReFusionProposer, ReFusionReconstructor)
PLAIN = (PlainFuser, PlainProposer, PlainReconstructor)

WHOLE = 2**20
"""More samples than any batch has, so that the plain form takes the batch as a whole."""

VARIANTS: Mapping[str, tuple[str, tuple[type[nn.Module], ...], Mapping[str, object]]] = {
    "meta: exact, forward mode": ("meta", OURS, {"one_step": OneStep(autodiff="forward")}),
    "meta: double backward": ("meta", OURS, {"one_step": OneStep(autodiff="double_backward")}),
    "meta: double backward, plain networks": ("meta", PLAIN, {"one_step": OneStep(autodiff="double_backward")}),
    "meta: image space": ("meta", OURS, {"hypergradient": "image_space"}),
    "meta: at the optimum": ("meta", OURS, {"hypergradient": "closed_form"}),
    "fusion": ("fusion", OURS, {}),
    "fusion: plain networks": ("fusion", PLAIN, {"micro_batch": WHOLE}),
}
"""Stage, networks and trainer options by name."""

RATIOS = (
    ("meta: exact, forward mode", "meta: double backward"),
    ("meta: exact, forward mode", "meta: double backward, plain networks"),
    ("meta: image space", "meta: exact, forward mode"),
    ("meta: at the optimum", "meta: exact, forward mode"),
    ("fusion", "fusion: plain networks"),
)
"""Pairs of variants; the table shows the second's time and memory divided by the first's."""

Step = Callable[[], object]


def build_step(name: str, options: argparse.Namespace) -> Step:
    """Return a function that takes one more step of a variant per call."""
    stage, kinds, changes = VARIANTS[name]
    device = torch.device(options.device)
    images = torch.randint(
        0, 256, (8, 2, 1, options.crop + 16, options.crop + 24), dtype=torch.uint8, generator=_generator()
    )
    store = PairStore(MIF, [list(pair) for pair in images], device=device, smallest=options.crop)
    meta = stage == "meta"
    schedule = BilevelOptions(
        epochs=1,
        meta_steps=10_000 if meta else 0,
        fusion_steps=1 if meta else 10_000,
        batch=options.batch,
        crop=options.crop,
        **changes,  # type: ignore[arg-type]
    )

    class Trainer(BilevelTrainer):
        def build_networks(self, config: Any, source: PairStore) -> Networks:
            fuser, proposer, outer_loss = (kind() for kind in kinds)
            return Networks(fuser, proposer, outer_loss)

    trainer = Trainer(SimpleNamespace(trainer=schedule), store, device=device, precision=options.precision, seed=0)
    numbers = iter(range(10_000))
    return lambda: trainer.step(next(numbers))


def seconds(step: Step, device: str, threads: int) -> float:
    """Time and memory of one step."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    clock = time.process_time if device == "cpu" and threads == 1 else time.perf_counter
    began = clock()
    step()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - began


def peak(name: str, options: argparse.Namespace) -> float:
    """Measure the MiB that one step needs beyond the memory before it; call in a fresh process."""
    step = build_step(name, options)
    if options.device.startswith("cuda"):
        step()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # Linux forgets the high-water mark on request, so that what imports took does not hide the step.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    step()
    return _resident("VmHWM") - before


def take_turns(steps: Mapping[str, Step], options: argparse.Namespace) -> dict[str, list[float]]:
    """Measure the seconds of every variant in every round, after a warm-up round."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.rounds + 1):
        order = list(steps) if turn % 2 else list(reversed(steps))
        for name in order:
            taken = seconds(steps[name], options.device, options.threads)
            if turn:
                times[name].append(taken)
    return times


def exactness(dtype: torch.dtype, device: torch.device) -> float:
    """Relative error of the forward form against double backward on 2 x 32x32."""
    torch.manual_seed(0)
    networks = [kind().to(device=device, dtype=dtype) for kind in OURS]
    mtr, mts = (
        Batch(tuple(torch.rand(2, 1, 32, 32, dtype=dtype, generator=_generator(k)).to(device) for k in pair))
        for pair in ((1, 2), (3, 4))
    )
    flat = [
        torch.cat([g.flatten() for g in found.proposer.values()]).double()
        for found in (
            meta_gradient(*networks, mtr, mts, eta_fuser=1e-4, eta_outer_loss=1e-4, method=method)  # type: ignore[arg-type]
            for method in ("forward", "double_backward")
        )
    ]
    return float((flat[0] - flat[1]).norm() / flat[1].norm())


def print_times(times: Mapping[str, list[float]], peaks: Mapping[str, float], floors: Mapping[str, Floors]) -> None:
    print(f"{'step':40}{'seconds':>9}{'quartiles':>16}{'peak MiB':>10}{'floor s':>9}{'GFLOP':>8}{'kept MiB':>10}")
    for name, taken in times.items():
        low, _, high = statistics.quantiles(taken, n=4)
        floor = floors[name]
        print(
            f"{name:40}{statistics.median(taken):9.3f}{low:9.3f}-{high:.3f} {peaks[name]:9.0f}"
            f"{floor.seconds:9.3f}{floor.flops / 1e9:8.1f}{floor.kept / 2**20:10.0f}"
        )


def print_ratios(times: Mapping[str, list[float]], peaks: Mapping[str, float]) -> None:
    print(f"\n{'how much less':80}{'time':>7}{'quartiles':>13}{'memory':>9}")
    for ours, other in RATIOS:
        if ours not in times or other not in times:
            continue
        ratio = statistics.median(times[other]) / statistics.median(times[ours])
        low, _, high = statistics.quantiles([b / a for a, b in zip(times[ours], times[other], strict=True)], n=4)
        label = f"{ours}, against {other}"
        print(f"{label:80}{ratio:6.2f}x{low:7.2f}-{high:.2f}{peaks[other] / peaks[ours]:8.2f}x")


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def _peak_in_fresh_process(name: str) -> float:
    command = [sys.executable, __file__, *sys.argv[1:], "--peak-of", name]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("fp32", "tf32", "bf16"), default="fp32")
    parser.add_argument("--only", choices=("meta", "fusion"), help="one stage alone")
    parser.add_argument("--peak-of", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds {options.rounds}: quartiles need at least 2")
    return options


def main() -> None:
    options = _parse(sys.argv[1:])
    torch.set_num_threads(options.threads)
    if options.peak_of:
        print(json.dumps(peak(options.peak_of, options)))
        return
    names = [name for name, (stage, *_) in VARIANTS.items() if options.only in (None, stage)]
    machine: Machine = measure_machine(torch.device(options.device))
    about = environment()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"batch {options.batch}, {options.crop}x{options.crop}, {options.precision}, {options.threads} threads")
    print(
        f"{about['accelerator'] or about['processor']}, {os.cpu_count()} cores, torch {torch.__version__}, load {load}"
    )
    print(f"measured: {machine.flops / 1e9:.0f} GFLOP/s in a matrix product, {machine.bytes / 1e9:.1f} GB/s in a copy")
    for dtype in (torch.float64, torch.float32):
        error = exactness(dtype, torch.device(options.device))
        print(f"relative error of the forward form against double backward, {dtype}: {error:.1e}")
    steps = {name: build_step(name, options) for name in names}
    floors = {name: step_floors(step, machine) for name, step in steps.items()}
    peaks = {name: _peak_in_fresh_process(name) for name in names}
    times = take_turns(steps, options)
    print()
    print_times(times, peaks, floors)
    print_ratios(times, peaks)


if __name__ == "__main__":
    main()
