"""Things that move between exposures, with a known truth: methods side by side on real brackets.

    python -m benchmarks.moving --data DATA/MEFB [--exposures 2,5] [--limit N] [--fuser mertens --fuser laplacian]
        [--keep FOLDER]

Parts of each real bracket are cut out, as every exposure shows them, and pasted elsewhere: in another place per
exposure, so that they move. Pasted in one place in all exposures, as in exposure r, they stand still. What a method
makes of the still bracket is what it would have made without motion: printed is the PSNR in dB between its two results
inside the moving things, over all their places ("moving"), and outside of them ("elsewhere"). For methods without a
reference the best r of the first, middle and last exposure and the reference of ``mertens-deghost`` counts. ``to
mertens`` is the PSNR inside to what ``mertens`` makes of the still bracket. ``worst`` is the lowest ``moving`` of any
bracket.

Brackets of more than two are made: from the two real exposures a picture in linear light is put together, exposed anew
at equal steps with noise (1 level), clipped and rounded.

``static`` tells what is lost where nothing moves, on made brackets, of two exposures as well: they get more noise (2
levels), and the PSNR of the noisy result to what ``mertens`` makes of the bracket before is compared with that of
``mertens``. ``replaced`` is the part of the noisy bracket's pixels that ``mertens-deghost`` replaces all the same.

``enfuse`` (Debian) is called with its defaults where it is installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import fusionkit
from fusionkit.data.pair_finding import find_pairs
from fusionkit.errors import FusionkitError
from fusionkit.plugins import catalogue

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Fuse = Callable[[Sequence[Image]], Image]

_FUSERS = ("mertens-deghost", "mertens", "refusion:meif", "laplacian", "gff", "average")
_OURS = "mertens-deghost"
_GAMMA = 2.2


def psnr(image: Image, truth: Image, where: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB over the pixels of a mask, 60 at most: equal images have no finite one."""
    error = np.square(image.astype(np.float64) - truth)
    least = 255**2 / 10**6
    return float(10 * np.log10(255**2 / max(float((error if where is None else error[where]).mean()), least)))


def expose(pair: Sequence[Image], count: int, rng: np.random.Generator) -> list[Image]:
    """Make a bracket of ``count`` exposures from a real one of two: their light is put together and exposed anew.

    Nothing moves in it, whatever moved between the two.
    """
    dark, bright = ((image.astype(np.float32) / 255) ** _GAMMA for image in sorted(pair, key=lambda each: each.mean()))
    usable = (dark > 0.01) & (bright < 0.8) & (bright > dark)
    gain = float(np.median(bright[usable] / dark[usable])) if usable.sum() > 100 else 8.0
    trust = np.clip((0.9 - bright) / 0.3, 0, 1)
    light = trust * bright / gain + (1 - trust) * dark
    made = []
    for factor in np.geomspace(1, gain, count):
        levels = 255 * np.clip(light * factor, 0, 1) ** (1 / _GAMMA) + rng.normal(0, 1, light.shape)
        made.append(np.rint(np.clip(levels, 0, 255)).astype(np.uint8))
    return made


class Scene:
    """A bracket, and things cut out of it that are pasted back elsewhere.

    Args:
        bracket: exposures ``(H, W, 3)``.
        rng: chooses the things and their places.
        things: how many.
    """

    def __init__(self, bracket: Sequence[Image], rng: np.random.Generator, things: int = 3) -> None:
        self.bracket = list(bracket)
        height, width = bracket[0].shape[:2]
        self.cuts: list[tuple[tuple[int, int], NDArray[np.float32], list[tuple[int, int]]]] = []
        for _ in range(things):
            side = int(min(height, width) * rng.uniform(0.12, 0.3))
            cover = np.zeros((side, side), np.float32)
            axes = (side // 2 - 2, int((side // 2 - 2) * rng.uniform(0.4, 1)))
            cv2.ellipse(cover, (side // 2, side // 2), axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
            cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), 0.7), np.float32)
            start = np.array([rng.uniform(0, height - side), rng.uniform(0, width - side)])
            turn = rng.uniform(0, 2 * np.pi)
            step = side * rng.uniform(0.3, 1.2) * np.array([np.sin(turn), np.cos(turn)])
            ends = np.array([height - side, width - side])
            places = [tuple(np.clip(start + step * k, 0, ends).astype(int).tolist()) for k in range(len(bracket))]
            cut = (int(rng.integers(0, height - side)), int(rng.integers(0, width - side)))
            self.cuts.append((cut, cover, [places[k] for k in rng.permutation(len(bracket))]))

    def paste(self, still: int | None) -> list[Image]:
        """The bracket with the things, each where its own exposure has it, or all where exposure ``still`` does."""
        shown = []
        for k, exposure in enumerate(self.bracket):
            image = exposure.astype(np.float32)
            for (top, left), cover, places in self.cuts:
                side = len(cover)
                row, column = places[k if still is None else still]
                part = image[row : row + side, column : column + side]
                part += cover[..., None] * (exposure[top : top + side, left : left + side] - part)
            shown.append(np.rint(image).astype(np.uint8))
        return shown

    def moving(self) -> Mask:
        """Where a thing is in any exposure."""
        found = np.zeros(self.bracket[0].shape[:2], np.bool_)
        for _, cover, places in self.cuts:
            for row, column in places:
                found[row : row + len(cover), column : column + len(cover)] |= cover > 0.1
        return found


