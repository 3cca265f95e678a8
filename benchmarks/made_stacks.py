"""Focus stacks that are rendered from scenes whose sharp image is known, by a camera with a finite aperture.

A scene is a ground and things in front of it, each at its own distance from the camera. Image k of N is focused on the
k-th of N planes, from far to near. Colour and cover of each layer are blurred in linear light by the disc that the
aperture draws of a point at its distance, and the layers are laid over one another from far to near: a thing that is
out of focus spreads over what lies behind it and lets it shine through at its border, and bright things keep their
light when they are spread. The truth is the scene through a pinhole.

Around the border of a thing in front no image of a stack holds the truth: where the ground is sharp the thing is spread
over it. :meth:`MadeStack.best` is the best choice per pixel, for which the truth has to be known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "MadeStack", "make_stack"]

KINDS = ("plane", "objects", "lamps")
"""A tilted plane without occlusion; textured things before a plane; bright things before and on a dark plane."""

Image = NDArray[np.uint8]
Linear = NDArray[np.float32]

_GAMMA = 2.2
_REACH = 24.0
"""Radius in pixels of the disc of a point at the far end when the near end is in focus, at 2 megapixels."""


@dataclass(frozen=True)
class _Thing:
    """One layer: what it covers of the image, in linear light, and its distance, 0 for far to 1 for near."""

    color: Linear
    cover: Linear
    top: int
    left: int
    near: float


@dataclass(frozen=True)
class MadeStack:
    """A stack and its truth.

    Attributes:
        truth: ``(H, W, 3)`` RGB, the scene through a pinhole.
        around: ``(H, W)``, the ring around bright things that their light can reach when they are out of focus.
        ground: ``(H, W, 3)``, linear.
        slope: how far the plane's right end is nearer than its left one, 0 to 1.
        things: layers from far to near.
        count: number of images.
        reach: greatest radius of a disc, in pixels.
    """

    truth: Image
    around: NDArray[np.bool_]
    ground: Linear
    slope: float
    things: tuple[_Thing, ...]
    count: int
    reach: float

    def images(self) -> Iterator[Image]:
        """Render the images one after another, from the one focused far to the one focused near."""
        # The plane's blur is interpolated between a few radii: one blur per column would take minutes.
        radii = np.unique([0, 0.5, 1, *np.arange(2, np.ceil(self.reach) + 1)])
        blurred = [_disc_blur(self.ground, radius) for radius in radii] if self.slope else []
        for k in range(self.count):
            focus = (k + 0.5) / self.count
            if self.slope:
                columns = (np.arange(self.ground.shape[1]) + 0.5) / self.ground.shape[1] * self.slope
                shown = _between(blurred, radii, self._radius(columns, focus))
            else:
                shown = _disc_blur(self.ground, float(self._radius(np.zeros(1), focus)[0]))
            for thing in self.things:
                _lay_over(shown, thing, float(self._radius(np.array([thing.near]), focus)[0]))
            yield _encode(shown)

    def best(self) -> Image:
        """The image made of each pixel of the source that is nearest to the truth there."""
        best, least = np.zeros_like(self.truth), np.full(self.truth.shape[:2], np.inf, np.float32)
        for image in self.images():
            error = np.square(image.astype(np.float32) - self.truth).sum(2)
            wins = error < least
            best[wins], least[wins] = image[wins], error[wins]
        return best

    def _radius(self, near: NDArray[np.float64], focus: float) -> NDArray[np.float64]:
        """Radius of the disc; what lies between two planes of focus is sharp in the nearer one (depth of field)."""
        return self.reach * np.clip(np.abs(near - focus) - 0.5 / self.count, 0, None)


def make_stack(
    kind: str, count: int, *, size: tuple[int, int] = (1200, 1700), seed: int = 0, picture: Image | None = None
) -> MadeStack:
    """Make a stack of one of :data:`KINDS`.

    Args:
        kind: what is seen.
        count: number of images, 2 or more.
        size: height and width; distances in pixels grow with it.
        seed: of all that is drawn by chance.
        picture: RGB, tiled to the ground in place of a drawn one.
    """
    rng = np.random.default_rng(seed)
    scale = float(np.sqrt(size[0] * size[1] / (1200 * 1700)))
    ground = draw_texture(size, rng, scale) if picture is None else _decode(_tile(picture, size))
    things: list[_Thing] = []
    if kind == "objects":
        things = [_object(size, rng, scale) for _ in range(14)]
    elif kind == "lamps":
        ground = ground * np.float32(0.03) + np.float32(0.001)
        things = [_lamp(size, rng, scale, near=rng.uniform(0.5, 1) if k % 2 else 0.0) for k in range(60)]
    elif kind != "plane":
        raise ValueError(f"{kind!r}: one of {', '.join(KINDS)} is needed")
    things.sort(key=lambda thing: thing.near)
    sharp, cover = ground.copy(), np.zeros(size, np.float32)
    for thing in things:
        _lay_over(sharp, thing, 0.0)
        rows, columns = _place(thing, size, 0)
        cover[rows, columns] = np.maximum(cover[rows, columns], _inside(thing, thing.cover, size, 0))
    reach = _REACH * scale
    near = cv2.dilate((cover > 0).astype(np.uint8), _ellipse(round(reach)))
    around = (near > 0) & (cv2.dilate((cover > 0).astype(np.uint8), _ellipse(1)) == 0)
    return MadeStack(_encode(sharp), around, ground, 1.0 if kind == "plane" else 0.0, tuple(things), count, reach)


def draw_texture(size: tuple[int, int], rng: np.random.Generator, scale: float = 1.0) -> Linear:
    """Draw ``(*size, 3)`` in linear light, 0 to 1: leaves of all sizes that hide one another, some of them plain.

    Source: Lee, Mumford, Huang, "Occlusion Models for Natural Images", IJCV 41, 2001: leaves whose radii have a density
    of r^-3 have the statistics of natural images.
    """
    height, width = size
    shown = np.full((height, width, 3), 0.3, np.float32)
    least, most = max(4 * scale, 1.5), max(200 * scale, 10)
    number = int(height * width / (most * least) * 8) + 40
    radii = 1 / np.sqrt(rng.uniform(1 / most**2, 1 / least**2, number))
    centers = rng.integers((width, height), size=(number, 2)).tolist()
    axes = np.maximum(np.rint(radii[:, None] * [1, 0.7] * rng.uniform([1, 0.6], [1, 1.4], (number, 2))), 1).astype(int)
    angles = rng.uniform(0, 180, number).tolist()
    colors = np.clip(rng.uniform(0.02, 0.8, (number, 1)) * rng.uniform(0.6, 1.2, (number, 3)), 0, 1).tolist()
    for center, axis, angle, color in zip(centers, axes.tolist(), angles, colors, strict=True):
        cv2.ellipse(shown, center, axis, angle, 0, 360, color, -1, cv2.LINE_8)
    # Grain of several scales, strong in some places and absent in others.
    grain = np.zeros((height, width), np.float32)
    for octave in range(4):
        shape = (max(1, width >> octave), max(1, height >> octave))
        noise = rng.standard_normal(shape[::-1]).astype(np.float32)
        grain += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC) / (octave + 2)
    few = rng.uniform(-1, 1, (max(2, height // 150), max(2, width // 150))).astype(np.float32)
    where = np.clip(cv2.resize(few, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    return np.clip(shown * (1 + 0.35 * (grain * where)[..., None]), 0, 1)


def _object(size: tuple[int, int], rng: np.random.Generator, scale: float) -> _Thing:
    """A textured thing: a blob, or a stem a few pixels wide."""
    thin = rng.random() < 0.4
    long = scale * rng.uniform(120, 420)
    wide = scale * rng.uniform(4, 14) if thin else long * rng.uniform(0.4, 0.9)
    turn = float(rng.uniform(0, 180))
    side = int(long) + 4
    cover = np.zeros((side, side), np.float32)
    axes = (round(long / 2), max(1, round(wide / 2)))
    cv2.ellipse(cover, (side // 2, side // 2), axes, turn, 0, 360, 1.0, -1, cv2.LINE_8)
    cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), 0.5), np.float32)
    color = draw_texture((side, side), rng, scale * 0.5) * np.float32(rng.uniform(0.5, 1.2))
    return _Thing(color, cover, *_corner(size, side, rng), float(rng.uniform(0.3, 1)))


def _lamp(size: tuple[int, int], rng: np.random.Generator, scale: float, *, near: float) -> _Thing:
    """A bright disc, plain or textured, up to four times as bright as white."""
    radius = scale * float(np.exp(rng.uniform(np.log(2), np.log(40))))
    side = 2 * int(radius + 2) + 1
    rows, columns = np.mgrid[:side, :side] - side // 2
    cover = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1).astype(np.float32)
    bright = np.float32(np.exp(rng.uniform(np.log(0.3), np.log(4))))
    color = np.full((side, side, 3), bright, np.float32) * rng.uniform(0.7, 1, 3).astype(np.float32)
    if rng.random() < 0.5:
        color = color * (0.4 + 0.6 * draw_texture((side, side), rng, scale * 0.3))
    return _Thing(color, cover, *_corner(size, side, rng), near)


def _corner(size: tuple[int, int], side: int, rng: np.random.Generator) -> tuple[int, int]:
    top, left = (int(rng.integers(-side // 4, max(length - 3 * side // 4, 1))) for length in size)
    return top, left


def _lay_over(shown: Linear, thing: _Thing, radius: float) -> None:
    """Lay a thing that is blurred by a disc over what is there, in place."""
    pad = int(np.ceil(radius)) + 1
    size = (shown.shape[0], shown.shape[1])
    cover = np.pad(thing.cover, pad)
    light = np.pad(thing.color * thing.cover[..., None], ((pad, pad), (pad, pad), (0, 0)))
    cover, light = _disc_blur(cover, radius), _disc_blur(light, radius)
    rows, columns = _place(thing, size, pad)
    part = shown[rows, columns]
    part *= 1 - _inside(thing, cover, size, pad)[..., None]
    part += _inside(thing, light, size, pad)


def _place(thing: _Thing, size: tuple[int, int], pad: int) -> tuple[slice, slice]:
    (height, width), (top, left) = thing.cover.shape, (thing.top - pad, thing.left - pad)
    return (
        slice(max(top, 0), max(min(top + height + 2 * pad, size[0]), 0)),
        slice(max(left, 0), max(min(left + width + 2 * pad, size[1]), 0)),
    )


def _inside(thing: _Thing, layer: Linear, size: tuple[int, int], pad: int) -> Linear:
    """The part of a padded layer that lies in the image."""
    rows, columns = _place(thing, size, pad)
    top, left = thing.top - pad, thing.left - pad
    return layer[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def _disc_blur(image: Linear, radius: float) -> Linear:
    if radius < 0.25:
        return image.copy()
    half = int(np.ceil(radius))
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    disc = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1)
    disc /= disc.sum()
    return np.asarray(cv2.filter2D(image, -1, disc.astype(np.float32), borderType=cv2.BORDER_REFLECT), np.float32)


def _between(blurred: list[Linear], radii: NDArray[np.float64], wanted: NDArray[np.float64]) -> Linear:
    """Each column with its own radius, by interpolation between the nearest two."""
    low = np.clip(np.searchsorted(radii, wanted, "right") - 1, 0, len(radii) - 2)
    share = ((wanted - radii[low]) / (radii[low + 1] - radii[low])).astype(np.float32)
    shown = np.empty_like(blurred[0])
    for step in np.unique(low):
        of = low == step
        part = share[of][None, :, None]
        shown[:, of] = blurred[step][:, of] * (1 - part) + blurred[step + 1][:, of] * part
    return shown


def _ellipse(radius: int) -> Image:
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8)


def _tile(picture: Image, size: tuple[int, int]) -> Image:
    times = [-(-length // given) for length, given in zip(size, picture.shape[:2], strict=True)]
    return np.tile(picture, (*times, 1))[: size[0], : size[1]]


def _decode(image: Image) -> Linear:
    return np.asarray((image.astype(np.float32) / 255) ** np.float32(_GAMMA), np.float32)


def _encode(light: Linear) -> Image:
    return np.rint(np.clip(light, 0, 1) ** np.float32(1 / _GAMMA) * 255).astype(np.uint8)
