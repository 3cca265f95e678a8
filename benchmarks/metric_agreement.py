"""Compare every metric with the values that published code gave on the same images.

    python benchmarks/metric_agreement.py --reference DIR [--out FILE.md]

DIR holds ``reference.csv`` (triple_id, metric, value, implementation, notes) and ``triples/ID/{a,b,f}.png``. For each
kind of reference value is printed which metric and profile stand for it, how many values there are, the greatest
relative error, and every value that does not agree, with the reason where one is known. The exit code is 1 if a value
disagrees without one.
"""

from __future__ import annotations

import argparse
import csv
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from fusionkit.metrics import MetricInputs, build, read_luminance
from fusionkit.metrics.correlation import CC, SCD
from fusionkit.metrics.inputs import CachingMetric, check_inputs
from fusionkit.metrics.mef_ssim import MEFSSIM
from fusionkit.metrics.psnr import PSNR
from fusionkit.metrics.qcv import QCV
from fusionkit.metrics.qte import QTE
from fusionkit.metrics.ssim import SSIM
from fusionkit.metrics.vif import VIFp
from fusionkit.plugins import catalogue

EXACT, CLOSE, FLOAT32 = 1e-9, 1e-6, 1e-6
"""Tolerances: elementary formulas, window statistics, and code that computes in float32."""

ALL_CDDFUSE = ("cddfuse", "refusion", "tdfusion")


@dataclass(frozen=True)
class Rule:
    """Rule that maps a kind of reference value to one of our values.

    Attributes:
        reference: the metric's name in reference.csv.
        code: a part of the implementation's name there.
        targets: what must give it: ``profile:metric``, ``profile:metric*factor``, or a metric under settings that no
            profile has.
        tolerance: greatest relative error.
        reasons: triple -> why it may differ there (``*`` for any triple).
        limit: greatest relative error that a reason excuses; without one it excuses NaN there too.
    """

    reference: str
    code: str
    targets: tuple[str | CachingMetric, ...]
    tolerance: float = EXACT
    reasons: dict[str, str] = field(default_factory=dict)
    limit: float = math.inf


ZERO_BY_ZERO = "0/0 there; the metric is defined on every image here"
NOISE_32 = "float32 rounding in that code, where the windows are flat"
CANCELLATION = {
    "*": "g = cov / (var + 1e-10) of flat areas is a quotient of rounding errors; reference codes differ too"
}
CONSTANT = {"e_a_const": ZERO_BY_ZERO, "e_a_zero": ZERO_BY_ZERO, "e_f_const": ZERO_BY_ZERO, "e_all_const": ZERO_BY_ZERO}
CONSTANT_FUSED = {"e_f_const": "a constant image has no phase: that code takes rounding errors for its features"}
FFT_NOISE = {
    "mripet_lap": "black areas: QCB is a quotient of two filtered images, both of which are rounding errors there"
}
TSALLIS_NOISE = {
    **dict.fromkeys(CONSTANT, "a constant image has an entropy of 1e-18 there instead of 0, and 1e-18^0.43 is 2e-8"),
    "e_all_const": ZERO_BY_ZERO,
    "e_f_const": ZERO_BY_ZERO,
}


def every(profiles: Sequence[str], metric: str) -> tuple[str, ...]:
    return tuple(f"{profile}:{metric}" for profile in profiles)


