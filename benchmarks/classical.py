"""Classical fusers beside the same formula in OpenCV, PyWavelets and NumPy, in turns in one process on one core.

    python -m benchmarks.classical [--size 480x640] [--runs 9] [--fuser laplacian,gff]

Printed are CPU milliseconds of one grey pair (medians), their ratio, and the largest difference of the results. The
formulas beside ours are in float64 like ours, but for the two that OpenCV has whole: its exposure fusion and its
bilateral filter are in float32, and two calls of the latter are a part of ``cbf``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import cv2
import numpy as np
import pywt
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

import fusionkit

Plane = NDArray[Any]
Formula = Callable[[Plane, Plane], Plane]


def select(first: Plane, second: Plane) -> Plane:
    """The stronger coefficient in windows of 3x3, verified by the majority of the window."""
    kernel = np.ones((3, 3), np.uint8)
    one, other = (cv2.dilate(np.abs(x), kernel) for x in (first, second))
    leads, trails = one >= other * (1 - 1e-9) - 1e-12, other >= one * (1 - 1e-9) - 1e-12
    count, against = (
        cv2.boxFilter(x.view(np.uint8), cv2.CV_32S, (3, 3), normalize=False, borderType=cv2.BORDER_REPLICATE)
        for x in (leads, trails)
    )
    return np.where(count == against, (first + second) / 2, np.where(count > against, first, second))


def laplacian(a: Plane, b: Plane) -> Plane:
    """Four levels, the average at the coarsest."""
    levels = [(a, b)]
    for _ in range(4):
        levels.append((cv2.pyrDown(levels[-1][0]), cv2.pyrDown(levels[-1][1])))
    fused = (levels[-1][0] + levels[-1][1]) / 2
    for fine, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):
        size = fine[0].shape[::-1]
        details = [x - cv2.pyrUp(y, dstsize=size) for x, y in zip(fine, coarse, strict=True)]
        fused = cv2.pyrUp(fused, dstsize=size) + select(*details)
    return fused


def dwt(a: Plane, b: Plane) -> Plane:
    """Four levels of the spline (2, 2)."""
    (low, *bands), (other_low, *other_bands) = (pywt.wavedec2(x, "bior2.2", "symmetric", level=4) for x in (a, b))
    details = [tuple(map(select, x, y)) for x, y in zip(bands, other_bands, strict=True)]
    return pywt.waverec2([(low + other_low) / 2, *details], "bior2.2", "symmetric")[: a.shape[0], : a.shape[1]]


class Guide:
    """He's guided filter with one guide and windows that are cut off at the border."""

    def __init__(self, guide: Plane, radius: int, epsilon: float) -> None:
        self.side = (2 * radius + 1, 2 * radius + 1)
        self.count = self._sum(np.ones_like(guide))
        self.guide, self.epsilon = guide, epsilon

    def _sum(self, x: Plane) -> Plane:
        return cv2.boxFilter(x, -1, self.side, normalize=False, borderType=cv2.BORDER_CONSTANT)

    def __call__(self, image: Plane) -> Plane:
        mean = lambda x: self._sum(x) / self.count  # noqa: E731
        guide = self.guide
        of_guide, of_image = mean(guide), mean(image)
        slope = (mean(guide * image) - of_guide * of_image) / (
            np.maximum(mean(guide * guide) - of_guide * of_guide, 0) + self.epsilon
        )
        return mean(slope) * guide + mean(of_image - slope * of_guide)


def gff(a: Plane, b: Plane) -> Plane:
    """Guided filtering fusion with the paper's parameters."""
    saliency = [
        cv2.GaussianBlur(
            np.abs(cv2.Laplacian(x, -1, borderType=cv2.BORDER_REPLICATE)), (11, 11), 5, borderType=cv2.BORDER_REPLICATE
        )
        for x in (a, b)
    ]
    leads, trails = (x >= y * (1 - 1e-9) - 1e-12 for x, y in (saliency, saliency[::-1]))
    first = np.where(leads & trails, 0.5, leads)
    base = [cv2.blur(x, (31, 31), borderType=cv2.BORDER_REPLICATE) for x in (a, b)]
    weights = []
    for radius, epsilon in ((45, 0.3), (7, 1e-6)):
        found = [
            np.clip(Guide(x, radius, epsilon)(p), 0, 1) + 1e-12 for x, p in zip((a, b), (first, 1 - first), strict=True)
        ]
        weights.append(found[0] / (found[0] + found[1]))
    of_base = weights[0] * base[0] + (1 - weights[0]) * base[1]
    return of_base + weights[1] * (a - base[0]) + (1 - weights[1]) * (b - base[1])


