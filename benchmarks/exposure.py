"""Multi-exposure fusion: fusers beside OpenCV's exposure fusion and enfuse, on pairs of a test set.

    python -m benchmarks.exposure --data DATA/MEFB --out OUT [--limit N] [--fuser mertens --fuser laplacian]

The other programs fuse the files first, as they do by default: OpenCV's ``createMergeMertens``, whose defaults leave
out the weight of well-exposedness, its result rounded to 8 bits, and ``enfuse`` (Debian) where it is installed.
``fusionkit bench`` then fuses with each fuser and scores all under the profile ``standard``; its page in OUT shows the
pictures side by side. Printed are the means of MEF-SSIM, SCD, Qabf and VIFp with half of their 95 % interval, and the
share of pixels whose detail is lost at either end: ``washed``, of a level of 250 or more though one source has less
than 220 there, and ``drowned``, of 5 or less though one source has more than 35 there. What is done in OUT already is
not done again.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fusionkit.bench.benchmark import BenchRequest, run_bench
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.report.board import write_board
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_set import Pair
from fusionkit.errors import FusionkitError
from fusionkit.io.atomic import written_aside
from fusionkit.plugins import catalogue

TASK = "meif"
METRICS = ("MEF-SSIM", "SCD", "Qabf", "VIFp")
_FUSERS = ("refusion=refusion:meif", "mertens", "laplacian", "gff", "average")


def lost(fused: NDArray[np.uint8], sources: Sequence[NDArray[np.uint8]]) -> tuple[float, float]:
    """Shares of pixels that are ``washed`` and ``drowned``, 0 to 1.

    Args:
        fused: ``(H, W)`` luminance.
        sources: of the same shape, two or more.
    """
    darkest, brightest = np.minimum.reduce(sources), np.maximum.reduce(sources)
    washed = (fused >= 250) & (darkest < 220)
    drowned = (fused <= 5) & (brightest > 35)
    return float(washed.mean()), float(drowned.mean())


def read(path: Path, flags: int) -> NDArray[np.uint8]:
    """Read an image as OpenCV gives it under its flags."""
    image = cv2.imread(str(path), flags)
    if image is None:
        raise SystemExit(f"{path}: cannot be read as an image")
    return np.asarray(image, np.uint8)


def fuse_by_opencv(files: Sequence[Path], out: Path) -> None:
    """Fuse files by OpenCV's exposure fusion and write an 8-bit image."""
    fused = cv2.createMergeMertens().process([read(file, cv2.IMREAD_COLOR) for file in files])
    cv2.imwrite(str(out), np.rint(np.clip(fused, 0, 1) * 255).astype(np.uint8))


def fuse_by_enfuse(files: Sequence[Path], out: Path) -> None:
    """Fuse files by enfuse with its own defaults."""
    subprocess.run(["enfuse", "-o", str(out), *map(str, files)], check=True, capture_output=True)


def fuse_by_others(pairs: Sequence[Pair], out: Path) -> dict[str, Path]:
    """Fuse pairs with the programs that are here; the folder of each one's results, by its name."""
    programs = {"opencv-mertens": fuse_by_opencv}
    if shutil.which("enfuse"):
        programs["enfuse"] = fuse_by_enfuse
    for name, fuse in programs.items():
        (out / name).mkdir(parents=True, exist_ok=True)
        for pair in pairs:
            made = out / name / f"{pair.name}.png"
            if not made.exists():
                with written_aside(made) as aside:
                    fuse(pair.files, aside)
    return {name: out / name for name in programs}


def bench(data: str, out: Path, fusers: Sequence[str], others: dict[str, Path], limit: int | None) -> None:
    """Fuse with fusers, score them and the results of other programs, and write the board."""
    request = BenchRequest(
        tasks=(TASK,),
        fusers=tuple(fusers),
        results=tuple(f"{name}={folder}" for name, folder in others.items()),
        data=(data,),
        limit=limit,
        scorer=QualityScorer(metrics=METRICS, profile="standard", maps=False),
    )
    run_bench(request, out, say=lambda line: print(line, file=sys.stderr, flush=True))
    write_board(out)


def print_table(pairs: Sequence[Pair], out: Path, others: dict[str, Path]) -> None:
    """Print a row per method, from the board of the bench and the images."""
    scores: dict[str, dict[str, str]] = {}
    with (out / "board.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            spread = f" ± {(float(line['high']) - float(line['low'])) / 2:.3f}" if line["low"] else ""
            scores.setdefault(line["method"], {})[line["metric"]] = f"{float(line['mean']):.3f}{spread}"
    (made,) = (out / "fused" / TASK).iterdir()
    print(f"| method | {' | '.join(METRICS)} | washed % | drowned % |\n| --- {'| ---: ' * (len(METRICS) + 2)}|")
    for name, values in scores.items():
        shares = []
        for pair in pairs:
            files = (others.get(name, made / name) / f"{pair.name}.png", *pair.files)
            fused, *sources = (read(file, cv2.IMREAD_GRAYSCALE) for file in files)
            shares.append(lost(fused, sources))
        washed, drowned = 100 * np.mean(shares, 0)
        print(f"| {name} | {' | '.join(values[metric] for metric in METRICS)} | {washed:.2f} | {drowned:.2f} |")


def main() -> None:
    """Read the options, fuse, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="pairs of one data set with a test split, as for fusionkit bench")
    parser.add_argument("--out", type=Path, required=True, help="folder for the images, records and the page")
    parser.add_argument("--fuser", action="append", metavar="MODEL", help=f"may be repeated [{', '.join(_FUSERS)}]")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pairs")
    given = parser.parse_args()
    try:
        pairs = list(find_pairs(given.data, catalogue.tasks.get(TASK), split="test"))[: given.limit]
        others = fuse_by_others(pairs, given.out / "others")
        bench(given.data, given.out, given.fuser or _FUSERS, others, given.limit)
    except FusionkitError as error:
        parser.error(str(error))
    print_table(pairs, given.out, others)


if __name__ == "__main__":
    main()
