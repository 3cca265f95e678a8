"""Errors of the alignment on real pairs that are warped by known transforms.

    python -m benchmarks.alignment --data DATA [--pairs 40] [--aligner NAME] [--task ivif] [--rows FILE]
    python -m benchmarks.alignment --data DATA --folders 10 [--per-set 3]
    python -m benchmarks.alignment --sample

Warps grow: ``none``, ``shift`` up to 30 pixels, ``turn`` also up to 5 degrees, ``scale`` also up to 10 %, and
``homography``, where each corner also moves by up to 12 pixels. They are found as the usual kind of the aligner, a
homography as such, and a rigid aligner is given those without scale. All errors are mean distances of the four corners
in pixels:

- ``repeat``: from the aligner's own estimate on the unwarped pair, carried through the warp; both must be kept.
- ``label``: from the warp itself, which takes the pair for aligned. Public pairs are off by some pixels themselves.
- ``moved``: how far the unwarped pair is moved.

With ``--folders N`` one transform is found for N pairs that are warped alike, as those of a fixed rig are. ``--sample``
takes the built-in pairs, which are aligned by construction: ``moved`` is then an error, and ``repeat`` is left out.
``one modality`` aligns a source with a warped copy of itself.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from fusionkit.contracts import CONFIDENT, Aligner, Alignment, Matrix, Plane, TransformKind
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.sample import sample_pairs
from fusionkit.errors import UsageError
from fusionkit.fuse.aligning import default_aligner, find_alignment, grey
from fusionkit.fuse.transforms import corner_distance, resample
from fusionkit.io.images import read_image
from fusionkit.plugins.catalogue import aligners, tasks

WARPS = ("none", "shift", "turn", "scale", "homography")


@dataclass(frozen=True)
class Row:
    """One estimate.

    Attributes:
        dataset: where the pair is from.
        name: name of the pair, or of the first of a folder.
        warp: one of :data:`WARPS`.
        label: error in pixels to the warp.
        repeat: error in pixels to the estimate on the unwarped pair; NaN where that one is refused.
        moved: how far the unwarped pair is moved, in pixels.
        confidence: of the estimate.
        seconds: CPU time of the estimate.
    """

    dataset: str
    name: str
    warp: str
    label: float
    repeat: float
    moved: float
    confidence: float
    seconds: float

    @property
    def kept(self) -> bool:
        """True if the estimate is sure enough to be used."""
        return self.confidence >= CONFIDENT


def draw_warp(rng: np.random.Generator, shape: tuple[int, int], warp: str) -> Matrix:
    """Draw a transform of points of the reference ``(H, W)``."""
    if warp == "none":
        return np.eye(3)
    grade = WARPS.index(warp)
    shift = rng.uniform(-30, 30, 2)
    turn = np.deg2rad(rng.uniform(-5, 5)) if grade >= WARPS.index("turn") else 0.0
    scale = 1 + rng.uniform(-0.1, 0.1) if grade >= WARPS.index("scale") else 1.0
    middle = np.array([[1, 0, -shape[1] / 2], [0, 1, -shape[0] / 2], [0, 0, 1]])
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.linalg.inv(middle) @ np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [0, 0, 1]]) @ middle
    if warp == "homography":
        corners = np.array([[0, 0], [shape[1], 0], [shape[1], shape[0]], [0, shape[0]]], np.float32)
        jitter = rng.uniform(-12, 12, (4, 2)).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners, corners + jitter) @ matrix
    return np.asarray(matrix / matrix[2, 2], np.float64)


def kind_for(aligner: type[Aligner], warp: str) -> TransformKind | None:
    """Kind of transform that a warp is found as; None if the aligner finds none for it."""
    if warp == "homography":
        return "homography" if "homography" in aligner.kinds else None
    usual = aligner.kinds[0]
    return None if warp == "scale" and usual in ("translation", "rigid") else usual


def measure(
    aligner: type[Aligner],
    moved: Sequence[Plane],
    fixed: Sequence[Plane],
    *,
    seed: Sequence[int],
    dataset: str,
    name: str,
    warps: Sequence[str],
) -> Iterator[Row]:
    """Warp pairs of one rig alike by one transform of each kind, and measure the estimates.

    Args:
        aligner: finds the transforms.
        moved: one grey image per pair.
        fixed: the reference of each.
        seed: of the warps.
        dataset: goes into the rows.
        name: goes into the rows.
        warps: some of :data:`WARPS`.
    """
    shape = (fixed[0].shape[0], fixed[0].shape[1])
    bases: dict[TransformKind, Alignment] = {}
    for warp in warps:
        kind = kind_for(aligner, warp)
        if kind is None:
            continue
        base = bases.get(kind)
        spent = 0.0
        if base is None:
            start = time.process_time()
            base = bases[kind] = find_alignment(aligner, moved, fixed, kind)
            spent = time.process_time() - start
        matrix = draw_warp(np.random.default_rng([*seed, WARPS.index(warp)]), shape, warp)
        found, seconds = base, spent
        if warp != "none":
            warped = [resample(image, np.linalg.inv(matrix), shape)[0].clip(0, 1) for image in moved]
            start = time.process_time()
            found = find_alignment(aligner, warped, fixed, kind)
            seconds = time.process_time() - start
        repeat = corner_distance(found.matrix, matrix @ base.matrix, shape)
        yield Row(
            dataset,
            name,
            warp,
            label=corner_distance(found.matrix, matrix, shape),
            repeat=repeat if base.confidence >= CONFIDENT else float("nan"),
            moved=corner_distance(base.matrix, np.eye(3), shape),
            confidence=found.confidence,
            seconds=seconds,
        )


def summary(title: str, rows: Sequence[Row]) -> str:
    """Put the errors of some estimates into one row of a Markdown table."""
    kept = [row for row in rows if row.kept]
    repeats = np.array([row.repeat for row in kept if np.isfinite(row.repeat) and row.warp != "none"])
    labels = np.array([row.label for row in kept])
    moved = np.array([row.moved for row in kept if row.warp == "none"])

    def shown(values: np.ndarray) -> list[str]:
        if not len(values):
            return ["-"] * 4
        under = f"{100 * (values < 3).mean():.0f} %"
        return [f"{np.median(values):.2f}", f"{np.percentile(values, 95):.1f}", under, f"{values.max():.1f}"]

    cells = [
        title,
        str(len(rows)),
        f"{100 * (1 - len(kept) / len(rows)):.0f} %",
        *shown(repeats),
        *[shown(labels)[k] for k in (0, 3)],
        f"{np.median(moved):.2f}" if len(moved) else "-",
        f"{np.mean([row.seconds for row in rows]):.2f}",
    ]
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "pairs",
    "estimates",
    "refused",
    "repeat: median",
    "95 %",
    "under 3",
    "worst",
    "label: median",
    "worst",
    "moved",
    "CPU s",
)


def report(rows: Sequence[Row]) -> None:
    """Print one table: every warp of every data set, every warp, and all."""
    print(f"| {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * (len(COLUMNS) - 1)}")
    sets = list(dict.fromkeys(row.dataset for row in rows))
    warps = [warp for warp in WARPS if any(row.warp == warp for row in rows)]
    for dataset in sets:
        for warp in warps:
            some = [row for row in rows if (row.dataset, row.warp) == (dataset, warp)]
            if some:
                print(summary(f"{dataset}, {warp}", some))
    for dataset in sets:
        print(summary(f"{dataset}, all", [row for row in rows if row.dataset == dataset]))
    if len(sets) > 1:
        for warp in warps:
            print(summary(f"all, {warp}", [row for row in rows if row.warp == warp]))
        print(summary("all", rows), flush=True)


def spread(files: Sequence[tuple[Path, ...]], count: int) -> list[tuple[Path, ...]]:
    """Take some pairs at equal distances."""
    places = np.linspace(0, len(files) - 1, min(count, len(files))).round().astype(int)
    return [files[place] for place in places]


def planes(files: Sequence[Path]) -> tuple[Plane, Plane]:
    """Read a pair as grey images."""
    first, second = (grey(read_image(file)) for file in files[:2])
    return first, second


def real_pairs(options: argparse.Namespace, aligner: type[Aligner], warps: Sequence[str]) -> Iterator[Row]:
    """Measure real pairs, one by one or as folders."""
    by_set: dict[str, list[tuple[Path, ...]]] = {}
    for pair in find_pairs(options.data, tasks.get(options.task), split=options.split):
        if not options.dataset or pair.dataset in options.dataset:
            by_set.setdefault(pair.dataset, []).append(pair.files)
    names = list(by_set)
    for number, dataset in enumerate(names):
        if not options.folders:
            share = options.pairs // len(names) + (number < options.pairs % len(names))
            for place, files in enumerate(spread(by_set[dataset], share)):
                one, other = planes(files)
                seed = (options.seed, number, place)
                yield from measure(aligner, [one], [other], seed=seed, dataset=dataset, name=files[0].stem, warps=warps)
            continue
        # A rig has images of one size: the commonest of the set.
        read = [planes(files) for files in by_set[dataset]]
        sizes = [(one.shape, other.shape) for one, other in read]
        usual = max(set(sizes), key=sizes.count)
        alike = [pair for pair, size in zip(read, sizes, strict=True) if size == usual]
        for place in range(options.per_set):
            chosen = np.random.default_rng([options.seed, place]).permutation(len(alike))[: options.folders]
            if len(chosen) < options.folders:
                raise UsageError(f"{dataset}: has {len(alike)} pairs of one size, and folders of {options.folders}")
            yield from measure(
                aligner,
                [alike[k][0] for k in chosen],
                [alike[k][1] for k in chosen],
                seed=(options.seed, number, place),
                dataset=dataset,
                name=str(place),
                warps=warps,
            )


def made_pairs(options: argparse.Namespace, aligner: type[Aligner], warps: Sequence[str]) -> Iterator[Row]:
    """Measure the built-in pairs, between modalities and within one."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = sample_pairs(tasks.get(options.task), Path(folder) / "pairs")
        for place, pair in enumerate(pairs):
            one, other = planes(pair.files)
            name, seed = pair.files[0].stem, (options.seed, place)
            yield from measure(aligner, [one], [other], seed=seed, dataset="sample", name=name, warps=warps)
            yield from measure(aligner, [other], [other], seed=seed, dataset="one modality", name=name, warps=warps)


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", help="data, as 'fusionkit bench' takes it")
    source.add_argument("--sample", action="store_true", help="the built-in pairs")
    parser.add_argument("--task", default="ivif")
    parser.add_argument("--split", default="test")
    parser.add_argument("--dataset", action="append", help="only these data sets; may be repeated")
    parser.add_argument("--aligner", default="", choices=["", *aligners.names()])
    parser.add_argument("--pairs", type=int, default=40, help="of all data sets together")
    parser.add_argument("--folders", type=int, default=0, help="align folders of this many pairs")
    parser.add_argument("--per-set", type=int, default=3, help="folders per data set")
    parser.add_argument("--warp", action="append", choices=WARPS, help="only these; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, help="also write every estimate, as JSON lines")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    aligner = aligners.get(options.aligner or default_aligner(options.task))
    warps = options.warp or WARPS
    rows = []
    for row in (made_pairs if options.sample else real_pairs)(options, aligner, warps):
        rows.append(row)
        if options.rows:
            with options.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")
    report(rows)


if __name__ == "__main__":
    main()
