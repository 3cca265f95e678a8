"""Infrared-visible pairs: a scene at night, in haze or behind smoke, and a simulated thermal image of it.

The visible image is a photograph with people or a horse put into it, relit or veiled by scattering,
I = J t + A (1 - t) with transmission t = exp(-beta d) (Koschmieder), and noise. The infrared image is made from
emission: bodies warmer than all else, some of them hidden in the visible; materials of even, unrelated emission instead
of the photograph's texture; a lens and a sensor coarser than the visible ones. So each source holds what the other
lacks. There is no known fused image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fusionkit.data.sample.photographs import Floats, Scene, disparity, encode, floats, linear, photograph, to_bytes
from fusionkit.data.sample.random_fields import clouds, ramp, smooth
from fusionkit.data.sample.silhouettes import horse, pedestrian

__all__ = ["PLACES", "Bodies", "infrared", "thermal_scenes", "visible"]

_SIDE = 256


Weather = Literal["night", "haze", "smoke"]


@dataclass(frozen=True)
class Bodies:
    """Warm bodies in a scene: coverage and temperature in [0, 1], ``(H, W)`` each."""

    cover: Floats
    warmth: Floats


PLACES: tuple[tuple[str, str, int, int, Weather, str, tuple[tuple[int, int, int], ...]], ...] = (
    ("motorcycle_left", "train", 0, 0, "night", "people", ((240, 70, 130), (222, 176, 100))),
    ("motorcycle_left", "train", 0, 229, "smoke", "people", ((226, 120, 150),)),
    ("motorcycle_left", "train", 244, 0, "haze", "people", ((130, 60, 110), (118, 205, 88))),
    ("motorcycle_left", "train", 244, 229, "night", "people", ((110, 96, 100),)),
    ("rocket", "train", 165, 0, "night", "horse", ((248, 90, 90),)),
    ("rocket", "train", 150, 128, "haze", "people", ((250, 60, 86), (244, 150, 70))),
    ("camera", "train", 0, 60, "haze", "horse", ((248, 205, 88),)),
    ("camera", "train", 0, 230, "smoke", "people", ((246, 150, 110),)),
    ("brick", "train", 100, 100, "night", "people", ((238, 100, 150), (240, 190, 135))),
    ("motorcycle_left", "test", 0, 485, "haze", "people", ((235, 50, 130),)),
    ("motorcycle_left", "test", 244, 485, "night", "people", ((120, 190, 110),)),
    ("camera", "test", 256, 256, "smoke", "horse", ((200, 120, 120),)),
    ("rocket", "test", 165, 384, "night", "people", ((244, 70, 96), (236, 170, 76))),
)
"""Photograph, split, top, left, weather, kind of body, and row, column and height of each, from the feet."""


def thermal_scenes(rng: Generator) -> list[Scene]:
    """Make the infrared-visible sample."""
    scenes = []
    count: dict[str, int] = {}
    for name, split, top, left, weather, body, feet in PLACES:
        count[name] = count.get(name, 0) + 1
        window = np.s_[top : top + _SIDE, left : left + _SIDE]
        photo = np.ascontiguousarray(photograph(name)[window])
        far = ramp((_SIDE, _SIDE), -np.pi / 2)
        if name == "motorcycle_left":
            deep = floats(1 / smooth(disparity()[window], 1.0))
            far = floats((deep - deep.min()) / (deep.max() - deep.min()))
        distance = floats(1 + 1.6 * far)
        bodies = _bodies(photo.shape[:2], rng, body, feet)
        warm, seen = infrared(photo, bodies, rng), visible(photo, distance, bodies, weather, rng)
        scenes.append(Scene(f"{name.removesuffix('_left')}-{weather}-{count[name]}", split, (warm, seen)))
    return scenes


def _bodies(shape: tuple[int, int], rng: Generator, body: str, feet: tuple[tuple[int, int, int], ...]) -> Bodies:
    cover = np.zeros(shape, np.float32)
    warmth = np.zeros(shape, np.float32)
    rows = floats(np.mgrid[: shape[0], : shape[1]][0])
    for row, column, height in feet:
        if body == "horse":
            one = horse(shape, height=height, foot=(row, column), flip=bool(rng.random() < 0.5))
        else:
            one = pedestrian(shape, rng, height=height, foot=(row, column))
        # Uncovered skin and trunk are warmer than clothed limbs and legs.
        up = np.clip((row - rows) / height, 0, 1)
        profile = 0.50 + 0.22 * np.clip((up - 0.40) * 4, 0, 1) + 0.25 * np.clip((up - 0.84) * 20, 0, 1)
        own = profile * (0.85 + 0.3 * clouds(shape, rng, scale=height / 16, octaves=2))
        warmth = floats(np.where(one > cover, own, warmth))
        cover = floats(np.maximum(cover, one))
    return Bodies(cover, floats(np.clip(warmth, 0, 1)))


def infrared(photo: Floats, bodies: Bodies, rng: Generator) -> NDArray[np.uint8]:
    """Simulate the image of a thermal camera, 8-bit grey.

    Args:
        photo: the scene, ``(H, W, 3)``; the emission of a material follows from its tone by a curve drawn at random.
        bodies: what is warm in it.
        rng: draws emissions and noise.
    """
    luminance = photo @ np.array([0.299, 0.587, 0.114], np.float32)
    coarse = floats(luminance)
    for _ in range(3):
        coarse = floats(cv2.bilateralFilter(coarse, 9, 0.10, 5))
    knots = rng.uniform(0.08, 0.40, 4)
    knots[int(rng.integers(4))] = 0.40
    scene = smooth(floats(np.interp(coarse, np.linspace(coarse.min(), coarse.max(), 4), knots)), 1.0)
    scene = scene + 0.10 * (ramp(scene.shape, np.pi / 2) - 0.5) + 0.06 * (clouds(scene.shape, rng, scale=40) - 0.5)
    warm = scene * (1 - bodies.cover) + (0.30 + 0.70 * bodies.warmth) * bodies.cover
    # Warm ground around a body, then the lens.
    warm = smooth(warm + 0.05 * smooth(bodies.cover, 9), 0.9)
    columns = rng.standard_normal((1, scene.shape[1]), dtype=np.float32)
    noise = rng.standard_normal(scene.shape, dtype=np.float32)
    sensed = warm + 0.004 * columns + 0.006 * noise
    low, high = np.percentile(sensed, [0.5, 99.8])
    return to_bytes((sensed - low) / (high - low))


def visible(photo: Floats, distance: Floats, bodies: Bodies, weather: Weather, rng: Generator) -> NDArray[np.uint8]:
    """Simulate the image of a colour camera, 8-bit RGB.

    Args:
        photo: the scene in clear weather by day, ``(H, W, 3)``.
        distance: of what is seen, ``(H, W)``, 1 the nearest.
        bodies: what stands in it, in clothes of about the tone of what is behind.
        weather: what hides them.
        rng: draws light, smoke and noise.
    """
    shape = (photo.shape[0], photo.shape[1])
    light = linear(photo)
    folds = (0.75 + 0.5 * clouds(shape, rng, scale=6))[:, :, None]
    cloth = 0.02 + (0.55 if weather == "haze" else 0.15) * smooth(light, 9) * folds
    cover = bodies.cover[:, :, None]
    light = floats(light * (1 - cover) + cloth * cover)
    if weather == "night":
        seen = _at_night(light, bodies, rng)
    elif weather == "haze":
        transmission = np.exp(-float(rng.uniform(0.55, 0.7)) * distance)[:, :, None]
        seen = floats(light * transmission + np.array([0.60, 0.62, 0.65]) * (1 - transmission))
    else:
        seen = _in_smoke(light, bodies, rng)
    gain = 4e-4 if weather == "night" else 1e-4
    noise = rng.standard_normal(photo.shape, dtype=np.float32)
    return to_bytes(encode(seen + noise * np.sqrt(gain * np.maximum(seen, 0) + 1e-6)))


def _in_smoke(light: Floats, bodies: Bodies, rng: Generator) -> Floats:
    """Draw smoke that rises from the bodies and drifts to one side."""
    shape = bodies.cover.shape
    rise, drift = float(rng.uniform(10, 22)), float(rng.uniform(-24, 24))
    trail = np.zeros(shape, np.float32)
    for step in range(5):
        move = np.array([[1, 0, step * drift / 2], [0, 1, -step * rise]], np.float32)
        moved = floats(cv2.warpAffine(bodies.cover, move, (shape[1], shape[0])))
        trail = np.maximum(trail, (1 - 0.16 * step) * smooth(moved, 11 + 4 * step) / (0.25 + 0.05 * step))
    billows = clouds(shape, rng, scale=20, octaves=5)
    density = np.clip(5.5 * trail * (0.35 + 0.9 * billows) - 0.35, 0, None)
    veil = (1 - np.exp(-density))[:, :, None]
    grey = (0.30 + 0.40 * clouds(shape, rng, scale=14, octaves=5))[:, :, None] * np.array([0.97, 0.98, 1.0], np.float32)
    return floats(light * (1 - veil) + grey * veil)


def _at_night(light: Floats, bodies: Bodies, rng: Generator) -> Floats:
    """Light a scene at night: one warm lamp away from the bodies."""
    shape = bodies.cover.shape
    rows, columns = floats(np.mgrid[: shape[0], : shape[1]])
    crowd = smooth(bodies.cover, 30)
    tries = rng.uniform(0.15, 0.85, (24, 2)) * shape
    dark = min(tries, key=lambda at: float(crowd[int(at[0]), int(at[1])]))
    pool = np.exp(-((rows - dark[0]) ** 2 + (columns - dark[1]) ** 2) / (2 * (0.24 * shape[0]) ** 2))
    lit = light * (0.035 + 0.5 * pool[:, :, None] * np.array([1.0, 0.86, 0.62], np.float32))
    return floats(lit * (0.030 / lit.mean()))
