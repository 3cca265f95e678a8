"""Quality and time of a model at each speed, and of other fast methods beside it.

    python -m benchmarks.speeds --data DATA --task ivif --task meif [--pairs 4] [--model refusion] [--beside fcdfusion]

Prints, for each data set, SCD / Qabf / VIFp of 8-bit results on evenly spaced test pairs, and the colour deviation in
degrees from the source that is in colour where one is; then the CPU milliseconds of one thread of a 480x640 pair: the
fuser's call, and the whole way from decoded images to the pixels of the result, for grey sources and for a grey with a
colour one.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
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
from fusionkit.metrics.color_deviation import color_deviation
from fusionkit.plugins import catalogue

METRICS = ("SCD", "Qabf", "VIFp")
SPEEDS = get_args(Speed)
RUNS = 9


def _models(name: str, task: str, beside: Sequence[str]) -> dict[str, Model]:
    models = {speed: fusionkit.load(name, task, device="cpu", speed=speed) for speed in SPEEDS}
    own = [other for other in beside if (tasks := catalogue.fusers.get(other).tasks) is None or task in tasks]
    return models | {other: fusionkit.load(other, device="cpu") for other in own}


def _degrees(fused: Image, sources: Sequence[Image]) -> float:
    """Colour deviation from the one source that is in colour; NaN where none or several are."""
    colour = [image for image in sources if not image.is_grey]
    if len(colour) != 1 or fused.is_grey:
        return float("nan")
    return math.degrees(color_deviation(fused.tensor(), colour[0].tensor()).item())


def _luminance(image: Image) -> torch.Tensor:
    return (luminance(image.tensor()) * 255).round()


def _pixels(model: Model, *sources: Image) -> Image:
    return model.fuse(*sources).image


def quality(data: str, task: str, models: Mapping[str, Model], pairs: int) -> None:
    """Print a row per data set and model."""
    found = find_pairs(data, catalogue.tasks.get(task), split="test")
    sets: dict[str, list[Pair]] = {}
    for pair in found:
        sets.setdefault(pair.dataset, []).append(pair)
    for name, members in sets.items():
        chosen = members[:: max(1, len(members) // pairs)][:pairs]
        values: dict[str, list[list[float]]] = {label: [] for label in models}
        for pair in chosen:
            images = [read_image(file) for file in pair.files]
            sources = [_luminance(image) for image in images]
            for label, loaded in models.items():
                fused = loaded.fuse(*images, bits=8).image
                scored = score(_luminance(fused), *sources, metrics=METRICS, profile="refusion")
                values[label].append([*(scored[metric].item() for metric in METRICS), _degrees(fused, images)])
        for label, rows in values.items():
            *means, degrees = np.mean(rows, 0)
            cells = "/".join(f"{value:.3f}" for value in means)
            print(f"| {task} {name} ({len(chosen)}) | {label} | {cells} | {_shown(degrees)} |", flush=True)


def _shown(degrees: float) -> str:
    return "" if math.isnan(degrees) else f"{degrees:.2f}"


def times(models: Mapping[str, Model]) -> None:
    """Print a row per model."""
    print(f"\n480x640, one thread, CPU ms, medians of {RUNS}, in turns\n\n| speed | fuser | grey pair | with colour |")
    print("| --- | --- | --- | --- |")
    random = np.random.default_rng(0)
    grey, other = (Image(random.integers(0, 256, (480, 640, 1), np.uint8)) for _ in range(2))
    colour = Image(random.integers(0, 256, (480, 640, 3), np.uint8))
    tensors = [image.tensor() for image in (grey, other)]
    three = [tensor.expand(-1, 3, -1, -1).contiguous() for tensor in tensors]
    took: dict[tuple[str, int], list[float]] = {}
    with torch.inference_mode():
        for _ in range(RUNS):
            for label, loaded in models.items():
                work: tuple[Callable[[], object], ...] = (
                    partial(loaded.fuser, *(three if loaded.fuser.space == "rgb" else tensors)),
                    partial(_pixels, loaded, grey, other),
                    partial(_pixels, loaded, grey, colour),
                )
                for place, call in enumerate(work):
                    start = time.process_time()
                    call()
                    took.setdefault((label, place), []).append(time.process_time() - start)
    for label in models:
        cells = [f"{1e3 * statistics.median(took[label, place]):.1f}" for place in range(3)]
        print(f"| {label} | {' | '.join(cells)} |")


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="pairs, as 'fusionkit bench --data' takes them; without it times alone")
    parser.add_argument("--task", action="append", help="ivif (the default), mif, mfif, meif")
    parser.add_argument("--pairs", type=int, default=4, help="of each data set")
    parser.add_argument("--model", default="refusion")
    parser.add_argument("--beside", action="append", help="other method, where it is made for the task [fcdfusion]")
    given = parser.parse_args()
    torch.set_num_threads(1)
    tasks = given.task or ["ivif"]
    beside = given.beside or ["fcdfusion"]
    if given.data:
        print(f"| set (pairs) | {given.model} at speed, or method | SCD/Qabf/VIFp | colour deviation |")
        print("| --- | --- | --- | --- |")
        for task in tasks:
            quality(given.data, task, _models(given.model, task, beside), given.pairs)
    times(_models(given.model, tasks[0], beside))


if __name__ == "__main__":
    main()
