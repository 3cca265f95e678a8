"""Time metrics against other packages, in one run on one core.

    python benchmarks/metrics.py [--size 480x640] [--images F A B] [--budget 6] [--timings FILE.csv] [--out FILE.md]

For each metric and each precision ours and every rival run in turn, round after round, so that a busy machine slows all
alike; what is counted is the thread's own CPU time. Printed are medians, and the median and the quartiles of the ratio
in each round (above 1: ours is faster). A rival counts if it gives the number that ours gives. One that is not
installed is named with the reason. ``--timings`` adds codes that no package index has: a table with the columns metric,
seconds and implementation, measured elsewhere; its seconds are scaled by what the codes in both took here and there.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import torch
from metric_rivals import RIVALS, Image, Rival, missing
from torch import Tensor

from fusionkit.metrics import MetricInputs, build, evaluate, read_luminance

GOAL = ("EN", "SD", "SF", "AG", "SCD", "SSIM", "VIFp", "Qabf", "MI", "QCB", "QNCIE")
"""Metrics of the tables that this toolkit reproduces."""

PRECISIONS = {"float64": (torch.float64, np.float64, 1e-6), "float32": (torch.float32, np.float32, 1e-4)}
"""Precisions, and the largest relative difference at which two values count as equal."""

ILL_CONDITIONED = {"QCB": {"float64": 1e-4, "float32": 3e-2}}
"""Metrics with quotients near 0/0, in which codes differ by rounding."""

SLOW, SLOW_ROUNDS, LEAST_ROUNDS, MOST_ROUNDS, LEAST_SAMPLE = 0.4, 2, 5, 31, 2e-3
"""Seconds from which on a code counts as slow; rounds that it runs; rounds of others; seconds of a sample."""

T = TypeVar("T")


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one function in each round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)


@dataclass(frozen=True)
class Row:
    """Timing of our metric and one rival."""

    metric: str
    precision: str
    rival: str
    ours: Timing
    theirs: Timing
    difference: float

    @property
    def counts(self) -> bool:
        return self.difference <= ILL_CONDITIONED.get(self.metric, {}).get(
            self.precision, PRECISIONS[self.precision][2]
        )

    @property
    def ratios(self) -> tuple[float, float, float]:
        """Quartiles of the ratio of the rounds that both took part in."""
        each = [theirs / ours for ours, theirs in zip(self.ours.rounds, self.theirs.rounds, strict=False)]
        low, middle, high = statistics.quantiles(each, n=4, method="inclusive")
        return low, middle, high


def test_images(height: int, width: int) -> tuple[Image, Image, Image]:
    """Fused image and sources of whole grey levels: waves, edges and noise."""
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    a = 90 + 60 * np.sin(x / 17) * np.cos(y / 23) + 50 * ((x // 40 + y // 40) % 2) + draw.normal(0, 5, x.shape)
    b = 120 + 70 * np.sin(x / 41 + y / 13) + draw.normal(0, 9, x.shape)
    b[: height // 6] = 0
    fused = 0.5 * a + 0.5 * b + draw.normal(0, 2, x.shape)
    whole = [np.rint(np.clip(image, 0, 255)).astype(np.float64) for image in (fused, a, b)]
    return whole[0], whole[1], whole[2]


def time_in_turn(functions: Mapping[str, Callable[[], T]], budget: float) -> dict[str, tuple[Timing, T]]:
    """CPU milliseconds of every function, called in turn until ``budget`` seconds are spent, and its result."""
    calls, once, results = {}, {}, {}
    for name, function in functions.items():
        results[name], once[name] = _timed(function)
        if once[name] < SLOW:
            # The first call also paid for imports and memory.
            once[name] = _timed(function)[1]
        calls[name] = max(1, round(LEAST_SAMPLE / max(once[name], 1e-6)))
    samples: dict[str, list[float]] = {name: [] for name in functions}
    spent, done = 0.0, 0
    while done < LEAST_ROUNDS or (spent < budget and done < MOST_ROUNDS):
        for name, function in functions.items():
            if done < SLOW_ROUNDS or once[name] < SLOW:
                seconds = sum(_timed(function)[1] for _ in range(calls[name]))
                samples[name].append(1e3 * seconds / calls[name])
                spent += seconds
        done += 1
    return {name: (Timing(tuple(values)), results[name]) for name, values in samples.items()}


def _timed(function: Callable[[], T]) -> tuple[T, float]:
    start = time.thread_time()
    result = function()
    return result, time.thread_time() - start


def compare(images: Sequence[Image], metrics: Sequence[str], rivals: Sequence[Rival], budget: float) -> Iterator[Row]:
    """Time every metric and every rival of it, in both precisions."""
    for name in metrics:
        for precision, (dtype, kind, _) in PRECISIONS.items():
            tensors = _tensors(images, dtype)
            arrays = [np.ascontiguousarray(image, kind) for image in images]
            metric, mine = build(name), [rival for rival in rivals if rival.metric == name]
            functions: dict[str, Callable[[], float]] = {"": lambda m=metric, t=tensors: float(m(*t))}  # type: ignore[misc]
            for rival in mine:
                functions[rival.name] = lambda r=rival, x=arrays: r.function(*x)  # type: ignore[misc]
            timings = time_in_turn(functions, budget)
            truth = float(metric(*_tensors(images, torch.float64)))
            for rival in mine:
                theirs, value = timings[rival.name]
                yield Row(name, precision, rival.name, timings[""][0], theirs, abs(value - truth) / abs(truth))


def fastest(rows: Sequence[Row], precision: str) -> dict[str, Row]:
    """Map each metric to its fastest valid rival."""
    found: dict[str, Row] = {}
    for row in rows:
        if row.precision == precision and row.counts:
            known = found.get(row.metric)
            if known is None or row.theirs.median < known.theirs.median:
                found[row.metric] = row
    return found


def together(images: Sequence[Image], metrics: Sequence[str], budget: float) -> dict[str, Timing]:
    """Time all metrics of one scene per precision, with shared intermediates computed once."""
    built = {name: build(name) for name in metrics}
    tensors = {precision: _tensors(images, dtype) for precision, (dtype, _, _) in PRECISIONS.items()}
    functions: dict[str, Callable[[], object]] = {
        precision: lambda t=own: evaluate(MetricInputs(*t), built, profile="standard")  # type: ignore[misc]
        for precision, own in tensors.items()
    }
    return {precision: timing for precision, (timing, _) in time_in_turn(functions, budget).items()}


def elsewhere(path: Path, rows: Sequence[Row]) -> tuple[float, int, dict[str, tuple[float, str]]]:
    """Timings of a table that was measured elsewhere.

    Returns:
        Seconds here per second there, the number of codes that say so, and for each metric the scaled milliseconds and
        the name of the fastest code that gives a number that one of the profiles stands for.
    """
    from metric_agreement import RULES

    right = [(rule.reference, rule.code) for rule in RULES if rule.code not in ("ports.py", "IVIF_ZOO", "Jilei")]
    scales, found = [], {}
    with path.open(newline="") as file:
        records = list(csv.DictReader(file))
    for record in records:
        metric, code, seconds = record["metric"], record["implementation"], float(record["seconds"])
        for row in rows:
            if row.metric == metric and row.precision == "float64" and row.counts and _same_code(row.rival, code):
                scales.append(row.theirs.median / 1e3 / seconds)
    scale = statistics.median(scales) if scales else 1.0
    for record in records:
        metric, code, milliseconds = record["metric"], record["implementation"], 1e3 * scale * float(record["seconds"])
        known = any(metric == reference and part in code for reference, part in right)
        if known and (metric not in found or milliseconds < found[metric][0]):
            found[metric] = (milliseconds, code.partition(" (")[0])
    return scale, len(scales), found


def _same_code(rival: str, code: str) -> bool:
    """Return whether a rival here and a code of a table are the same program with the same settings."""
    if rival == "scikit-image":
        return code.startswith("skimage") and "gaussian" in code
    if rival == "piq":
        return code.startswith("piq") and "downsample=True" not in code
    return rival in ("sewar", "torchmetrics", "pytorch_msssim") and code.startswith(rival) and "fltr" not in code


def _tensors(images: Sequence[Image], dtype: torch.dtype) -> list[Tensor]:
    return [torch.from_numpy(np.ascontiguousarray(x))[None, None].to(dtype) for x in images]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *rows)) + "\n"


def report(rows: Sequence[Row], shared: dict[str, Timing], absent: dict[str, str], timings: Path | None) -> str:
    """Format all measurements as Markdown."""
    parts = []
    for precision in PRECISIONS:
        best = fastest(rows, precision)
        lines = []
        for row in rows:
            if row.precision != precision:
                continue
            low, middle, high = row.ratios
            mark = "**" if best.get(row.metric) is row else ""
            verdict = f"{row.difference:.0e}" + ("" if row.counts else ": another number, does not count")
            ratio = f"{mark}{middle:.2f}{mark} ({low:.2f} to {high:.2f})"
            lines.append((row.metric, f"{row.ours.median:.2f}", row.rival, f"{row.theirs.median:.2f}", ratio, verdict))
        head = ("metric", "ours, ms", "rival", "its ms", "ratio (quartiles)", "differs by")
        parts.append(f"### {precision}\n\nBold: the fastest rival that counts.\n\n{table(head, lines)}")
    parts.append(f"### The {len(GOAL)} metrics together\n\n{_together(rows, shared, timings)}")
    if absent:
        parts.append("Not compared:\n\n" + "".join(f"- {why}\n" for why in absent.values()))
    return "\n".join(parts)


def _together(rows: Sequence[Row], shared: dict[str, Timing], timings: Path | None) -> str:
    lines = []
    for precision in PRECISIONS:
        best = {name: row for name, row in fastest(rows, precision).items() if name in GOAL}
        theirs, mine = sum(r.theirs.median for r in best.values()), sum(r.ours.median for r in best.values())
        whole = shared[precision].median
        slower = [f"{name} {row.ratios[1]:.2f}" for name, row in best.items() if row.ratios[1] < 1]
        numbers = (f"{mine:.1f} ({theirs / mine:.1f})", f"{whole:.1f} ({theirs / whole:.1f})")
        lines.append((precision, f"{theirs:.0f}", *numbers, ", ".join(slower) or "none"))
    head = ("precision", "fastest rivals, ms", "ours one by one, ms (ratio)", "ours in one scene, ms (ratio)", "slower")
    text = table(head, lines)
    if timings is None:
        return text
    scale, codes, found = elsewhere(timings, rows)
    best = fastest(rows, "float64")
    lines, total = [], 0.0
    for name in GOAL:
        choices = [(row.theirs.median, f"{row.rival}, here") for n, row in best.items() if n == name]
        choices = [c for c in choices if "numpy" not in c[1]] + [found[name]] * (name in found)
        milliseconds, code = min(choices, default=(0.0, "none"))
        total += milliseconds
        ours = next(row.ours.median for row in rows if row.metric == name and row.precision == "float64")
        lines.append((name, f"{ours:.2f}", f"{milliseconds:.1f}", f"{milliseconds / ours:.1f}", code))
    whole = shared["float64"].median
    lines.append(("all, in one scene", f"{whole:.1f}", f"{total:.0f}", f"{total / whole:.1f}", ""))
    return (
        f"{text}\nWith the codes that no package index has, from a table of timings ({codes} codes are in it and were "
        f"run here: one second there is {scale:.2f} here). Per metric the fastest published code that is right, "
        f"float64:\n\n" + table(("metric", "ours, ms", "theirs, ms", "ratio", "whose"), lines)
    )


def about(options: argparse.Namespace, shape: tuple[int, ...]) -> str:
    """The command, the machine and the versions."""
    versions = []
    for package in ("torch", "numpy", "scipy", "scikit-image", "scikit-learn", "sewar", "piq", "torchmetrics"):
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    flags = f" --budget {options.budget:g}" + (" --timings FILE" if options.timings else "")
    return (
        f"    python benchmarks/metrics.py{flags}\n\n{shape[0]}x{shape[1]} pixels, two sources, one thread, CPU time; "
        f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.\n"
        f"Python {platform.python_version()}, {', '.join(versions)}.\n"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="480x640", help="height x width  [default: 480x640]")
    parser.add_argument("--images", nargs=3, metavar=("F", "A", "B"), help="files to take instead of made-up images")
    parser.add_argument("--metric", help="metrics, separated by commas  [default: all that have a rival]")
    parser.add_argument("--budget", type=float, default=6.0, help="seconds for each metric and precision  [default: 6]")
    parser.add_argument("--timings", type=Path, help="CSV of timings from elsewhere")
    parser.add_argument("--out", type=Path, help="also write the report here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    images: Sequence[Image] = test_images(*(int(n) for n in options.size.split("x")))
    if options.images:
        images = [read_luminance(path)[0, 0].numpy() for path in options.images]
    packages = dict.fromkeys(rival.package for rival in RIVALS)
    absent = {package: why for package in packages if (why := missing(package)) is not None}
    rivals = [rival for rival in RIVALS if rival.package not in absent]
    chosen = options.metric.split(",") if options.metric else list(dict.fromkeys(r.metric for r in rivals))
    rows = []
    with torch.no_grad():
        for row in compare(images, chosen, rivals, options.budget):
            rows.append(row)
            print(f"{row.metric} {row.precision} {row.rival}: {row.ratios[1]:.2f}", file=sys.stderr, flush=True)
        shared = together(images, GOAL, options.budget)
    text = report(rows, shared, absent, options.timings if set(GOAL) <= set(chosen) else None)
    text = f"{about(options, images[0].shape)}\n{text}"
    print(text)
    if options.out:
        aside = options.out.with_suffix(".part")
        aside.write_text(text)
        aside.replace(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
