"""Compare the published conventions of every metric on the same images.

    python benchmarks/metric_disagreement.py --set MSRS=DIR/ir,DIR/vi [--set NAME=A,B ...] [--pairs 3] [--out FILE.md]

The pairs of each set (two folders, matched by name) are fused by some classical methods, saved to 8 bits, and scored
under the standard and under every published convention that gives other numbers. Printed are, per metric, the mean
value of each convention, how far it is from the standard's, why, and what it does to the ranking of the methods.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from scipy.stats import kendalltau

import fusionkit
from fusionkit.data.pairing import match_folders
from fusionkit.metrics import PROFILES, MetricInputs, build, read_luminance
from fusionkit.metrics.image_files import luminance
from fusionkit.metrics.inputs import CachingMetric, check_inputs

METHODS = ("average", "maximum", "laplacian", "dwt", "gff", "copy-a")

ONLY_UNDEFINED = {"undefined", "flat", "finite"}
"""Settings for 0/0, which change no value of a real image."""

WHY: Mapping[tuple[str, str], str] = {
    ("AG", "tang vifb mefb"): "divides by (H - 1)(W - 1) instead of H W",
    ("CE", "ivif_zoo"): "binary cross entropy of the sigmoids of grey levels: another quantity",
    ("EI", "ivif_zoo"): "zeros beyond the border make an edge of it",
    ("EN", "ivif_zoo"): "float32, and 1e-7 inside the logarithm",
    ("MI", "refusion tdfusion cddfuse vifb"): "nats instead of bits",
    ("MI", "tang"): "uint8 arithmetic merges the levels 254 and 255",
    ("MS-SSIM", "ivif_zoo"): "images multiplied by 255 with L = 255; the sum over the sources",
    ("MSE", "tang ivif_zoo"): "images in 0..1",
    ("NMI", "ivif_zoo"): "divides by the entropies of the sources, the fused image's left out",
    ("Nabf", "ivif_zoo"): "flat pixels have no weight",
    ("PSNR", "refusion tdfusion cddfuse"): "the peak is the largest value of the fused image",
    ("PSNR", "tang ivif_zoo"): "a peak of 255 over errors in 0..1: 48.13 dB too high",
    ("PSNR", "vifb mefb"): "sqrt(SSE) / (H W) for the error: the size of the image decides",
    ("QC", "mefb"): "rounding errors decide the windows where nothing varies",
    ("QCB", "vifb"): "no division by 255 before the stretch: some halves are rounded the other way",
    ("QNCIE", "ivif_zoo"): "Pearson's correlation instead of the nonlinear one",
    ("QTE", "mefb"): "Cvejic's form (q = 1.85, no denominator), with the marginals swapped",
    ("QTE", "ivif_zoo"): "H(A) + H(B) - H(F): another quantity",
    ("QW", "mefb"): "edge images in the images' place",
    ("QY", "mefb"): "rounding errors decide the windows where nothing varies",
    ("RMSE", "vifb"): "sqrt(SSE) / (H W)",
    ("SF", "vifb mefb"): "both sums divided by H W",
    ("SSIM", "refusion"): "7 x 7 uniform window, sample variances, a data range of 2, float32",
    ("SSIM", "tdfusion"): "7 x 7 uniform window, sample variances",
    ("SSIM", "cddfuse"): "7 x 7 uniform window, sample variances, a data range of 2, float32; the sum over the sources",
    ("SSIM", "tang"): "a data range of 1, replicated border",
    ("SSIM", "vifb"): "the sum over the sources",
    ("SSIM", "ivif_zoo"): "images multiplied by 255 with L = 255; the sum over the sources",
    ("VIFp", "refusion cddfuse tang"): "the sum over the sources",
    ("VIFp", "ivif_zoo"): "the Gaussian off its centre, zeros beyond the border; the sum over the sources",
}
"""Metric and the profiles that share a convention -> how it differs from the standard."""


@dataclass
class Convention:
    """A convention of a metric that differs from the standard, and its values.

    Attributes:
        metric: its name.
        profiles: those that have this convention.
        built: the metric under it.
        values: image -> value; an image is set, pair, method.
    """

    metric: str
    profiles: tuple[str, ...]
    built: CachingMetric
    values: dict[tuple[str, str, str], float] = field(default_factory=dict)

    @property
    def why(self) -> str:
        """Difference from the standard, in words."""
        names = set(self.profiles)
        return next(
            why for (metric, profiles), why in WHY.items() if metric == self.metric and set(profiles.split()) == names
        )


def conventions() -> list[Convention]:
    """Return the published conventions that differ from the standard on real images; equal ones are merged."""
    found: dict[tuple[str, str], Convention] = {}
    for profile in PROFILES.values():
        for name, settings in (profile.settings or {}).items():
            changed = {key: value for key, value in settings.items() if key not in ONLY_UNDEFINED}
            if not changed:
                continue
            key = (name, repr(sorted(changed.items(), key=str)))
            built = build(name, profile.name)
            assert isinstance(built, CachingMetric)
            if key in found:
                found[key].profiles += (profile.name,)
            else:
                found[key] = Convention(name, (profile.name,), built)
    return sorted(found.values(), key=lambda c: c.metric)


def scenes(
    sets: Mapping[str, tuple[Path, Path]], methods: Sequence[str], count: int
) -> Iterator[tuple[tuple[str, str, str], MetricInputs]]:
    """Fuse every pair by every method; return the luminance of the saved 8 bits."""
    models = {name: fusionkit.load(name, device="cpu") for name in methods}
    for name, folders in sets.items():
        pairs, _ = match_folders(folders)
        step = max(len(pairs) // count, 1)
        for pair in pairs[::step][:count]:
            sources = [read_luminance(file) for file in pair.files]
            for method, model in models.items():
                yield (
                    (name, pair.name, method),
                    MetricInputs(luminance(model.fuse(*pair.files, bits=8).image), *sources),
                )


def relative(value: float, standard: float) -> float:
    """Relative difference of a value from the standard's."""
    return (value - standard) / abs(standard) if standard else math.inf