def focus_gf(a: Plane, b: Plane) -> Plane:
    """Focus regions and the guided filter, with the parameters of the authors' program."""
    focus = [Guide(x, 5, 0.3)(np.abs(x - cv2.blur(x, (7, 7), borderType=cv2.BORDER_REPLICATE))) for x in (a, b)]
    decision = focus[0] > focus[1] + 1e-12
    for _ in range(2):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(decision.astype(np.uint8), connectivity=8)
        large = stats[:, cv2.CC_STAT_AREA] >= np.ceil(0.01 * a.size)
        large[0] = False
        decision = ~large[labels]
    weight = Guide(np.where(decision, a, b), 5, 0.3)(decision.astype(np.float64))
    return weight * a + (1 - weight) * b


def mertens(a: Plane, b: Plane) -> Plane:
    """OpenCV's exposure fusion, of exposures with one channel."""
    return cv2.createMergeMertens(1, 1, 1).process([(255 * x).astype(np.float32) for x in (a, b)])


def bilateral(a: Plane, b: Plane) -> Plane:
    """Two bilateral filters in windows of 11x11."""
    for x in (a, b):
        done = cv2.bilateralFilter(x.astype(np.float32), 11, 25 / 255, 1.8)
    return done


def dtcwt(a: Plane, b: Plane) -> Plane:
    """The transforms alone of the package ``dtcwt``: forward of both sources, and inverse."""
    from dtcwt import Transform2d

    transform = Transform2d("legall", "qshift_06")
    pyramids = [transform.forward(x, nlevels=4) for x in (a, b)]
    return transform.inverse(pyramids[0])


FORMULAS: dict[str, tuple[Formula, str, float]] = {
    "laplacian": (laplacian, "OpenCV's pyramids", 1e-5),
    "dwt": (dwt, "PyWavelets", 1e-5),
    "gff": (gff, "OpenCV's box filters", 1e-5),
    "focus-gf": (focus_gf, "OpenCV's box filters", 1e-5),
    "mertens": (mertens, "OpenCV's exposure fusion, float32", 2e-3),
    "cbf": (bilateral, "two of OpenCV's bilateral filters, float32", np.inf),
    "dtcwt": (dtcwt, "package dtcwt, transforms alone", np.inf),
}
"""Formula, where it is from, and the largest difference of two results of one formula; infinite for a part of it."""


def scene(height: int, width: int, seed: int) -> Plane:
    """Waves, edges and noise."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = 0.5 + 0.2 * np.sin(x / (17 + seed)) * np.cos(y / 23) + 0.2 * ((x // (40 + seed) + y // 40) % 2)
    return np.clip(image + draw.normal(0, 0.03, x.shape), 0.01, 0.99)


def main() -> None:
    """Read the options and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="480x640", metavar="HxW")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--fuser", default=",".join(FORMULAS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    height, width = (int(n) for n in given.size.split("x"))
    planes = scene(height, width, 0), scene(height, width, 5)
    tensors = [torch.from_numpy(x)[None, None] for x in planes]
    print(f"{given.size}, one thread, CPU ms, medians of {given.runs}, in turns\n")
    print("| fuser | ours | beside | its ms | ratio | largest difference |\n| --- | --- | --- | --- | --- | --- |")
    for name in given.fuser.split(","):
        formula, source, tolerance = FORMULAS[name]
        fuser = fusionkit.load(name, device="cpu").fuser
        channels = [x.expand(-1, 3, -1, -1) if fuser.space == "rgb" else x for x in tensors]
        took: tuple[list[float], list[float]] = ([], [])
        with torch.inference_mode():
            try:
                apart = float(np.abs(fuser(*channels)[0, 0].numpy() - formula(*planes).clip(0, 1)).max())
            except ImportError as error:
                print(f"| {name} | | {source} | {error} | | |")
                continue
            for _ in range(given.runs):
                for place, work in enumerate((lambda: fuser(*channels), lambda: formula(*planes))):  # noqa: B023
                    start = time.process_time()
                    work()
                    took[place].append(1e3 * (time.process_time() - start))
        ours, theirs = (statistics.median(x) for x in took)
        shown = "a part" if tolerance == np.inf else f"{apart:.0e}"
        print(f"| {name} | {ours:.1f} | {source} | {theirs:.1f} | {ours / theirs:.2f} | {shown} |", flush=True)
        if apart > tolerance:
            raise SystemExit(f"{name}: the results differ by {apart}")


if __name__ == "__main__":
    main()