RULES = (
    Rule("AG", "CDDFuse", every((*ALL_CDDFUSE, "standard"), "AG"), FLOAT32),
    Rule("AG", "IVIF_ZOO", ("ivif_zoo:AG",), FLOAT32),
    Rule("AG", "Tang", ("tang:AG",)),
    Rule("AG", "MEFB", ("mefb:AG", "vifb:AG")),
    Rule("CC", "Tang", ("tang:CC",)),
    Rule("CC", "CDDFuse", every(ALL_CDDFUSE, "CC"), FLOAT32),
    Rule("CC", "IVIF_ZOO", ("ivif_zoo:CC",), FLOAT32),
    Rule("CC", "Topanxal", (CC(undefined=math.nan),), FLOAT32),
    Rule("CE", "ports.py", ("standard:CE",)),
    Rule("CE", "MEFB", ("mefb:CE", "vifb:CE")),
    Rule("CE", "IVIF_ZOO", ("ivif_zoo:CE",), FLOAT32),
    Rule("EI", "ports.py", ("standard:EI",)),
    Rule("EI", "VIFB", ("vifb:EI", "mefb:EI")),
    Rule("EI", "IVIF_ZOO", ("ivif_zoo:EI",), FLOAT32),
    Rule("EN", "CDDFuse", every((*ALL_CDDFUSE, "standard"), "EN")),
    Rule("EN", "Tang", ("tang:EN",)),
    Rule("EN", "MEFB", ("mefb:EN", "vifb:EN")),
    Rule("EN", "HuXiangyu", ("standard:EN",)),
    Rule("EN", "IVIF_ZOO", ("ivif_zoo:EN",), FLOAT32),
    Rule("MI", "CDDFuse", every(ALL_CDDFUSE, "MI")),
    Rule("MI", "VIFB", ("vifb:MI",)),
    Rule("MI", "ports.py", ("standard:MI",)),
    Rule("MI_hab_double", "Tang", ("standard:MI",)),
    Rule("MI", "Tang", ("tang:MI",)),
    Rule("MI", "IVIF_ZOO", ("ivif_zoo:MI",)),
    Rule("NMI", "zhengliu", ("standard:NMI", "standard:QMI")),
    Rule("NMI", "MEFB", ("mefb:NMI",)),
    Rule("NMI", "ports.py", ("standard:NMI",), EXACT, CONSTANT),
    Rule("NMI_zoo", "IVIF_ZOO", ("ivif_zoo:NMI",), 1e-8, {"*": "1e-10 inside its logarithms"}),
    Rule("QTE_correct", "ports.py", ("standard:QTE",), EXACT, TSALLIS_NOISE),
    Rule("QTE", "zhengliu", (QTE(transposed=True),), EXACT, TSALLIS_NOISE),
    Rule("QTE", "ports.py", (QTE(transposed=True),), EXACT, TSALLIS_NOISE),
    Rule("QTE_cvejic_correct", "ports.py", (QTE(form="cvejic", q=1.85),), EXACT, CONSTANT),
    Rule("QTE_cvejic", "zhengliu", ("mefb:QTE",)),
    Rule("QTE_cvejic", "MEFB", ("mefb:QTE",)),
    Rule("QTE_cvejic", "ports.py", ("mefb:QTE",), EXACT, CONSTANT),
    Rule("QTE", "IVIF_ZOO", ("ivif_zoo:QTE",), FLOAT32),
    Rule("QNCIE", "zhengliu", ("standard:QNCIE", "refusion:QNCIE")),
    Rule("QNCIE", "MEFB", ("mefb:QNCIE",)),
    Rule("QNCIE", "ports.py", ("standard:QNCIE",), EXACT, CONSTANT),
    Rule(
        "QNCIE",
        "IVIF_ZOO",
        ("ivif_zoo:QNCIE",),
        FLOAT32,
        {"e_all_eq": "an eigenvalue is 0 up to float32 rounding there, and the logarithm takes its sign"},
    ),
    Rule("MSE", "CDDFuse", every((*ALL_CDDFUSE, "standard"), "MSE"), FLOAT32),
    Rule("MSE", "Tang", ("tang:MSE",)),
    Rule("MSE", "IVIF_ZOO", ("ivif_zoo:MSE",), FLOAT32),
    Rule("PSNR", "CDDFuse", every(ALL_CDDFUSE, "PSNR"), FLOAT32),
    Rule("PSNR", "Tang", ("tang:PSNR",)),
    Rule("PSNR", "IVIF_ZOO", ("ivif_zoo:PSNR",), FLOAT32),
    Rule("PSNR", "VIFB", ("vifb:PSNR",)),
    Rule("PSNR", "MEFB", ("mefb:PSNR",)),
    Rule("PSNR_mean", "HuXiangyu", (PSNR(pooled=False),)),
    Rule("RMSE", "VIFB", ("vifb:RMSE",)),
    Rule("SD", "Tang", ("tang:SD", "standard:SD")),
    Rule("SD", "MEFB", ("mefb:SD", "vifb:SD")),
    Rule("SD", "CDDFuse", every(ALL_CDDFUSE, "SD"), FLOAT32),
    Rule("SD", "IVIF_ZOO", ("ivif_zoo:SD",), FLOAT32),
    Rule("SF", "Tang", ("tang:SF", "standard:SF")),
    Rule("SF", "MEFB", ("mefb:SF", "vifb:SF")),
    Rule("SF", "CDDFuse", every(ALL_CDDFUSE, "SF"), FLOAT32),
    Rule("SF", "IVIF_ZOO", ("ivif_zoo:SF",), FLOAT32),
    Rule("SCD", "Tang", ("tang:SCD",)),
    Rule("SCD", "CDDFuse", every(ALL_CDDFUSE, "SCD"), FLOAT32),
    Rule("SCD", "IVIF_ZOO", ("ivif_zoo:SCD",), FLOAT32),
    Rule("SCD", "Topanxal", (SCD(undefined=math.nan),), FLOAT32),
    Rule("SSIM", "CDDFuse", ("cddfuse:SSIM", "refusion:SSIM*2"), CLOSE),
    Rule("SSIM", "7x7 uniform, sample cov (sum)", ("tdfusion:SSIM*2",), CLOSE),
    Rule("SSIM", "VIFB", ("vifb:SSIM", "standard:SSIM*2"), CLOSE),
    Rule("SSIM", "skimage 0.26:structural_similarity gaussian", ("standard:SSIM*2",), CLOSE),
    Rule("SSIM", "piq 0.8.0:ssim downsample=False", ("standard:SSIM*2",), CLOSE),
    Rule("SSIM", "pytorch_msssim", ("standard:SSIM*2",), 1e-5),
    Rule("SSIM", "IVIF_ZOO", ("ivif_zoo:SSIM",), 1e-4, {"*": NOISE_32}),
    Rule("SSIM_half", "Tang", ("tang:SSIM",), CLOSE),
    Rule("SSIM_half", "Jilei", (SSIM(padding="replicate"),), CLOSE),
    Rule("MS_SSIM", "pytorch_msssim", ("standard:MS-SSIM*2",), 1e-5),
    Rule("MS_SSIM", "piq", ("standard:MS-SSIM*2",), CLOSE),
    Rule("MS_SSIM", "IVIF_ZOO", ("ivif_zoo:MS-SSIM",), 1e-4),
    Rule("VIFp", "Tang", ("tang:VIFp",), EXACT, CANCELLATION, limit=5e-8),
    Rule("VIFp", "sewar", (VIFp(reduction="sum", flat="nan"),), EXACT, CANCELLATION, limit=5e-8),
    Rule("VIFp", "CDDFuse", ("cddfuse:VIFp", "refusion:VIFp", "tdfusion:VIFp*2")),
    Rule("VIFp", "torchmetrics", ("standard:VIFp*2",)),
    Rule("VIFp", "piq", ("standard:VIFp*2",), 1e-8),
    Rule("VIFp", "IVIF_ZOO", ("ivif_zoo:VIFp",), 1e-4),
    Rule("VIFF", "MEFB", ("mefb:VIFF", "standard:VIFF"), CLOSE),
    Rule("VIFF", "Topanxal", ("standard:VIFF",), CLOSE),
    Rule("Qabf", "Tang", ("tang:Qabf", "standard:Qabf")),
    Rule("Qabf", "MEFB", ("mefb:Qabf", "vifb:Qabf"), 2e-9),
    Rule("Qabf", "CDDFuse", every(ALL_CDDFUSE, "Qabf"), FLOAT32),
    Rule("Qabf", "IVIF_ZOO", ("ivif_zoo:Qabf",), FLOAT32),
    Rule("Nabf", "Tang", ("tang:Nabf", "standard:Nabf")),
    Rule("Nabf", "ports.py", ("standard:Nabf",)),
    Rule("Nabf", "IVIF_ZOO", ("ivif_zoo:Nabf",)),
    Rule("Labf", "ports.py", ("standard:Labf",)),
    # MEFB's metric is its copy of the code that Tang calls too; its mef_ssim.m is one scale of that.
    Rule("MEF_MS_SSIM", "Tang", ("tang:MEF-SSIM", "mefb:MEF-SSIM", "standard:MEF-SSIM")),
    Rule("MEF_MS_SSIM", "ports.py", ("standard:MEF-SSIM",)),
    Rule("MEF_SSIM_1level", "MEFB", (MEFSSIM(scales=1),)),
    Rule("MEF_SSIM_1level", "ports.py", (MEFSSIM(scales=1),)),
    Rule("QCB", "zhengliu", ("refusion:QCB",), CLOSE, FFT_NOISE, limit=1e-3),
    Rule("QCB", "MEFB", ("mefb:QCB",), CLOSE, FFT_NOISE, limit=1e-3),
    Rule("QCB", "VIFB", ("vifb:QCB",), CLOSE, FFT_NOISE, limit=1e-3),
    Rule("QCV", "zhengliu", (QCV(undefined=math.nan),), CLOSE),
    Rule("QCV", "MEFB", ("mefb:QCV", "vifb:QCV"), CLOSE),
    Rule("QS", "zhengliu", ("standard:QS",), CLOSE),
    Rule("QW", "zhengliu", ("standard:QW",), CLOSE),
    Rule("QW_edge", "MEFB", ("mefb:QW",), CLOSE),
    Rule("QY", "MEFB", ("mefb:QY",), 1e-4),
    Rule("QC", "MEFB", ("mefb:QC",), 1e-4),
    Rule("QP", "zhengliu", ("standard:QP",), 1e-5, CONSTANT | CONSTANT_FUSED),
    Rule("QP", "MEFB", ("mefb:QP",), 1e-5),
    Rule("QM", "zhengliu", ("standard:QM",)),
    Rule("FMI_none", "", ("standard:FMI-pixel",)),
    Rule("FMI_gradient", "", ("standard:FMI-gradient",)),
    Rule("FMI_dct", "", ("standard:FMI-dct", "tang:FMI-dct")),
    Rule("FMI_w", "", ("standard:FMI-wavelet", "tang:FMI-wavelet"), CLOSE),
)