def ranking(values: Mapping[tuple[str, str, str], float], methods: Sequence[str], higher: bool) -> list[float]:
    """Mean of each method, negated where lower is better."""
    means = [statistics.fmean(v for (_, _, method), v in values.items() if method == m) for m in methods]
    return means if higher else [-mean for mean in means]


def table(rows: Sequence[Convention], standard: Mapping[str, Convention], methods: Sequence[str]) -> str:
    """Format the Markdown table: one line per convention, each metric's standard first."""
    head = ("metric", "convention", "mean", "from the standard", "range over images", "tau", "best method", "why")
    lines = [head, ("---",) * len(head)]
    shown = set()
    for row in rows:
        base = standard[row.metric]
        higher = base.built.info.higher_is_better
        wanted = ranking(base.values, methods, higher)
        if row.metric not in shown:
            shown.add(row.metric)
            best = methods[wanted.index(max(wanted))]
            lines.append(
                (
                    f"**{row.metric}**",
                    "`standard`",
                    _short(statistics.fmean(base.values.values())),
                    "",
                    "",
                    "",
                    best,
                    "",
                )
            )
        got = ranking(row.values, methods, higher)
        tau = float(kendalltau(wanted, got).statistic)
        mean, apart = (
            statistics.fmean(row.values.values()),
            [relative(row.values[k], base.values[k]) for k in row.values],
        )
        lines.append(
            (
                "",
                ", ".join(f"`{profile}`" for profile in row.profiles),
                _short(mean),
                _percent(relative(mean, statistics.fmean(base.values.values()))),
                f"{_percent(min(apart))} to {_percent(max(apart))}",
                "" if math.isnan(tau) else f"{tau:.2f}",
                methods[got.index(max(got))] if not any(map(math.isnan, got)) else "not defined",
                row.why,
            )
        )
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _short(value: float) -> str:
    return f"{value:.4g}"


def _percent(share: float) -> str:
    if not math.isfinite(share):
        return "0 there"
    percent = 100 * share
    if abs(percent) >= 1000:
        return f"{share + 1:.3g} times it"
    if abs(percent) >= 10:
        return f"{percent:+.0f} %"
    return f"{percent:+.2g} %" if abs(percent) > 1e-6 else "0 %"


def measure(
    sets: Mapping[str, tuple[Path, Path]], methods: Sequence[str], count: int
) -> tuple[list[Convention], dict[str, Convention]]:
    """Values of every convention, and of the standard of each metric that has one."""
    rows = conventions()
    standard = {row.metric: Convention(row.metric, ("standard",), _standard(row.metric)) for row in rows}
    for image, scene in scenes(sets, methods, count):
        print(*image, file=sys.stderr, flush=True)
        for convention in (*rows, *standard.values()):
            check_inputs(convention.built, scene)
            convention.values[image] = float(convention.built.measure(scene))
    return rows, standard


def _standard(name: str) -> CachingMetric:
    metric = build(name)
    assert isinstance(metric, CachingMetric)
    return metric


def _set(text: str) -> tuple[str, tuple[Path, Path]]:
    name, equals, folders = text.partition("=")
    first, comma, second = folders.partition(",")
    if not (equals and comma):
        raise argparse.ArgumentTypeError(f"{text!r}: give NAME=FOLDER_A,FOLDER_B")
    return name, (Path(first), Path(second))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--set", dest="sets", action="append", type=_set, required=True, help="NAME=FOLDER_A,FOLDER_B")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"fusers  [default: {','.join(METHODS)}]")
    parser.add_argument("--pairs", type=int, default=3, help="pairs of each set  [default: 3]")
    parser.add_argument("--out", type=Path, help="also write the table here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    methods = options.methods.split(",")
    with torch.no_grad():
        rows, standard = measure(dict(options.sets), methods, options.pairs)
    images = len(next(iter(standard.values())).values)
    text = (
        f"{images} fused images: {options.pairs} pairs of each of {', '.join(name for name, _ in options.sets)}, "
        f"fused by {', '.join(methods)}.\n\n{table(rows, standard, methods)}"
    )
    print(text)
    if options.out:
        aside = options.out.with_suffix(".part")
        aside.write_text(text, encoding="utf-8")
        aside.replace(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
