"""Time metrics beside other people's code, in one run on one core.

    python benchmarks/metrics.py [--size 480x640] [--rounds 15] [--out FILE.json]

Every round times ours and every rival once, in turn, so that a busy machine slows all alike; printed are medians with
their interquartile range and the ratio of the medians (above 1: ours is faster). Rivals that are not installed are
named. "numpy/scipy" is the formula as published evaluators write it: whole-array numpy and scipy.signal.convolve2d.
A rival counts only if it gives the number that ours gives; the greatest relative difference is printed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import scipy.signal
import skimage
import skimage.measure
import skimage.metrics
import torch
from numpy.typing import NDArray
from torch import Tensor

from fusionkit.metrics import Scene, build, evaluate

Image = NDArray[np.float64]
Rival = Callable[[Image, Image, Image], float]

GOAL = ("EN", "SD", "SF", "AG", "SCD", "SSIM", "VIFp", "Qabf", "MI")


def entropy(f: Image, a: Image, b: Image) -> float:
    p = np.bincount(np.uint8(np.round(f)).ravel()) / f.size
    return float(-np.sum(p * np.log2(p + (p == 0))))


def spatial_frequency(f: Image, a: Image, b: Image) -> float:
    return float(np.sqrt(np.mean((f[:, 1:] - f[:, :-1]) ** 2) + np.mean((f[1:] - f[:-1]) ** 2)))


def average_gradient(f: Image, a: Image, b: Image) -> float:
    gy, gx = np.gradient(f)
    return float(np.mean(np.sqrt((gx**2 + gy**2) / 2)))


def correlation(x: Image, y: Image) -> float:
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum()))


def scd(f: Image, a: Image, b: Image) -> float:
    return correlation(f - b, a) + correlation(f - a, b)


def mutual_information(f: Image, a: Image, b: Image) -> float:
    total = 0.0
    for s in (a, b):
        joint, _, _ = np.histogram2d(s.ravel(), f.ravel(), bins=np.arange(257) - 0.5)
        joint /= joint.sum()
        product = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
        seen = joint > 0
        total += float((joint[seen] * np.log2(joint[seen] / product[seen])).sum())
    return total


def qabf(f: Image, a: Image, b: Image) -> float:
    across = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float64)
    up = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], np.float64)

    def edges(x: Image) -> tuple[Image, Image]:
        sx, sy = (scipy.signal.convolve2d(x, kernel, mode="same") for kernel in (across, up))
        angle = np.full(x.shape, np.pi / 2)
        angle[sx != 0] = np.arctan(sy[sx != 0] / sx[sx != 0])
        return np.sqrt(sx**2 + sy**2), angle

    gf, af = edges(f)
    above, below = 0.0, 0.0
    for s in (a, b):
        g, angle = edges(s)
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(g > gf, gf / g, np.where(g == gf, gf, g / gf))
        turned = 1 - np.abs(angle - af) / (np.pi / 2)
        quality = 0.9994 / (1 + np.exp(-15 * (relative - 0.5))) * 0.9879 / (1 + np.exp(-22 * (turned - 0.8)))
        above += float((quality * g).sum())
        below += float(g.sum())
    return above / below


def vifp(f: Image, a: Image, b: Image) -> float:
    def of(s: Image, f: Image) -> float:
        above, below = 0.0, 0.0
        for size in (17, 9, 5, 3):
            y, x = np.mgrid[:size, :size] - (size - 1) / 2
            window = np.exp(-(x * x + y * y) / (2 * (size / 5) ** 2))
            window /= window.sum()

            def mean(image: Image, window: Image = window) -> Image:
                return np.asarray(scipy.signal.convolve2d(image, window, mode="valid"))

            if size < 17:
                s, f = mean(s)[::2, ::2], mean(f)[::2, ::2]
            ms, mf = mean(s), mean(f)
            vs, vf = np.maximum(mean(s * s) - ms * ms, 0), np.maximum(mean(f * f) - mf * mf, 0)
            cov = mean(s * f) - ms * mf
            g = cov / (vs + 1e-10)
            v = vf - g * cov
            g[vs < 1e-10], v[vs < 1e-10] = 0, vf[vs < 1e-10]
            vs[vs < 1e-10] = 0
            g[vf < 1e-10], v[vf < 1e-10] = 0, 0
            v[g < 0] = vf[g < 0]
            g[g < 0] = 0
            v[v <= 1e-10] = 1e-10
            above += float(np.log10(1 + g * g * vs / (v + 2)).sum())
            below += float(np.log10(1 + vs / 2).sum())
        return above / below

    return (of(a, f) + of(b, f)) / 2


def skimage_ssim(f: Image, a: Image, b: Image) -> float:
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(np.mean([skimage.metrics.structural_similarity(f, s, **settings) for s in (a, b)]))


def skimage_psnr(f: Image, a: Image, b: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean([skimage.metrics.mean_squared_error(s, f) for s in (a, b)])))


def optional_rivals() -> Iterator[tuple[str, str, Rival | None]]:
    """Metric, name and function of rivals that need more packages; None where the package is not installed."""

    def found(name: str) -> bool:
        try:
            importlib.import_module(name)
        except Exception:  # a broken package is as good as none here
            return False
        return True

    def tensors(*images: Image) -> list[Tensor]:
        return [torch.from_numpy(x)[None, None] for x in images]

    def sewar_vifp(f: Image, a: Image, b: Image) -> float:
        from sewar.full_ref import vifp

        return float(np.mean([vifp(s, f) for s in (a, b)]))

    def sklearn_mi(f: Image, a: Image, b: Image) -> float:
        from sklearn.metrics import mutual_info_score

        return float(sum(mutual_info_score(f.ravel(), s.ravel()) for s in (a, b)) / np.log(2))

    def piq_ssim(f: Image, a: Image, b: Image) -> float:
        import piq

        tf, ta, tb = tensors(f, a, b)
        return float(np.mean([float(piq.ssim(tf, s, data_range=255.0, downsample=False)) for s in (ta, tb)]))

    def piq_vif(f: Image, a: Image, b: Image) -> float:
        import piq

        tf, ta, tb = tensors(f, a, b)
        return float(np.mean([float(piq.vif_p(tf, s, data_range=255.0)) for s in (ta, tb)]))

    def piq_ms_ssim(f: Image, a: Image, b: Image) -> float:
        import piq

        tf, ta, tb = tensors(f, a, b)
        return float(np.mean([float(piq.multi_scale_ssim(tf, s, data_range=255.0)) for s in (ta, tb)]))

    def torchmetrics_vif(f: Image, a: Image, b: Image) -> float:
        from torchmetrics.functional.image import visual_information_fidelity

        tf, ta, tb = tensors(f, a, b)
        return float(np.mean([float(visual_information_fidelity(tf, s)) for s in (ta, tb)]))

    for metric, package, rival in (
        ("VIFp", "sewar", sewar_vifp),
        ("MI", "sklearn", sklearn_mi),
        ("SSIM", "piq", piq_ssim),
        ("VIFp", "piq", piq_vif),
        ("MS-SSIM", "piq", piq_ms_ssim),
        ("VIFp", "torchmetrics", torchmetrics_vif),
    ):
        yield metric, package, rival if found(package) else None


INSTALLED: tuple[tuple[str, str, Rival], ...] = (
    ("EN", "numpy/scipy", entropy),
    ("EN", "scikit-image", lambda f, a, b: float(skimage.measure.shannon_entropy(f))),
    ("SD", "numpy/scipy", lambda f, a, b: float(np.std(f))),
    ("SF", "numpy/scipy", spatial_frequency),
    ("AG", "numpy/scipy", average_gradient),
    ("SCD", "numpy/scipy", scd),
    ("CC", "numpy/scipy", lambda f, a, b: (correlation(f, a) + correlation(f, b)) / 2),
    ("PSNR", "scikit-image", skimage_psnr),
    ("SSIM", "scikit-image", skimage_ssim),
    ("VIFp", "numpy/scipy", vifp),
    ("Qabf", "numpy/scipy", qabf),
    ("MI", "numpy/scipy", mutual_information),
)
ALONE = ("EI", "NMI", "QTE", "QNCIE", "CE", "MS-SSIM", "VIFF", "Nabf", "MEF-SSIM", "QCB", "QCV", "QS", "QY", "QC", "QP")


@dataclass
class Timing:
    """Milliseconds of one function: median and quartiles over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        low, median, high = statistics.quantiles(seconds, n=4)
        return cls(1e3 * median, 1e3 * low, 1e3 * high)

    def __str__(self) -> str:
        return f"{self.median:8.2f} ({self.low:.2f} to {self.high:.2f})"


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


