"""Training, fusing and scoring on a GPU, beside the CPU of the same machine where that takes seconds.

    python benchmarks/gpu.py [--steps 200] [--pairs 100] [--device cuda] [--only train,fuse,score]

Every figure is a median over repetitions, with the device waited for. Training: milliseconds per step of ReFusion at
the paper's size (batch 4 of 128x128) and at the presets' (64x64), replayed from a CUDA graph and eagerly, and what that
makes of the paper's 30,000 meta and 80,000 fusion steps. Fusing: pairs per second of one network call and from arrays
to an 8-bit array in colour. Scoring: milliseconds per pair for the eleven metrics of ReFusion's tables.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import fusionkit
from fusionkit.data.pair_store import PairStore
from fusionkit.metrics import score
from fusionkit.runtime.precision import float32_products
from fusionkit.tasks import MIF
from fusionkit.train.bilevel import BilevelOptions, BilevelTrainer, Networks
from fusionkit.train.run_folder import environment
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import ReFusionProposer
from fusionkit_refusion.reconstructor import ReFusionReconstructor

META, FUSION = 30_000, 80_000
"""Steps of the paper's schedule: 50 epochs of 600 meta and 1,600 fusion steps."""
ELEVEN = ("EN", "SD", "SF", "AG", "SCD", "VIFp", "Qabf", "SSIM", "MI", "CC", "PSNR")
MODEL = "refusion:ivif"


class ReFusion(BilevelTrainer):
    def build_networks(self, config: Any, source: PairStore) -> Networks:
        return Networks(ReFusionFuser(), ReFusionProposer(), ReFusionReconstructor())


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int, warm: int = 5) -> float:
    """Median of the milliseconds that ``work`` takes."""
    taken = []
    for turn in range(warm + repeats):
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if turn >= warm:
            taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def step_of(stage: str, crop: int, precision: str, device: torch.device, **options: Any) -> Callable[[], object]:
    """Return a function that takes one more step per call."""
    images = torch.randint(0, 256, (8, 2, 1, crop + 16, crop + 24), dtype=torch.uint8)
    store = PairStore(MIF, [list(pair) for pair in images], device=device, smallest=crop)
    meta, fusion = (10_000, 1) if stage == "meta" else (0, 10_000)
    schedule = BilevelOptions(epochs=1, batch=4, crop=crop, meta_steps=meta, fusion_steps=fusion, **options)
    trainer = ReFusion(SimpleNamespace(trainer=schedule), store, device=device, precision=precision, seed=0)
    numbers = itertools.count()
    return lambda: trainer.step(next(numbers))


def train(device: torch.device, steps: int) -> None:
    """Print the table of training steps."""
    print("\n| crop | precision | step | ms, captured | ms, eager |\n| --- | --- | --- | --- | --- |")
    whole: dict[str, float] = {}
    graphs = device.type == "cuda"
    for crop, precision in ((128, "fp32"), (128, "tf32"), (128, "bf16"), (64, "fp32")):
        if not graphs and (crop, precision) != (64, "fp32"):
            continue
        for stage, hypergradient in (("meta", "one_step"), ("meta", "closed_form"), ("fusion", "one_step")):
            options = {"hypergradient": hypergradient}
            with float32_products(tf32=precision == "tf32"):
                eager = milliseconds(
                    step_of(stage, crop, precision, device, cuda_graphs=False, **options), device, max(steps // 10, 5)
                )
                captured = (
                    milliseconds(step_of(stage, crop, precision, device, **options), device, steps) if graphs else eager
                )
            name = stage if stage == "fusion" else f"{stage}, {hypergradient}"
            print(f"| {crop} | {precision} | {name} | {captured:.2f} | {eager:.2f} |", flush=True)
            if crop == 128 and hypergradient == "one_step":
                whole[precision] = whole.get(precision, 0.0) + captured * (META if stage == "meta" else FUSION) / 60_000
    for precision, minutes in whole.items():
        print(f"the paper's {META + FUSION:,} steps at these rates, {precision}: {minutes:.1f} minutes")


def fuse(device: torch.device, pairs: int) -> None:
    """Print pairs per second."""
    print("\n| size | batch | network, pairs/s | arrays to array in colour, pairs/s |\n| --- | --- | --- | --- |")
    model = fusionkit.load(MODEL, device=str(device))
    for (height, width), batch in itertools.product(((480, 640), (1080, 1920)), (1, 8)):
        generator = np.random.default_rng(0)
        grey = generator.integers(0, 256, (height, width), dtype=np.uint8)
        colour = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
        tensors = [torch.rand(batch, 1, height, width, device=device) for _ in range(2)]
        repeats = max(pairs // batch, 3) if device.type == "cuda" else 3
        with torch.inference_mode(), float32_products():
            network = milliseconds(lambda x=tensors: model.fuser(*x), device, repeats)  # type: ignore[misc]
        whole = ""
        if batch == 1:
            whole = f"{1000 / milliseconds(lambda: model.fuse(grey, colour).array(), device, repeats):.1f}"  # noqa: B023
        print(f"| {height}x{width} | {batch} | {1000 * batch / network:.1f} | {whole} |", flush=True)


def metrics(device: torch.device, pairs: int) -> None:
    """Print milliseconds per pair."""
    print("\n| size | type | batch | ms per pair, 11 metrics |\n| --- | --- | --- | --- |")
    for kind, batch in itertools.product((torch.float64, torch.float32), (1, 16)):
        if device.type != "cuda" and batch > 1:
            continue
        a, b = (torch.rand(batch, 1, 480, 640, dtype=kind, device=device).mul(255).round() for _ in range(2))
        fused = (a + b).div(2).round()
        taken = milliseconds(lambda x=(fused, a, b): score(*x, metrics=ELEVEN), device, max(pairs // (4 * batch), 3), 2)  # type: ignore[misc]
        print(f"| 480x640 | {str(kind).removeprefix('torch.')} | {batch} | {taken / batch:.2f} |", flush=True)


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=200, help="training steps measured per row")
    parser.add_argument("--pairs", type=int, default=100, help="pairs measured per row")
    parser.add_argument("--only", default="train,fuse,score")
    given = parser.parse_args()
    device = torch.device(given.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device {given.device}: PyTorch {torch.__version__} sees no CUDA device here: use --device cpu")
    about = environment()
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else about["processor"]
    print(f"{where}, {os.cpu_count()} CPU cores, torch {torch.__version__}")
    torch.manual_seed(0)
    for name, part, count in (
        ("train", train, given.steps),
        ("fuse", fuse, given.pairs),
        ("score", metrics, given.pairs),
    ):
        if name in given.only.split(","):
            part(device, count)


if __name__ == "__main__":
    main()
