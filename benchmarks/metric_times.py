"""Time every metric on one core, at one size and at four times as many pixels, and all of them together.

    python benchmarks/metric_times.py [--size 480x640] [--rounds 3]

Two sources and float64. Printed are medians of the CPU milliseconds of one thread, the ratio between the sizes (4: time
grows with the pixels), the value, and the seconds of all metrics of one scene, whose intermediate results are shared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from unittest import mock

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import torch
from metrics import test_images
from torch import Tensor

from fusionkit.metrics import MetricInputs, build, evaluate, fmi
from fusionkit.metrics.native.library import load_native_fmi
from fusionkit.plugins import catalogue


def _tensors(height: int, width: int) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(image)[None, None] for image in test_images(height, width))


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Median of the thread's CPU seconds, after one call that is not counted."""
    work()
    taken = []
    for _ in range(rounds):
        start = time.thread_time()
        work()
        taken.append(time.thread_time() - start)
    return statistics.median(taken)


def _beside_pytorch(scene: tuple[Tensor, ...], rounds: int) -> None:
    """Print FMI's native form beside PyTorch's, in turns."""
    print("\n| FMI of | native, ms | PyTorch, ms | ratio |\n| --- | --- | --- | --- |")
    for feature in ("pixels", "gradient", "dct", "wavelet"):
        work = partial(fmi.feature_mutual_information, *scene, feature=feature)
        compiled, plain = [], []
        for _ in range(rounds):
            compiled.append(seconds(work, 1))
            with mock.patch.object(fmi, "load_native_fmi", return_value=None):
                plain.append(seconds(work, 1))
        mine, other = statistics.median(compiled), statistics.median(plain)
        print(f"| {feature} | {1e3 * mine:.0f} | {1e3 * other:.0f} | {other / mine:.1f} |")


def main() -> int:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x640", help="height x width  [default: 480x640]")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    height, width = (int(side) for side in given.size.split("x"))
    scenes = [_tensors(height * k, width * k) for k in (1, 2)]
    built = {entry.name: build(entry.name) for entry in catalogue.metrics.entries()}
    built = {name: metric for name, metric in built.items() if metric.info.needs != "truth"}
    native = load_native_fmi()
    print(f"{len(built)} metrics, float64, FMI {f'native {native.form}' if native else 'by PyTorch'}, ", end="")
    print(f"load {os.getloadavg()[0]:.1f}\n")
    rows = []
    with torch.no_grad():
        for name, metric in built.items():
            small, large = (seconds(lambda m=metric, s=s: m(*s), given.rounds) for s in scenes)  # type: ignore[misc]
            rows.append((small, name, large / small, float(metric(*scenes[0]))))
        together = [
            seconds(lambda s=s: evaluate(MetricInputs(*s), built, profile="standard"), given.rounds)  # type: ignore[misc]
            for s in scenes
        ]
    print(f"| metric | ms at {height}x{width} | growth for 4 times the pixels | value |\n| --- | --- | --- | --- |")
    for taken, name, growth, value in sorted(rows, reverse=True):
        print(f"| {name} | {1e3 * taken:.1f} | {growth:.1f} | {value:.6g} |")
    small, large = together
    print(f"\nAll {len(built)} together: {small:.2f} s, {large:.2f} s ({large / small:.1f} times).")
    if native:
        _beside_pytorch(scenes[0], given.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