def by_fuser(name: str, **options: str) -> Fuse:
    """Fuse by a fuser of the kit."""
    model = fusionkit.load(name, device="cpu", options=options or None)
    return lambda bracket: _colour(model.fuse(*bracket).array(bits=8))


def _colour(image: Image) -> Image:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, 2)


def by_enfuse(bracket: Sequence[Image]) -> Image:
    """Fuse by enfuse with its own defaults."""
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"{k}.png" for k in range(len(bracket))]
        for file, image in zip(files, bracket, strict=True):
            cv2.imwrite(str(file), image[..., ::-1])
        made = Path(scratch) / "fused.png"
        subprocess.run(["enfuse", "-o", str(made), *map(str, files)], check=True, capture_output=True)
        return read(made)


def read(path: Path) -> Image:
    """Read an image as ``(H, W, 3)`` RGB."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise SystemExit(f"{path}: cannot be read as an image")
    return np.asarray(image, np.uint8)


def reference_of(bracket: Sequence[Image]) -> int:
    """The exposure with the most pixels between 6 % and 94 %: the one that ``mertens-deghost`` chooses."""
    return int(np.argmax([((image > 0.06 * 255) & (image < 0.94 * 255)).mean() for image in bracket]))


def measure(scene: Scene, programs: dict[str, Fuse], keep: Path | None) -> dict[str, tuple[float, float, float]]:
    """``moving``, ``elsewhere`` and ``to mertens`` of each program."""
    moved, moving = scene.paste(None), scene.moving()
    given = reference_of(moved)
    results = {}
    pictures = {}
    for name, fuse in programs.items():
        fused = pictures[name] = fuse(moved)
        stills = [given] if name == _OURS else sorted({given, 0, len(moved) // 2, len(moved) - 1})
        best = max(
            (psnr(fused, still, moving), psnr(fused, still, ~moving), psnr(fused, base, moving))
            for still, base in ((fuse(scene.paste(r)), programs["mertens"](scene.paste(r))) for r in stills)
        )
        results[name] = best
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
        pictures["still"] = programs["mertens"](scene.paste(given))
        for name, picture in [*((f"exposure-{k}", image) for k, image in enumerate(moved)), *pictures.items()]:
            cv2.imwrite(str(keep / f"{name.replace(':', '-')}.png"), picture[..., ::-1])
    return results


def replaced(bracket: Sequence[Image]) -> float:
    """The part of the pixels that ``mertens-deghost`` replaces in some exposure."""
    import torch

    fuser = catalogue.fusers.get(_OURS)()
    with torch.inference_mode():
        maps = fuser.maps(*(torch.from_numpy(image).permute(2, 0, 1)[None] / 255 for image in bracket))
    return float((maps["moving"] > 0.5).float().mean())


def static_loss(bracket: Sequence[Image], programs: dict[str, Fuse], rng: np.random.Generator) -> tuple[float, float]:
    """What ``mertens-deghost`` loses in dB on a noisy bracket in which nothing moves, and the part that it replaces."""
    noisy = [np.rint(np.clip(image + rng.normal(0, 2, image.shape), 0, 255)).astype(np.uint8) for image in bracket]
    clean = programs["mertens"](bracket)
    loss = psnr(programs["mertens"](noisy), clean) - psnr(programs[_OURS](noisy), clean)
    return loss, replaced(noisy)


def main() -> None:
    """Read the options, fuse, and print a table per number of exposures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, action="append", help="pairs of one data set; may be repeated")
    parser.add_argument("--split", help="only this split of them")
    parser.add_argument("--exposures", default="2,5", metavar="N,...", help="numbers of exposures, 2 to 9 [2,5]")
    parser.add_argument("--fuser", action="append", metavar="MODEL", help=f"may be repeated [{', '.join(_FUSERS)}]")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pairs of each data set")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the images of the first 12 brackets")
    given = parser.parse_args()
    try:
        task = catalogue.tasks.get("meif")
        pairs = [pair for data in given.data for pair in list(find_pairs(data, task, split=given.split))[: given.limit]]
        named = dict.fromkeys((*_FUSERS[:2], *(given.fuser or _FUSERS)))
        programs: dict[str, Fuse] = {name: by_fuser(name) for name in named}
    except FusionkitError as error:
        parser.error(str(error))
    if shutil.which("enfuse"):
        programs["enfuse"] = by_enfuse
    for count in (int(number) for number in given.exposures.split(",")):
        rows, static = [], []
        for done, pair in enumerate(pairs):
            rng = np.random.default_rng(zlib.crc32(f"{pair.name} {count}".encode()))
            pictures = [read(file) for file in pair.files]
            made = expose(pictures, count, rng)
            keep = given.keep / f"{count}-{pair.name}" if given.keep and done < 12 else None
            rows.append(measure(Scene(pictures if count == 2 else made, rng), programs, keep))
            static.append(static_loss(made, programs, rng))
        print(f"\n{count} exposures, {len(pairs)} brackets\n\n| method | moving | worst | elsewhere | to mertens |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name in programs:
            values = np.array([row[name] for row in rows])
            means, worst = values.mean(0), values[:, 0].min()
            print(f"| {name} | {means[0]:.1f} | {worst:.1f} | {means[1]:.1f} | {means[2]:.1f} |")
        losses, parts = np.array(static).T * [[1], [100]]
        print(f"\nstatic: {losses.mean():.3f} dB lost (at most {losses.max():.3f}), replaced", end=" ")
        print(f"{parts.mean():.2f} % (at most {parts.max():.2f} %)", flush=True)


if __name__ == "__main__":
    main()