NOT_OURS = {
    ("EN", "Topanxal"): "merges grey 0 and 1",
    ("AG", "Topanxal"): "float32; the convention of tang",
    ("SD", "Topanxal"): "divides by N - 1",
    ("SF", "Topanxal"): "float32; the convention of mefb",
    ("PSNR", "Topanxal"): "mean of two decibels, peak max(source)",
    ("MI", "HuXiangyu"): "1e-10 inside the quotient",
    ("SSIM", "Topanxal"): "uniform window, zeros beyond the border",
    ("SSIM", "sewar"): "uniform window by default",
    ("SSIM", "downsample=True"): "halves the image first",
    ("SSIM", "torchmetrics"): "mirrors the border, then crops",
    ("MS_SSIM", "sewar"): "other filter between the scales",
    ("Qabf", "Topanxal"): "atan2 instead of atan",
    ("Qabf_petrovic", ""): "1 - Nabf - Labf",
    ("Nabf", "Topanxal"): "Sobel not divided by 8",
    ("Nabf_01", ""): "images in 0..1, where the threshold 2 is never met",
    ("Nabf1", ""): "the form before Shreyamsha Kumar's correction",
    ("SCD_uint8", ""): "subtraction that saturates",
    ("QCB", "bfliu7"): "another frequency grid and border",
    ("QCB", "IVIF_ZOO"): "another frequency grid, no rounding",
    ("QCV", "bfliu7"): "another metric, can be negative",
    ("QY", "IVIF_ZOO"): "other constants and window",
    ("QY", "zhengliu"): "MEFB's code without its treatment of NaN",
    ("QC", "zhengliu"): "MEFB's code without its treatment of NaN",
    ("QG", ""): "other parameters and another reduction under the name of Qabf",
    ("FMI_edge", ""): "needs MATLAB's own edge detector",
    ("VIFvec", ""): "VIF on a steerable pyramid: another metric",
    ("VIFvec_mean_01", ""): "VIF on a steerable pyramid, of images in 0..1",
    ("EPI", ""): "not implemented",
    ("QH_zheng_rSFe", ""): "not implemented",
}