def time_all(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Medians of every function, each called once a round in turn after one call to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing.of(values) for name, values in seconds.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", default="480x640", help="height x width  [default: 480x640]")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="also write the numbers as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    height, width = (int(n) for n in options.size.split("x"))
    images = test_images(height, width)
    tensors = {
        dtype: tuple(torch.from_numpy(x)[None, None].to(dtype) for x in images)
        for dtype in (torch.float32, torch.float64)
    }
    rivals: list[tuple[str, str, Rival]] = list(INSTALLED)
    absent: set[str] = set()
    for metric, package, rival in optional_rivals():
        if rival is None:
            absent.add(package)
        else:
            rivals.append((metric, package, rival))

    names = dict.fromkeys([metric for metric, _, _ in rivals] + list(ALONE))
    functions: dict[str, Callable[[], object]] = {}
    for name in names:
        metric = build(name)
        for dtype, own in tensors.items():
            functions[f"{name} {dtype}"] = lambda metric=metric, own=own: float(metric(*own))  # type: ignore[misc]
    together = {name: build(name) for name in GOAL}
    for dtype, own in tensors.items():
        functions[f"together {dtype}"] = lambda own=own: evaluate(Scene(*own), together, profile="standard")  # type: ignore[misc]
    for metric_name, package, rival in rivals:
        functions[f"{metric_name} {package}"] = lambda rival=rival: rival(*images)  # type: ignore[misc]
    with torch.no_grad():
        timings = time_all(functions, options.rounds)
        values = {name: float(build(name)(*tensors[torch.float64])) for name in names}

    print(f"{height}x{width}, two sources, one thread, {options.rounds} rounds; milliseconds: median (quartiles)\n")
    head = f"{'metric':9} {'float32':28} {'float64':28} {'rival':13} {'its time':30}"
    print(f"{head} {'ratio 32':>8} {'ratio 64':>8}  differs by")
    records = []
    for name in names:
        single, double = timings[f"{name} torch.float32"], timings[f"{name} torch.float64"]
        mine = [(package, rival) for metric_name, package, rival in rivals if metric_name == name]
        if not mine:
            print(f"{name:9} {single!s:28} {double!s:28} none")
            records.append({"metric": name, "float32": asdict(single), "float64": asdict(double), "rival": None})
        for package, rival in mine:
            other = timings[f"{name} {package}"]
            difference = abs(rival(*images) - values[name]) / abs(values[name])
            ratios = (other.median / single.median, other.median / double.median)
            print(
                f"{name:9} {single!s:28} {double!s:28} {package:13} {other!s:30} "
                f"{ratios[0]:8.1f} {ratios[1]:8.1f}  {difference:.0e}"
            )
            records.append(
                {"metric": name, "float32": asdict(single), "float64": asdict(double), "rival": package}
                | {"rival_time": asdict(other), "ratios": ratios, "difference": difference}
            )
    fastest = {n: min(timings[f"{m} {p}"].median for m, p, _ in rivals if m == n) for n in GOAL}
    print(f"\n{' '.join(GOAL)}: the fastest rivals take {sum(fastest.values()):.1f} ms in sum")
    sums = {}
    for dtype in tensors:
        apart = sum(timings[f"{name} {dtype}"].median for name in GOAL)
        shared = timings[f"together {dtype}"].median
        sums[str(dtype)] = {"apart": apart, "together": shared, "rivals": sum(fastest.values())}
        print(
            f"  ours in {dtype}: {apart:.1f} ms one by one ({sum(fastest.values()) / apart:.1f} times faster), "
            f"{shared:.1f} ms in one scene ({sum(fastest.values()) / shared:.1f} times)"
        )
    if absent:
        print(f"not installed, so not compared: {', '.join(sorted(absent))}")
    if options.out:
        about = {
            "machine": platform.processor() or platform.machine(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "scikit-image": skimage.__version__,
            "size": [height, width],
            "rounds": options.rounds,
            "load": os.getloadavg(),
            "absent": sorted(absent),
        }
        aside = options.out.with_suffix(".part")
        aside.write_text(json.dumps({"about": about, "metrics": records, "goal": sums}, indent=1) + "\n")
        aside.replace(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
