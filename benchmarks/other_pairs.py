"""Shipped models and classical methods on pairs that none of them was trained for.

    python -m benchmarks.other_pairs [--pairs 6] [--near-infrared FOLDER] [--sheet other_pairs.jpg]

Makes pairs of four kinds from the photographs of scikit-image and a seed: near infrared and visible (haze that the near
infrared sees through, bright plants), radar and optical (four-look speckle over a reflectivity of its own), degree and
intensity of polarisation, height and optical. FOLDER has real pairs of near infrared (``ir/``) and red (``vi/``).
Prints SCD / Qabf / VIFp of the results stretched alike, and the share of the speckle's amplitude that is left in the
fused image; draws the second pair of each kind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import fusionkit
from benchmarks.contact_sheet import row
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.sample.photographs import Floats, disparity, floats, photograph
from fusionkit.data.sample.random_fields import clouds, smooth
from fusionkit.data.sample.silhouettes import pedestrian
from fusionkit.fuse.model import Model
from fusionkit.io.images import read_image
from fusionkit.metrics import score
from fusionkit.tasks import IVIF

METHODS = ("refusion:ivif", "refusion:mif", "laplacian", "gff", "average", "maximum")
METRICS = ("SCD", "Qabf", "VIFp")
PHOTOGRAPHS = ("rocket", "motorcycle_left", "camera", "coffee", "chelsea", "astronaut")
SIZE = (320, 240)
Pair = tuple[np.ndarray, np.ndarray]


def _scene(index: int) -> Floats:
    picture = photograph(PHOTOGRAPHS[index % len(PHOTOGRAPHS)])
    height, width = picture.shape[:2]
    scale = max(SIZE[0] / width, SIZE[1] / height)
    sized = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    return floats(sized[: SIZE[1], : SIZE[0]])


def _bytes(values: Floats) -> np.ndarray:
    return np.rint(255 * values.clip(0, 1)).astype(np.uint8)


def near_infrared(index: int) -> Pair:
    """A hazy photograph, and its near infrared: less haze, plants bright."""
    rng = np.random.default_rng(index)
    scene = _scene(index)
    depth = clouds(scene.shape[:2], rng, scale=60, octaves=2)[..., None]
    veil = np.exp(-2.2 * depth)
    plants = smooth((clouds(scene.shape[:2], rng, scale=12) > 0.62).astype(np.float32), 0.8)
    grey = scene.mean(2)
    own = (0.75 * grey + 0.2 * scene[..., 0]) * (1 - plants) + plants * (0.7 + 0.3 * grey)
    seen = own * np.exp(-0.5 * depth[..., 0]) + 0.85 * (1 - np.exp(-0.5 * depth[..., 0]))
    return _bytes(floats(seen)), _bytes(floats(scene * veil + 0.85 * (1 - veil)))


def radar(index: int, *, speckle: bool = True) -> Pair:
    """Backscatter of fields, with bright points and four-look speckle, and a photograph."""
    rng = np.random.default_rng(index)
    scene = _scene(index)
    fields = np.floor(5 * clouds(scene.shape[:2], rng, scale=25, octaves=3)) / 5
    edges = cv2.magnitude(cv2.Sobel(scene.mean(2), cv2.CV_32F, 1, 0), cv2.Sobel(scene.mean(2), cv2.CV_32F, 0, 1))
    power = 0.06 + 0.3 * fields + 0.4 * edges.clip(0, 1)
    power[rng.random(power.shape) > 0.9995] += 2
    noise = rng.gamma(4, 0.25, power.shape).astype(np.float32)
    return _bytes(floats(np.sqrt(power * (noise if speckle else 1)))), _bytes(scene)


def polarisation(index: int) -> Pair:
    """Degree of linear polarisation, strong on made things, and intensity."""
    rng = np.random.default_rng(index)
    scene = _scene(index)
    shape = scene.shape[:2]
    made = np.maximum(
        pedestrian(shape, rng, height=120, foot=(200, 90)),
        (clouds(shape, rng, scale=18, octaves=2) > 0.72).astype(np.float32),
    )
    degree = 0.08 + 0.55 * smooth(floats(made), 0.7) + 0.05 * clouds(shape, rng, scale=20)
    dark = 1 - 0.8 * smooth(floats(made), 0.7)
    return _bytes(floats(degree)), _bytes(floats(scene * dark[..., None] * 0.8))


def height(index: int) -> Pair:
    """Height, or nearness where it was measured, and a photograph."""
    scene = _scene(index)
    if PHOTOGRAPHS[index % len(PHOTOGRAPHS)] == "motorcycle_left":
        near = disparity()
        scale = max(SIZE[0] / near.shape[1], SIZE[1] / near.shape[0])
        near = cv2.resize(near, (round(near.shape[1] * scale), round(near.shape[0] * scale)))[: SIZE[1], : SIZE[0]]
        return _bytes(floats((near - near.min()) / (near.max() - near.min()))), _bytes(scene)
    terrain = clouds(scene.shape[:2], np.random.default_rng(index), scale=50)
    return _bytes(terrain), _bytes(scene)


KINDS: dict[str, Callable[[int], Pair]] = {
    "near infrared, visible": near_infrared,
    "radar, optical": radar,
    "polarisation, intensity": polarisation,
    "height, optical": height,
}


def scores(model: Model, pairs: list[Pair]) -> str:
    """Mean SCD / Qabf / VIFp."""
    found = []
    for pair in pairs:
        fused = model.fuse(*pair).array().squeeze()
        grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image for image in (fused, *pair)]
        planes = [torch.from_numpy(image.astype(np.float32))[None, None] for image in grey]
        found.append([float(score(*planes, metrics=[name])[name]) for name in METRICS])
    return " / ".join(f"{value:.3f}" for value in np.mean(found, 0))


def speckle_left(model: Model, count: int) -> float:
    """Amplitude of what the speckle changes in the fused image, of that in the radar image."""
    shares = []
    for index in range(count):
        noisy, clean = radar(index), radar(index, speckle=False)
        changed = model.fuse(*noisy).array().mean(2) - model.fuse(*clean).array().mean(2)
        shares.append(changed.std() / (noisy[0].astype(float) - clean[0]).std())
    return float(np.mean(shares))


def _real(folder: Path) -> list[Pair]:
    pairs = find_pairs(folder, IVIF, split="test")
    half = [[read_image(file).pixels[::2, ::2].squeeze() for file in pair.files] for pair in pairs]
    return [(a, b) for a, b in half]


def draw(models: dict[str, Model], file: Path) -> None:
    """Draw the second pair of each kind."""
    rows = []
    for make in KINDS.values():
        pair = make(1)
        results = [model.fuse(*pair).array().squeeze() for model in models.values()]
        shown = [cv2.cvtColor(x, cv2.COLOR_RGB2BGR) if x.ndim == 3 else x for x in (*pair, *results)]
        rows.append(row(shown, ["first", "second", *models], 200))
    cv2.imwrite(str(file), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 80])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--pairs", type=int, default=6)
    options.add_argument("--near-infrared", type=Path, help="folder of real pairs")
    options.add_argument("--sheet", type=Path, help="picture to draw")
    given = options.parse_args()
    models = {name: fusionkit.load(name, device="cpu", stretch="full") for name in METHODS}
    sets = {kind: [make(index) for index in range(given.pairs)] for kind, make in KINDS.items()}
    if given.near_infrared:
        sets["near infrared, red (real)"] = _real(given.near_infrared)
    print(f"| method | {' | '.join(sets)} | speckle left |")
    print(f"| --- |{' --- |' * (len(sets) + 1)}")
    for name, model in models.items():
        values = [scores(model, pairs) for pairs in sets.values()]
        print(f"| `{name}` | {' | '.join(values)} | {speckle_left(model, 2):.0%} |", flush=True)
    if given.sheet:
        draw({name: models[name] for name in ("refusion:ivif", "refusion:mif", "laplacian")}, given.sheet)


if __name__ == "__main__":
    main()
