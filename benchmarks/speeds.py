"""What the speeds of fusing cost in quality, and the time that they take.

    python -m benchmarks.speeds --data DATA --task ivif --task meif [--pairs 4] [--model refusion]

Prints, for each data set, SCD / Qabf / VIFp of 8-bit results on evenly spaced test pairs at every speed, then the CPU
milliseconds of one thread of a 480x640 pair: the fuser's call, and the whole way from decoded images to the pixels of
the result, for grey sources and for a grey with a colour one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import fusionkit
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_set import Pair
from fusionkit.fuse.model import Model
from fusionkit.fuse.reduced import Speed
from fusionkit.io.color import luminance
from fusionkit.io.images import Image, read_image
from fusionkit.metrics import score
from fusionkit.plugins import catalogue

METRICS = ("SCD", "Qabf", "VIFp")
SPEEDS = get_args(Speed)


def _models(name: str, task: str | None) -> dict[str, Model]:
    return {speed: fusionkit.load(name, task, device="cpu", speed=speed) for speed in SPEEDS}


def _luminance(image: Image) -> torch.Tensor:
    return (luminance(image.tensor()) * 255).round()


def _pixels(model: Model, *sources: Image) -> Image:
    return model.fuse(*sources).image


def quality(data: str, task: str, model: str, pairs: int) -> None:
    """Print a row per data set."""
    models = _models(model, task)
    found = find_pairs(data, catalogue.tasks.get(task), split="test")
    sets: dict[str, list[Pair]] = {}
    for pair in found:
        sets.setdefault(pair.dataset, []).append(pair)
    for name, members in sets.items():
        chosen = members[:: max(1, len(members) // pairs)][:pairs]
        values: dict[str, list[list[float]]] = {speed: [] for speed in SPEEDS}
        for pair in chosen:
            images = [read_image(file) for file in pair.files]
            sources = [_luminance(image) for image in images]
            for speed, loaded in models.items():
                fused = _luminance(loaded.fuse(*images, bits=8).image)
                scored = score(fused, *sources, metrics=METRICS, profile="refusion")
                values[speed].append([scored[metric].item() for metric in METRICS])
        cells = ["/".join(f"{value:.3f}" for value in np.mean(values[speed], 0)) for speed in SPEEDS]
        print(f"| {task} {name} ({len(chosen)}) | {' | '.join(cells)} |", flush=True)


def times(model: str, task: str, runs: int = 9) -> None:
    """Print a row per speed."""
    print(f"\n480x640, one thread, CPU ms, medians of {runs}, in turns\n\n| speed | fuser | grey pair | with colour |")
    print("| --- | --- | --- | --- |")
    random = np.random.default_rng(0)
    grey, other = (Image(random.integers(0, 256, (480, 640, 1), np.uint8)) for _ in range(2))
    colour = Image(random.integers(0, 256, (480, 640, 3), np.uint8))
    tensors = [image.tensor() for image in (grey, other)]
    models = _models(model, task)
    took: dict[tuple[str, int], list[float]] = {}
    with torch.inference_mode():
        for _ in range(runs):
            for speed, loaded in models.items():
                work: tuple[Callable[[], object], ...] = (
                    partial(loaded.fuser, *tensors),
                    partial(_pixels, loaded, grey, other),
                    partial(_pixels, loaded, grey, colour),
                )
                for place, call in enumerate(work):
                    start = time.process_time()
                    call()
                    took.setdefault((speed, place), []).append(time.process_time() - start)
    for speed in SPEEDS:
        cells = [f"{1e3 * statistics.median(took[speed, place]):.1f}" for place in range(3)]
        print(f"| {speed} | {' | '.join(cells)} |")


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="pairs, as 'fusionkit bench --data' takes them; without it times alone")
    parser.add_argument("--task", action="append", help="ivif (the default), mif, mfif, meif")
    parser.add_argument("--pairs", type=int, default=4, help="of each data set")
    parser.add_argument("--model", default="refusion")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tasks = given.task or ["ivif"]
    if given.data:
        print(f"SCD/Qabf/VIFp of {given.model}\n\n| set (pairs) | {' | '.join(SPEEDS)} |")
        print("| --- |" + " --- |" * len(SPEEDS))
        for task in tasks:
            quality(given.data, task, given.model, given.pairs)
    times(given.model, tasks[0])


if __name__ == "__main__":
    main()