@dataclass
class Line:
    """Result of one comparison: number of values, largest error, disagreements with reason or None."""

    rule: Rule
    target: str | CachingMetric
    count: int = 0
    worst: float = 0.0
    disagreements: list[tuple[str, float, float, str | None]] = field(default_factory=list)


class Images:
    """Iterate over the scenes of a reference folder, one at a time to bound memory."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        self.folder, self.dtype = folder, dtype
        self.name = ""
        self.values: dict[CachingMetric, float] = {}

    def value(self, triple: str, target: str | CachingMetric) -> float:
        if triple != self.name:
            images: list[Tensor] = [
                read_luminance(self.folder / "triples" / triple / f"{k}.png", dtype=self.dtype) for k in "fab"
            ]
            self.inputs, self.name = MetricInputs(*images), triple
            self.values.clear()
        metric, factor = _parts(target)
        if metric not in self.values:
            check_inputs(metric, self.inputs)
            with torch.no_grad():
                self.values[metric] = float(metric.measure(self.inputs))
        return self.values[metric] * factor


def compare(folder: Path, *, dtype: torch.dtype = torch.float64, without: Sequence[str] = ()) -> list[Line]:
    """Compare every reference value that a rule covers, except those of the metrics ``without``."""
    known = set(catalogue.metrics.names()) - set(without)
    lines = [Line(rule, target) for rule in RULES for target in rule.targets if _name(target) in known]
    images = Images(folder, dtype)
    for row in sorted(_rows(folder), key=lambda r: r["triple_id"]):
        if row["value"] == "ERROR":
            continue
        reference = float(row["value"] or "nan")
        for line in lines:
            if line.rule.reference != row["metric"] or line.rule.code not in row["implementation"]:
                continue
            ours = images.value(row["triple_id"], line.target)
            error = _error(ours, reference)
            line.count += 1
            if error > line.rule.tolerance:
                reasons = line.rule.reasons if error <= line.rule.limit else {}
                why = reasons.get(row["triple_id"], reasons.get("*"))
                line.disagreements.append((row["triple_id"], reference, ours, why))
            elif math.isfinite(error):
                line.worst = max(line.worst, error)
    return lines


def uncovered(folder: Path) -> dict[tuple[str, str], tuple[int, str | None]]:
    """Count the reference values that no rule covers, by kind, with the reason or None."""
    found: dict[tuple[str, str], tuple[int, str | None]] = {}
    for row in _rows(folder):
        metric, code = row["metric"], row["implementation"]
        if any(rule.reference == metric and rule.code in code for rule in RULES):
            continue
        why = next((w for (m, c), w in NOT_OURS.items() if m == metric and c in code), None)
        found[metric, code] = (found.get((metric, code), (0, why))[0] + 1, why)
    return found


def _rows(folder: Path) -> Iterator[dict[str, str]]:
    with (folder / "reference.csv").open(newline="") as file:
        yield from csv.DictReader(file)


@cache
def _parts(target: str | CachingMetric) -> tuple[CachingMetric, float]:
    """Return the metric of a target and the factor of its value."""
    if isinstance(target, CachingMetric):
        return target, 1.0
    profile, _, rest = target.partition(":")
    metric, _, factor = rest.partition("*")
    built = build(metric, profile)
    assert isinstance(built, CachingMetric)
    return built, float(factor or 1)


def _name(target: str | CachingMetric) -> str:
    return target.partition(":")[2].partition("*")[0] if isinstance(target, str) else target.info.name


def _error(ours: float, reference: float) -> float:
    if math.isnan(ours) and math.isnan(reference):
        return 0.0
    if ours == reference:
        return 0.0
    if not (math.isfinite(ours) and math.isfinite(reference)):
        return math.inf
    return abs(ours - reference) / max(abs(reference), 1e-5)


def markdown(lines: Sequence[Line]) -> str:
    """Format two tables: every comparison, and every value that differs with the reason."""
    head = "| metric | profile | against | values | max. rel. error | tolerance | differ |\n" + "| --- " * 7 + "|\n"
    rows, apart = "", ""
    for line in lines:
        profile, _, name = line.target.partition(":") if isinstance(line.target, str) else ("settings", "", "")
        name = name.partition("*")[0] or _name(line.target)
        code = line.rule.code.replace("ports.py", "a port of the MATLAB").replace("zhengliu", "Zheng Liu") or "any code"
        count = len(line.disagreements) or ""
        errors = f"{line.worst:.0e} | {line.rule.tolerance:.0e}"
        rows += f"| `{name}` | `{profile}` | {code} | {line.count} | {errors} | {count} |\n"
        for triple, reference, ours, why in line.disagreements:
            apart += f"| `{name}` | `{profile}` | {code} | {triple} | {reference:.9g} | {ours:.9g} | {why} |\n"
    total, differ = sum(line.count for line in lines), sum(len(line.disagreements) for line in lines)
    return (
        f"{total} comparisons: {total - differ} within the tolerance, {differ} not, for the reasons given.\n\n"
        f"## Every comparison\n\n{head}{rows}\n## Every value that differs\n\n"
        "| metric | profile | against | scene | there | here | why |\n" + "| --- " * 7 + f"|\n{apart}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reference", type=Path, required=True, help="folder with reference.csv and triples/")
    parser.add_argument("--float32", action="store_true", help="compute in float32")
    parser.add_argument("--out", type=Path, help="also write the comparisons here, as Markdown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = compare(options.reference, dtype=torch.float32 if options.float32 else torch.float64)
    print(f"{'reference':18} {'code':34} {'profile:metric':22} {'values':>6} {'max rel. error':>14} {'tolerance':>9}")
    for line in lines:
        rule = line.rule
        print(
            f"{rule.reference:18} {rule.code[:34]:34} {str(line.target)[:22]:22} {line.count:6} {line.worst:14.1e} "
            f"{rule.tolerance:9.0e}" + (f"  {len(line.disagreements)} differ" if line.disagreements else "")
        )
        for triple, reference, ours, why in line.disagreements:
            print(f"    {triple}: {reference:.12g} there, {ours:.12g} here: {why or 'NO KNOWN REASON'}")
    print("\nreference values that no profile stands for")
    for (metric, code), (count, why) in sorted(uncovered(options.reference).items()):
        print(f"    {metric} ({code}), {count} values: {why or 'no metric of this name'}")
    if options.out:
        aside = options.out.with_suffix(".part")
        aside.write_text(markdown(lines), encoding="utf-8")
        aside.replace(options.out)
    total = sum(line.count for line in lines)
    explained = sum(d[3] is not None for line in lines for d in line.disagreements)
    wrong = sum(d[3] is None for line in lines for d in line.disagreements)
    print(
        f"\n{total} comparisons: {total - explained - wrong} agree, {explained} differ for a known reason, {wrong} not"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
