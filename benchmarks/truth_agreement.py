"""Compare each metric's order of methods with their order by a known result.

    python -m benchmarks.truth_agreement --out OUT [--task mfif] [--made 6] [--model LABEL=MODEL ...]

Where the result that fusion should give is known, the methods have a true order: by PSNR and by SSIM to that result.
The sample has it for focus (a sharp picture, of which each source has a blurred part) and for exposures (a picture in
its own range), and ``--made`` more focus pairs are rendered through a finite aperture (``benchmarks.made_stacks``). On
every pair all methods are ranked by each metric and by the truth. Printed is Kendall's tau of the two orders, averaged
over pairs, with its 95 % bootstrap interval: 1 is the same order, 0 is no relation, -1 the opposite order. Beside it
stand the method that the metric puts first by its mean rank, and the place of this method by each truth.

The results are kept in OUT: the same command goes on where it was stopped.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import click
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

from benchmarks.made_stacks import KINDS, make_stack
from fusionkit.bench.benchmark import run_bench
from fusionkit.bench.methods import usable
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.records import Record
from fusionkit.bench.request import BenchRequest
from fusionkit.metrics.naming import build, profile_metrics
from fusionkit.metrics.profiles import find_profile

TRUTHS = ("PSNR-truth", "SSIM-truth")
TITLES = {"mfif": "Focus", "meif": "Exposures"}
_DRAWS = 2000


def write_made(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write rendered focus pairs with their truth, and their manifest; what is there is kept."""
    rows = []
    for k in range(count):
        name = f"{KINDS[k % len(KINDS)]}-{k // len(KINDS)}"
        files = {side: folder / side / f"{name}.png" for side in ("near", "far", "truth")}
        if not all(file.is_file() for file in files.values()):
            stack = make_stack(KINDS[k % len(KINDS)], 2, size=size, seed=k)
            far, near = stack.images()
            for file, image in zip(files.values(), (near, far, stack.truth), strict=True):
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), image[..., ::-1])
        rows.append(["mfif", "made", "test", name, *(file.relative_to(folder) for file in files.values())])
    with (folder / "MANIFEST.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["task", "dataset", "split", "name", "file_a", "file_b", "truth"], *rows])


def signed(record: Record, metric: str, names: Sequence[str]) -> list[float]:
    """The values of a method by a metric, greater for better, in the order of the pairs; NaN where there is none."""
    values = {image.name: image.scores.get(metric) for image in record.images}
    sign = 1.0 if record.metrics[metric].higher_is_better else -1.0
    return [math.nan if (value := values.get(name)) is None else sign * value for name in names]


def taus(values: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's tau of ``(methods, pairs)`` with the truth of that shape, pair by pair; NaN where there is no order."""
    found = np.full(values.shape[1], np.nan)
    for k in range(values.shape[1]):
        known = np.isfinite(values[:, k]) & np.isfinite(truth[:, k])
        if known.sum() > 2:
            found[k] = kendalltau(values[known, k], truth[known, k]).statistic
    return found


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean."""
    draws = np.random.default_rng(0).choice(values, (_DRAWS, len(values))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean rank of each method over the pairs on which every method has a value; 1 is the best."""
    whole = np.isfinite(values).all(0)
    return np.asarray(rankdata(-values[:, whole], axis=0).mean(1)) if whole.any() else np.full(len(values), np.nan)


def table(records: Sequence[Record]) -> str:
    """The agreement of each metric with the truths, the closest to both first, as Markdown."""
    names = sorted(set.intersection(*({image.name for image in record.images} for record in records)))
    methods = [record.method.name for record in records]
    of = {metric: np.array([signed(record, metric, names) for record in records]) for metric in records[0].metrics}
    order = {truth: mean_ranks(of[truth]) for truth in TRUTHS}
    rows = []
    for metric, values in of.items():
        if metric.endswith("-truth"):
            continue
        found = [taus(values, of[truth]) for truth in TRUTHS]
        found = [each[np.isfinite(each)] for each in found]
        if not all(len(each) for each in found):
            continue
        ranks = mean_ranks(values)
        first = int(np.nanargmin(ranks)) if np.isfinite(ranks).any() else None
        cells = [f"{each.mean():.2f} ({interval(each)[0]:.2f} to {interval(each)[1]:.2f})" for each in found]
        named = "-"
        if first is not None:
            named = f"{methods[first]} ({_place(order[TRUTHS[0]], first)}, {_place(order[TRUTHS[1]], first)})"
        rows.append((sum(each.mean() for each in found), f"| {metric} | {cells[0]} | {cells[1]} | {named} |"))
    both = taus(of[TRUTHS[0]], of[TRUTHS[1]])
    best = [methods[int(np.argmin(order[truth]))] for truth in TRUTHS]
    lines = [
        f"{len(methods)} methods, {len(names)} pairs. The two truths agree with each other at tau "
        f"{np.nanmean(both):.2f}; first by PSNR: {best[0]}, by SSIM: {best[1]}.",
        "",
        "| metric | tau with PSNR to the truth | with SSIM to the truth | puts first (its rank by each truth) |",
        "| --- | --- | --- | --- |",
        *(row for _, row in sorted(rows, key=lambda entry: -entry[0])),
    ]
    return "\n".join(lines)


def _place(ranks: NDArray[np.float64], method: int) -> int:
    return int(rankdata(ranks, "min")[method])


@click.command(help=__doc__)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the results.")
@click.option("--task", "tasks", multiple=True, type=click.Choice(list(TITLES)), help="Only these tasks.")
@click.option("--made", default=6, show_default=True, help="Number of rendered focus pairs.")
@click.option("--limit", type=int, help="Only the first N pairs of each data set.")
@click.option("--model", "models", multiple=True, metavar="LABEL=MODEL", help="Trained model to add; may be repeated.")
@click.option("--threads", default=1, show_default=True)
def main(
    out: Path, tasks: tuple[str, ...], made: int, limit: int | None, models: tuple[str, ...], threads: int
) -> None:
    torch.set_num_threads(threads)
    usual = profile_metrics(find_profile("standard"))
    metrics = tuple(name for name in usual if build(name).info.needs != "truth" or name in TRUTHS)
    for task in tasks or tuple(TITLES):
        specs, _ = usable(task, device=torch.device("cpu"))
        data = ["sample"]
        if task == "mfif" and made:
            write_made(out / "made", made, (288, 384))
            data.append(str(out / "made"))
        for spec in data:
            request = BenchRequest(
                tasks=(task,),
                fusers=(*(each.model for each in specs), *models),
                data=(spec,),
                split="all",
                limit=limit,
                scorer=QualityScorer(metrics=metrics, profile="standard", maps=False),
                device="cpu",
            )
            (records,) = _joined(run_bench(request, out, say=lambda line: click.echo(line, err=True)).records)
            print(f"\n## {TITLES[task]}, {records[0].dataset}\n\n{table(records)}", flush=True)


def _joined(tables: Sequence[Sequence[Record]]) -> list[list[Record]]:
    """One list of records of whole data sets: the splits of a method become one."""
    methods: dict[str, Record] = {}
    for record in (record for records in tables for record in records):
        before = methods.get(record.method.name)
        images = (*(before.images if before else ()), *record.images)
        methods[record.method.name] = record.model_copy(update={"images": images})
    return [list(methods.values())]


if __name__ == "__main__":
    main()
