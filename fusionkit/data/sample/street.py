"""Labelled infrared-visible pairs: streets with people and cars, drawn with the labels from the same shapes.

Neither source shows everything. People are warm: the infrared shows them best. Cars have stood in the
street and are as warm as it is: the infrared shows little of them, the visible most. By day a person is darker than
what is behind in the visible and brighter in the infrared, so that the average of both shows less than either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from fusionkit.data.sample.photographs import Floats, Scene, encode, floats, to_bytes
from fusionkit.data.sample.random_fields import clouds, ramp, smooth
from fusionkit.data.sample.traffic import CAR, PERSON, Thing, draw_car, draw_person

__all__ = ["BOX_CLASSES", "MASK_CLASSES", "Labels", "street_scenes"]

MASK_CLASSES = ("background", "person", "car")
BOX_CLASSES = ("person", "car")

_SHAPE = (128, 160)
_COUNTS = {"train": 24, "test": 8}
_WEATHERS: tuple[Weather, ...] = ("day", "night", "fog", "night")

Weather = Literal["day", "fog", "night"]


@dataclass(frozen=True)
class Labels:
    """Labels of a street.

    Attributes:
        mask: ids of :data:`MASK_CLASSES`, ``(H, W)`` uint8.
        boxes: an id of :data:`BOX_CLASSES` and x0, y0, x1, y1 in pixels, one row per object.
    """

    mask: NDArray[np.uint8]
    boxes: tuple[tuple[int, int, int, int, int], ...]


def street_scenes(rng: Generator) -> list[tuple[Scene, Labels]]:
    """Make the labelled sample: 24 streets to train on and 8 to test on, each with two to five objects."""
    made = []
    for split, count in _COUNTS.items():
        for number in range(count):
            weather = _WEATHERS[number % len(_WEATHERS)]
            sources, labels = _street(weather, rng)
            made.append((Scene(f"{split}-{number:02}-{weather}", split, sources), labels))
    return made


def _street(weather: Weather, rng: Generator) -> tuple[tuple[NDArray[np.uint8], ...], Labels]:
    horizon = float(rng.uniform(36, 50))
    colour, warmth, depth = _backdrop(horizon, rng)
    things = _things(horizon, rng)
    for thing in things:
        cover = thing.cover[:, :, None]
        colour = floats(colour * (1 - cover) + thing.colour * cover)
        warmth = floats(warmth * (1 - thing.cover) + thing.warmth * thing.cover)
        depth = floats(np.where(thing.cover > 0.5, _depth(thing.foot, horizon), depth))
    return (_infrared(warmth, weather, rng), _visible(colour, depth, things, weather, rng)), _labels(things)


def _depth(row: float | Floats, horizon: float) -> Floats:
    """Distance of the ground at a row, 1 at the lower border."""
    return floats((_SHAPE[0] - horizon) / np.maximum(np.asarray(row) - horizon, 4))


def _backdrop(horizon: float, rng: Generator) -> tuple[Floats, Floats, Floats]:
    """Draw reflectance ``(H, W, 3)``, temperature and distance of sky, houses and ground."""
    height, width = _SHAPE
    rows, columns = floats(np.mgrid[:height, :width])
    colour = np.broadcast_to(np.array([0.62, 0.70, 0.80], np.float32), (height, width, 3)).copy()
    warmth = np.full(_SHAPE, 0.02, np.float32)
    depth = np.full(_SHAPE, 9.0, np.float32)
    at = 0
    while at < width:
        wide, roof = int(rng.integers(22, 48)), int(rng.integers(2, int(horizon) - 14))
        wall, own = rng.uniform(0.22, 0.5, 3) * [1.05, 1.0, 0.9], float(rng.uniform(0.22, 0.34))
        house = (columns >= at) & (columns < at + wide) & (rows >= roof) & (rows < horizon + 6)
        colour[house], warmth[house], depth[house] = wall, own, 5.0
        for top in range(roof + 4, int(horizon) - 6, 11):
            for left in range(at + 4, min(at + wide, width) - 6, 10):
                # A lit, badly insulated window is as warm as a person and is none.
                lit = bool(rng.random() < 0.15)
                colour[top : top + 6, left : left + 5] = 0.5 if lit else 0.07
                warmth[top : top + 6, left : left + 5] = own + (0.3 if lit else -0.06)
        at += wide
    middle = float(rng.uniform(0.35, 0.65)) * width
    ground = rows >= horizon
    near = (rows - horizon) / (height - horizon)
    road = ground & (np.abs(columns - middle) < 12 + near * width * 0.62)
    colour[ground], warmth[ground] = 0.34, 0.30
    colour[road], warmth[road] = 0.17, 0.36
    dashes = (
        road & (np.abs(columns - middle) < 0.6 + 2.4 * near) & (np.sin(26 * np.log(np.maximum(near, 0) + 0.06)) > 0)
    )
    colour[dashes], warmth[dashes] = 0.65, 0.33
    depth = np.where(ground, _depth(rows, horizon), depth)
    rough = 0.8 + 0.4 * clouds(_SHAPE, rng, scale=5)
    return (
        floats(colour * rough[:, :, None]),
        floats(warmth + 0.05 * (clouds(_SHAPE, rng, scale=24) - 0.5)),
        floats(depth),
    )


def _things(horizon: float, rng: Generator) -> list[Thing]:
    """Draw people and cars, the farthest first, none hidden by more than half."""
    wanted = [PERSON] * int(rng.integers(1, 4)) + [CAR] * int(rng.integers(1, 3))
    things: list[Thing] = []
    for kind in wanted:
        for _ in range(20):
            foot = float(rng.uniform(horizon + 20, _SHAPE[0] - 3))
            column = float(rng.uniform(12, _SHAPE[1] - 12))
            if kind == PERSON:
                one = draw_person(_SHAPE, rng, foot=foot, column=column, unit=min(foot - horizon, 56.0))
            else:
                one = draw_car(_SHAPE, rng, foot=foot, column=column, unit=min(foot - horizon, 50.0))
            trial = sorted([*things, one], key=lambda thing: thing.foot)
            if min(_seen_shares(trial)) > 0.5:
                things = trial
                break
    return things


def _owners(things: list[Thing]) -> NDArray[np.int64]:
    """Index of the object that each pixel shows, -1 for none."""
    owner = np.full(_SHAPE, -1, np.int64)
    for index, thing in enumerate(things):
        owner[thing.cover > 0.5] = index
    return owner


def _seen_shares(things: list[Thing]) -> list[float]:
    owner = _owners(things)
    return [float((owner == k).sum() / max((thing.cover > 0.5).sum(), 1)) for k, thing in enumerate(things)]


def _labels(things: list[Thing]) -> Labels:
    owner = _owners(things)
    mask = np.zeros(_SHAPE, np.uint8)
    boxes = []
    for index, thing in enumerate(things):
        mask[owner == index] = thing.kind
        ys, xs = np.nonzero(owner == index)
        boxes.append((thing.kind - 1, int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1))
    return Labels(mask, tuple(boxes))


def _infrared(warmth: Floats, weather: Weather, rng: Generator) -> NDArray[np.uint8]:
    contrast = {"day": 0.75, "fog": 0.85, "night": 1.0}[weather]
    lensed = smooth(floats(0.12 * (1 - contrast) * 4 + contrast * warmth), 0.8)
    columns = rng.standard_normal((1, _SHAPE[1]), dtype=np.float32)
    return to_bytes(floats(lensed + 0.006 * columns + 0.012 * rng.standard_normal(_SHAPE, dtype=np.float32)))


def _visible(colour: Floats, depth: Floats, things: list[Thing], weather: Weather, rng: Generator) -> NDArray[np.uint8]:
    light = colour
    if weather == "day":
        light = floats(light * (0.75 + 0.35 * ramp(_SHAPE, float(rng.uniform(0, 2 * np.pi))))[:, :, None])
    elif weather == "fog":
        clear = np.exp(-float(rng.uniform(0.55, 0.8)) * depth)[:, :, None]
        light = floats(light * clear + np.array([0.50, 0.52, 0.55], np.float32) * (1 - clear))
    else:
        light = floats(light * _lamps(things, rng)[:, :, None] * np.array([1.0, 0.88, 0.66], np.float32))
    gain = 2e-3 if weather == "night" else 3e-4
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    return to_bytes(encode(floats(light + noise * np.sqrt(gain * np.maximum(light, 0) + 1e-6))))


def _lamps(things: list[Thing], rng: Generator) -> Floats:
    """Illumination at night: one or two street lamps and their light on each car."""
    rows, columns = floats(np.mgrid[: _SHAPE[0], : _SHAPE[1]])
    light = np.full(_SHAPE, 0.012, np.float32)
    spots = [(float(rng.uniform(60, 120)), float(rng.uniform(0, _SHAPE[1])), 22.0)]
    for thing in things:
        if thing.kind == CAR:
            ys, xs = np.nonzero(thing.cover > 0.5)
            spots.append((float(ys.mean()) - 4, float(xs.mean()), 0.4 * float(np.ptp(xs)) + 6))
    for y, x, wide in spots:
        light += 0.30 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * wide**2))
    return floats(light)
