"""People and cars for synthetic streets: shape, colour and temperature."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from fusionkit.data.sample.photographs import Floats, floats
from fusionkit.data.sample.silhouettes import pedestrian

__all__ = ["CAR", "PERSON", "Thing", "draw_car", "draw_person"]

PERSON, CAR = 1, 2
"""Kinds of things, by the ids that a mask gives them."""

Points = tuple[tuple[float, float], ...]

_SIDE_OUTLINE: Points = (
    *((-1.5, 0.18), (-1.45, 0.62), (-0.95, 0.70), (-0.55, 1.08)),
    *((0.45, 1.08), (0.95, 0.68), (1.5, 0.56), (1.52, 0.18)),
)
_SIDE_GLASS: Points = ((-0.80, 0.70), (-0.48, 1.0), (0.38, 1.0), (0.76, 0.70))
_SIDE_WHEELS: Points = ((-0.92, 0.2), (0.92, 0.2))
_SIDE_ENGINE: Points = ((1.05, 0.25), (1.05, 0.6), (1.48, 0.53), (1.48, 0.25))
_FRONT_OUTLINE: Points = ((-0.72, 0.12), (-0.74, 0.62), (-0.52, 1.1), (0.52, 1.1), (0.74, 0.62), (0.72, 0.12))
_FRONT_GLASS: Points = ((-0.58, 0.66), (-0.44, 1.0), (0.44, 1.0), (0.58, 0.66))
_FRONT_WHEELS: Points = ((-0.58, 0.12), (0.58, 0.12))
_FRONT_ENGINE: Points = ((-0.36, 0.25), (-0.36, 0.5), (0.36, 0.5), (0.36, 0.25))


@dataclass(frozen=True)
class Thing:
    """An object in the street.

    Attributes:
        cover: coverage, ``(H, W)``.
        colour: reflectance, ``(H, W, 3)``.
        warmth: temperature in [0, 1], ``(H, W)``.
        foot: the row on which it stands.
        kind: :data:`PERSON` or :data:`CAR`.
    """

    cover: Floats
    colour: Floats
    warmth: Floats
    foot: float
    kind: int


def draw_person(shape: tuple[int, int], rng: Generator, *, foot: float, column: float, unit: float) -> Thing:
    """Draw a person in dark clothes, warmest at the head.

    Args:
        shape: height and width of the image.
        rng: draws pose and clothes.
        foot: row of the feet.
        column: column between them.
        unit: height of the eye that looks on, in pixels at this distance.
    """
    height = 1.25 * unit
    cover = pedestrian(shape, rng, height=height, foot=(foot, column))
    up = np.clip((foot - floats(np.mgrid[: shape[0], : shape[1]][0])) / height, 0, 1)
    warmth = 0.72 + 0.12 * np.clip((up - 0.40) * 4, 0, 1) + 0.14 * np.clip((up - 0.84) * 20, 0, 1)
    cloth = rng.uniform(0.015, 0.07, (2, 3)).astype(np.float32)
    colour = np.where(up[:, :, None] > 0.47, cloth[0], cloth[1])
    return Thing(cover, floats(colour), floats(warmth), foot, PERSON)


def draw_car(shape: tuple[int, int], rng: Generator, *, foot: float, column: float, unit: float) -> Thing:
    """Draw a bright car, from the side or the front, about as warm as the road, warmer at a running engine.

    Args:
        shape: height and width of the image.
        rng: draws view, paint and whether it runs.
        foot: row of the tyres' lowest point.
        column: column of its middle.
        unit: height of the eye that looks on, in pixels at this distance.
    """
    side = bool(rng.random() < 0.6)
    paint = floats(rng.uniform(0.60, 0.95) * np.clip(rng.normal(1, 0.22, 3), 0.5, 1.4))
    metal, running = float(rng.uniform(0.30, 0.38)), bool(rng.random() < 0.5)
    way = -1 if side and rng.random() < 0.5 else 1

    def placed(points: Points) -> list[tuple[float, float]]:
        return [(column + way * unit * x, foot - unit * y) for x, y in points]

    body = _polygon(shape, placed(_SIDE_OUTLINE if side else _FRONT_OUTLINE))
    pane = _polygon(shape, placed(_SIDE_GLASS if side else _FRONT_GLASS))
    engine = _polygon(shape, placed(_SIDE_ENGINE if side else _FRONT_ENGINE))
    wheels = [_disc(shape, x, y, 0.2 * unit) for x, y in placed(_SIDE_WHEELS if side else _FRONT_WHEELS)]
    tyres = floats(np.maximum(*wheels))
    colour = paint * (1 - pane[:, :, None]) + 0.05 * pane[:, :, None]
    colour = colour * (1 - tyres[:, :, None]) + 0.02 * tyres[:, :, None]
    warmth = metal - 0.04 * pane + (0.12 if running else 0.0) * engine
    warmth = warmth * (1 - tyres) + (0.44 if running else 0.34) * tyres
    return Thing(floats(np.maximum(body, tyres)), floats(colour), floats(warmth), foot, CAR)


def _polygon(shape: tuple[int, int], points: list[tuple[float, float]]) -> Floats:
    """Coverage of a polygon, by drawing it four times as large."""
    fine = np.zeros((shape[0] * 4, shape[1] * 4), np.uint8)
    cv2.fillPoly(fine, [np.array([[round(4 * x), round(4 * y)] for x, y in points], np.int32)], 255)
    return floats(cv2.resize(fine, shape[::-1], interpolation=cv2.INTER_AREA) / np.float32(255))


def _disc(shape: tuple[int, int], x: float, y: float, radius: float) -> Floats:
    rows, columns = floats(np.mgrid[: shape[0], : shape[1]])
    return floats(np.clip(0.5 + radius - np.hypot(rows + 0.5 - y, columns + 0.5 - x), 0, 1))
