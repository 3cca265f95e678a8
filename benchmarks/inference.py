"""Time and memory of fusing one pair by the forms of ReFusion's network, side by side.

    python benchmarks/inference.py [--size 480x640] [--runs 5]
    python benchmarks/inference.py --memory 480x640,1080x1920,2160x3840

The first prints, for the published form, PyTorch's and the native one, the CPU seconds of one thread (medians, taken
in turns in one process), the ratio to the published form and the largest difference from it; then the wall seconds of
the native form on one and two threads. The second prints, for each size, the time of the native form per megapixel on
one thread and the peak of resident memory of a fresh process, from the sources as tensors to the fused luminance.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent.parent))

import fusionkit
from benchmarks.plain_refusion import PlainFuser

MODEL = "refusion:mif@v1"
"""A model of the published size, whose weights the published form takes as they are."""
Form = Callable[[Tensor, Tensor], Tensor]


def _size(text: str) -> tuple[int, int]:
    height, width = (int(part) for part in text.split("x"))
    return height, width


def _pair(height: int, width: int) -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(1, 1, height, width), torch.rand(1, 1, height, width)


def _in_turns(
    forms: Mapping[str, Form], pair: tuple[Tensor, Tensor], runs: int, clock: Callable[[], float]
) -> dict[str, float]:
    took: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(runs):
        for name, form in forms.items():
            start = clock()
            form(*pair)
            took[name].append(clock() - start)
    return {name: statistics.median(values) for name, values in took.items()}


def compare(size: tuple[int, int], runs: int) -> None:
    """Print the table of one size."""
    torch.set_num_threads(1)
    torch_form = fusionkit.load(MODEL, device="cpu", backend="torch").fuser
    native = fusionkit.load(MODEL, device="cpu", backend="native")
    published = PlainFuser().eval()
    published.load_state_dict(torch_form.state_dict())
    forms: dict[str, Form] = {"published form": published, "PyTorch": torch_form, native.backend: native.fuser}
    pair = _pair(*size)
    with torch.inference_mode():
        reference = published(*pair)
        apart = {name: float((form(*pair) - reference).abs().max()) for name, form in forms.items()}
        took = _in_turns(forms, pair, runs, time.process_time)
        print(f"{size[0]}x{size[1]}, one thread, torch {torch.__version__}, medians of {runs}\n")
        print("| form | CPU s | times as fast | largest difference |\n| --- | --- | --- | --- |")
        for name, seconds in took.items():
            ratio = took["published form"] / seconds
            print(f"| {name} | {seconds:.3f} | {ratio:.1f} | {apart[name]:.1e} |")

        wall: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(2):
            for threads, seconds_of in wall.items():
                torch.set_num_threads(threads)
                native.fuser(*pair)  # the first call after a change starts threads
                for _ in range(runs):
                    start = time.perf_counter()
                    native.fuser(*pair)
                    seconds_of.append(time.perf_counter() - start)
    one, two = (statistics.median(wall[threads]) for threads in (1, 2))
    print(f"\nwall s on 1 and 2 threads: {one:.3f}, {two:.3f}: {one / two:.2f}x")


def _one_size(size: tuple[int, int]) -> None:
    """Print CPU seconds per megapixel and this process's peak of resident memory in MiB."""
    torch.set_num_threads(1)
    model = fusionkit.load(MODEL, device="cpu", backend="native")
    pair = _pair(*size)
    start = time.process_time()
    with torch.inference_mode():
        model.fuser(*pair)
    per_megapixel = (time.process_time() - start) / (size[0] * size[1] / 1e6)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux states KiB
    print(f"| {size[0]}x{size[1]} | {per_megapixel:.2f} | {peak:.0f} |")


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=_size, default=(480, 640), metavar="HxW")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--memory", metavar="HxW,...", help="sizes whose memory and growth to print")
    parser.add_argument("--one-size", type=_size, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one_size:
        _one_size(given.one_size)
    elif given.memory:
        print("| size | CPU s per megapixel | peak MiB |\n| --- | --- | --- |", flush=True)
        for size in given.memory.split(","):
            subprocess.run([sys.executable, __file__, "--one-size", size], check=True)
    else:
        compare(given.size, given.runs)


if __name__ == "__main__":
    main()
