"""Multi-exposure pairs: one scene of high contrast, taken too dark and too bright.

A photograph gives the light; a lamp and a shadow widen its range beyond what one exposure holds. The camera's response
is f(x) = (1 + s) x^n / (x^n + s) (Eilertsen et al., HDR image reconstruction from a single exposure using deep CNNs,
ACM TOG 2017), with photon and read noise before it and clipping after. The truth is the photograph itself, evenly lit,
through the same camera: light, lamp and exposure are chosen such that it lies between the two sources.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from fusionkit.data.sample.photographs import Floats, Scene, floats, linear, photograph, to_bytes
from fusionkit.data.sample.random_fields import ramp, smooth

__all__ = ["PLACES", "expose", "exposure_scenes", "illumination", "response"]

_SIDE = 256
PLACES = (
    ("astronaut", "train", 0, 90),
    ("astronaut", "train", 200, 20),
    ("astronaut", "train", 240, 256),
    ("chelsea", "train", 20, 90),
    ("motorcycle_left", "train", 0, 0),
    ("motorcycle_left", "train", 0, 280),
    ("motorcycle_left", "train", 230, 60),
    ("motorcycle_left", "train", 230, 360),
    ("retina", "train", 500, 80),
    ("coffee", "test", 20, 140),
    ("coffee", "test", 140, 330),
    ("rocket", "test", 130, 60),
    ("rocket", "test", 160, 330),
)
"""Photograph, split, top, left."""


def response(light: Floats, *, strength: float, power: float) -> Floats:
    """Response of a camera to light: f(x) = (1 + s) x^n / (x^n + s), clipped to [0, 1]."""
    raised = np.clip(light, 0, 1) ** power
    return floats((1 + strength) * raised / (raised + strength))


def illumination(shape: tuple[int, int], rng: Generator, *, stops: float) -> Floats:
    """Draw the illumination of a scene, in [2^-stops, 2^stops]: a shadow's edge and a lamp."""
    field = ramp(shape, float(rng.uniform(0, 2 * np.pi)))
    edge = 1 / (1 + np.exp(-(field - rng.uniform(0.4, 0.6)) / rng.uniform(0.03, 0.12)))
    rows, columns = floats(np.mgrid[: shape[0], : shape[1]])
    centre = rng.uniform(0.2, 0.8, 2) * shape
    lamp = np.exp(-((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / (2 * (0.18 * shape[0]) ** 2))
    level = smooth(floats(1.5 * edge + lamp), 2.0)
    level = 2 * (level - level.min()) / (level.max() - level.min()) - 1
    return floats(2 ** (stops * level))


def expose(light: Floats, rng: Generator, *, stops: float, strength: float, power: float) -> Floats:
    """Expose linear light ``stops`` brighter, with noise, camera response and clipping."""
    arriving = light * np.float32(2**stops)
    noise = rng.standard_normal(light.shape, dtype=np.float32)
    return response(arriving + noise * np.sqrt(2e-5 * arriving + 1e-7), strength=strength, power=power)


def exposure_scenes(rng: Generator) -> list[Scene]:
    """Make the multi-exposure sample: an under- and an over-exposed source, and a well-exposed truth."""
    scenes = []
    count: dict[str, int] = {}
    for name, split, top, left in PLACES:
        count[name] = count.get(name, 0) + 1
        photo = photograph(name)[top : top + _SIDE, left : left + _SIDE]
        # A little below white, so that the truth itself is not clipped.
        light = 0.9 * linear(np.ascontiguousarray(photo))
        range_, camera = float(rng.uniform(1.0, 1.8)), (float(rng.uniform(0.45, 0.7)), float(rng.uniform(0.85, 0.95)))
        lit = light * illumination(photo.shape[:2], rng, stops=range_)[:, :, None]
        away = range_ + float(rng.uniform(0.5, 0.9))
        under, over = (expose(lit, rng, stops=stops, strength=camera[0], power=camera[1]) for stops in (-away, away))
        truth = response(light, strength=camera[0], power=camera[1])
        scenes.append(Scene(f"{name}-{count[name]}", split, (to_bytes(under), to_bytes(over)), to_bytes(truth)))
    return scenes
