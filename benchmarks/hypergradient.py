"""The exact hypergradient beside double backward: error, time and peak memory, side by side in one run.

Usage: python benchmarks/hypergradient.py [--batch 4] [--crop 128] [--repeats 3]

Time is the CPU time of the calling thread's process with one thread (or the device's time on CUDA), the two methods
in turns; peak memory is the growth of a fresh process's resident set (or the device's allocated peak).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from fusionkit.contracts import Batch
from fusionkit.meta import image_meta_gradient, meta_gradient
from fusionkit.runs import environment
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import ReFusionProposer
from fusionkit_refusion.reconstructor import ReFusionReconstructor

METHODS = ("forward", "double_backward", "image")


def _networks(dtype: torch.dtype, device: torch.device) -> list[torch.nn.Module]:
    torch.manual_seed(0)
    networks = [ReFusionFuser(), ReFusionProposer(), ReFusionReconstructor()]
    return [network.to(device=device, dtype=dtype) for network in networks]


def _batch(batch: int, crop: int, dtype: torch.dtype, device: torch.device) -> Batch:
    return Batch(tuple(torch.rand(batch, 1, crop, crop, dtype=dtype, device=device) for _ in range(2)))


def _gradient(method: str, networks: list, mtr: Batch, mts: Batch) -> torch.Tensor:
    if method == "image":
        found = image_meta_gradient(*networks, mts, eta=1e-4)
    else:
        found = meta_gradient(*networks, mtr, mts, eta_fuser=1e-4, eta_critic=1e-4, method=method)
    return torch.cat([g.flatten() for g in found.proposer.values()])


def _seconds(call, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return time.perf_counter() - began
    began = time.process_time()
    call()
    return time.process_time() - began


def _peak(method: str, batch: int, crop: int, device: torch.device) -> float:
    networks = _networks(torch.float32, device)
    mtr, mts = (_batch(batch, crop, torch.float32, device) for _ in range(2))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _gradient(method, networks, mtr, mts)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    # Linux forgets the high-water mark on request, so that what imports took does not hide the step.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    _gradient(method, networks, mtr, mts)
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak-of", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    if options.peak_of:
        print(json.dumps(_peak(options.peak_of, options.batch, options.crop, device)))
        return

    machine = environment()
    where = machine["accelerator"] or machine["processor"]
    print(f"batch {options.batch}, {options.crop}x{options.crop}, {where}, torch {torch.__version__}")
    for dtype in (torch.float64, torch.float32):
        networks = _networks(dtype, device)
        mtr, mts = (_batch(2, 32, dtype, device) for _ in range(2))
        exact, double = (_gradient(method, networks, mtr, mts).double() for method in METHODS[:2])
        error = (exact - double).norm() / double.norm()
        print(f"relative error of the forward form against double backward, {dtype}: {error:.2e}")

    networks = _networks(torch.float32, device)
    mtr, mts = (_batch(options.batch, options.crop, torch.float32, device) for _ in range(2))
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for turn in range(options.repeats + 1):
        for method in METHODS:
            seconds = _seconds(lambda method=method: _gradient(method, networks, mtr, mts), device)
            if turn:
                times[method].append(seconds)
    base = statistics.median(times["double_backward"])
    peaks = {}
    for method in METHODS:
        command = [sys.executable, __file__, *sys.argv[1:], "--peak-of", method]
        peaks[method] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    heads = f"{'seconds':>10}{'least':>8}{'most':>8}{'time ratio':>12}{'peak MiB':>10}{'memory ratio':>14}"
    print(f"{'hypergradient':18}{heads}")
    for method in METHODS:
        median = statistics.median(times[method])
        print(
            f"{method:18}{median:10.3f}{min(times[method]):8.3f}{max(times[method]):8.3f}{base / median:11.2f}x"
            f"{peaks[method]:10.0f}{peaks['double_backward'] / peaks[method]:13.2f}x"
        )


if __name__ == "__main__":
    main()
