"""Errors of the alignment on real pairs that are warped by known transforms.

    python -m benchmarks.alignment --data DATA [--aligner NAME] [--kind affine] [--pairs 10]

``repeat`` is the mean distance of the corners from the estimate on the unwarped pair, carried through the warp;
``label`` the distance from the warp itself, which counts the data set as aligned. Public pairs are off by some pixels,
so that the first tells more about the method. ``moved`` is how far the unwarped pair is moved.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from fusionkit.contracts import CONFIDENT
from fusionkit.data.pair_finding import find_pairs
from fusionkit.fuse.aligning import default_aligner, find_alignment, grey
from fusionkit.fuse.transforms import corner_distance, resample
from fusionkit.io.images import read_image
from fusionkit.plugins.catalogue import aligners, tasks


def draw_warp(rng: np.random.Generator, shape: tuple[int, int], kind: str) -> np.ndarray:
    """Random transform of points of the reference: up to 30 pixels, 5 degrees and 10 %, as far as the kind allows."""
    shift = rng.uniform(-30, 30, 2)
    turn = np.deg2rad(rng.uniform(-5, 5)) if kind != "translation" else 0.0
    scale = 1 + rng.uniform(-0.1, 0.1) if kind in ("affine", "homography") else 1.0
    middle = np.array([[1, 0, -shape[1] / 2], [0, 1, -shape[0] / 2], [0, 0, 1]])
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    warp = np.linalg.inv(middle) @ np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [0, 0, 1]]) @ middle
    if kind == "homography":
        corners = np.array([[0, 0], [shape[1], 0], [shape[1], shape[0]], [0, shape[0]]], np.float32)
        jitter = rng.uniform(-12, 12, (4, 2)).astype(np.float32)
        warp = cv2.getPerspectiveTransform(corners, corners + jitter) @ warp
    return warp / warp[2, 2]


def main() -> None:
    """Print one row per data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="data, as 'fusionkit bench' takes it")
    parser.add_argument("--task", default="ivif")
    parser.add_argument("--split", default="test")
    parser.add_argument("--kind", default="affine", choices=["translation", "rigid", "affine", "homography"])
    parser.add_argument("--aligner", default="", choices=["", *aligners.names()])
    parser.add_argument("--pairs", type=int, default=10, help="per data set")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    aligner = aligners.get(options.aligner or default_aligner(options.task))
    by_set: dict[str, list[tuple[Path, ...]]] = {}
    for pair in find_pairs(options.data, tasks.get(options.task), split=options.split):
        by_set.setdefault(pair.dataset, []).append(pair.files)
    print(
        f"{'data set':<18} pairs  repeat: median  95 %  kept 95 %  worst kept  label: median  kept  worst kept  moved  "
        "refused  CPU s"
    )
    for name, pairs in by_set.items():
        rng = np.random.default_rng(options.seed)
        rows = []
        for files in [
            pairs[k] for k in np.linspace(0, len(pairs) - 1, min(options.pairs, len(pairs))).round().astype(int)
        ]:
            moved, fixed = (grey(read_image(file)) for file in files[:2])
            shape = (fixed.shape[0], fixed.shape[1])
            base = find_alignment(aligner, [moved], [fixed], options.kind)
            warp = draw_warp(rng, shape, options.kind)
            warped, _ = resample(moved, np.linalg.inv(warp), shape)
            start = time.process_time()
            found = find_alignment(aligner, [warped], [fixed], options.kind)
            seconds = time.process_time() - start
            sure = min(found.confidence, base.confidence) >= CONFIDENT
            repeat = corner_distance(found.matrix, warp @ base.matrix, shape)
            label = corner_distance(found.matrix, warp, shape)
            rows.append((repeat, label, corner_distance(base.matrix, np.eye(3), shape), sure, seconds))
        table = np.array(rows, float)
        kept, labels = table[table[:, 3] > 0, :2].T if table[:, 3].any() else np.full((2, 1), np.nan)
        median = np.median(table, axis=0)
        print(
            f"{name:<18} {len(rows):5d} {median[0]:15.2f} {np.percentile(table[:, 0], 95):5.1f} "
            f"{np.percentile(kept, 95):10.1f} {kept.max():11.1f} {median[1]:14.1f} "
            f"{np.median(labels):5.1f} {labels.max():11.1f} {median[2]:6.1f} "
            f"{1 - table[:, 3].mean():8.2f} {table[:, 4].mean():6.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
