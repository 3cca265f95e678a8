"""Multi-focus pairs: photographs with depth, seen through a lens that is focused near and far.

A thin lens blurs a point by a disc whose radius is proportional to the difference of its disparity (inverse depth)
and that of the focus plane. Disparity is measured for the motorcycle, and affine in the image for a tilted plane.
Light is blurred before it is gamma-encoded, and slabs of equal depth are laid over each other from far to near, so that
a blurred foreground covers what lies behind it and a sharp one does not bleed.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from fusionkit.data.sample.photographs import (
    Floats,
    Scene,
    disparity,
    encode,
    floats,
    linear,
    photograph,
    to_bytes,
)
from fusionkit.data.sample.random_fields import ramp, smooth
from fusionkit.data.sample.silhouettes import horse

__all__ = ["defocus", "disc", "focus_scenes"]

_SIDE = 256
_STEP = 0.5
_SHARP = 0.3


def disc(radius: float) -> Floats:
    """A disc of ``radius`` pixels with an antialiased edge, summing to 1."""
    reach = int(np.ceil(radius))
    rows, columns = floats(np.mgrid[-reach : reach + 1, -reach : reach + 1])
    kernel = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1)
    return floats(kernel / kernel.sum())


def defocus(light: Floats, depth: Floats, plane: float, *, aperture: float, field: float) -> Floats:
    """Blur light as a lens focused at ``plane`` does.

    Args:
        light: linear light of the all-in-focus image, ``(H, W, 3)``.
        depth: disparity scaled to [0, 1], 1 the nearest.
        plane: disparity in focus.
        aperture: radius of the blur disc in pixels for a disparity difference of 1.
        field: disparities this near to ``plane`` are sharp: the sensor does not resolve the disc.

    Returns:
        Linear light, ``(H, W, 3)``; equal to ``light`` where it is in focus and nothing blurred lies before it.
    """
    slab = _STEP / aperture
    edges = np.arange(0, 1, slab)
    result = np.zeros_like(light)
    for far in edges:
        radius = aperture * max(abs(far + slab / 2 - plane) - field, 0)
        cover = (depth >= far).astype(np.float32)
        if not cover.any():
            break
        hidden = depth >= far + slab + 0.12
        colour = _uncover(light, hidden) if hidden.any() and not hidden.all() else light
        layer = np.dstack([colour * cover[:, :, None], cover])
        if radius > _SHARP:
            layer = cv2.filter2D(layer, -1, disc(radius), borderType=cv2.BORDER_REFLECT)
        result = result * (1 - layer[:, :, 3:]) + layer[:, :, :3]
    return result


def _uncover(light: Floats, hidden: NDArray[np.bool_]) -> Floats:
    """Fill hidden pixels with the nearest visible one, blurred, as a guess of the background."""
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    filled = light[rows, columns]
    return floats(np.where(hidden[:, :, None], smooth(filled, 2.0), light))


def focus_scenes(rng: Generator) -> list[Scene]:
    """Make the multi-focus sample: sources focused near and far, and an all-in-focus truth."""
    scenes = []
    depth = smooth(_median(disparity()), 0.7)
    depth = (depth - depth.min()) / (depth.max() - depth.min())
    bike = photograph("motorcycle_left")
    corners = (
        ("train", 0, 0),
        ("train", 0, 229),
        ("train", 244, 0),
        ("train", 244, 229),
        ("test", 0, 485),
        ("test", 244, 485),
    )
    for number, (split, top, left) in enumerate(corners, 1):
        window = np.s_[top : top + _SIDE, left : left + _SIDE]
        scenes.append(_scene(f"motorcycle-{number}", split, bike[window], depth[window], aperture=9))
    chelsea = photograph("chelsea")[20:276, 90:346]
    rows, columns = floats(np.mgrid[:_SIDE, :_SIDE])
    nose = np.exp(-(((rows - 150) / 95) ** 2) - ((columns - 150) / 95) ** 2)
    scenes.append(_scene("chelsea", "train", chelsea, nose, aperture=7))
    for name, split, top, left, angle in (
        ("coffee", "train", 100, 150, np.pi / 2),
        ("coins", "train", 30, 60, np.pi / 2 + 0.3),
        ("page", "train", 0, 60, 0.5),
        ("text", "test", 0, 110, -0.4),
    ):
        photo = photograph(name)[top : top + _SIDE, left : left + _SIDE]
        scenes.append(_scene(name, split, photo, ramp(photo.shape[:2], angle), aperture=7))
    for ground, wood, split, flip in (("grass", "coffee", "train", False), ("gravel", "brick", "test", True)):
        scenes.append(_cut_out(ground, wood, split, flip, rng))
    return scenes


def _cut_out(ground: str, figure: str, split: str, flip: bool, rng: Generator) -> Scene:
    """Compose a horse from one photograph in front of the tilted ground of another."""
    back = photograph(ground)[128:384, 128:384]
    front = photograph(figure)[:_SIDE, :_SIDE]
    foot = (float(rng.uniform(215, 235)), float(rng.uniform(110, 146)))
    mask = horse((_SIDE, _SIDE), height=170, foot=foot, flip=flip)[:, :, None]
    tint = rng.uniform(0.75, 1.0, 3).astype(np.float32)
    photo = encode(linear(back) * (1 - mask) + linear(front) * tint * mask)
    plane = 0.55 * ramp((_SIDE, _SIDE), np.pi / 2)
    return _scene(f"horse-{ground}", split, photo, np.where(mask[:, :, 0] > 0.5, 1.0, plane), aperture=6)


def _scene(name: str, split: str, photo: Floats, depth: Floats, *, aperture: float) -> Scene:
    depth = np.ascontiguousarray(depth, np.float32)
    low, high = np.percentile(depth, [1, 99])
    depth = np.clip((depth - low) / (high - low), 0, 1)
    light = linear(np.ascontiguousarray(photo))
    near, far = (
        to_bytes(encode(defocus(light, depth, plane, aperture=aperture, field=0.25))) for plane in (0.78, 0.22)
    )
    return Scene(name, split, (near, far), to_bytes(photo))


def _median(depth: Floats) -> Floats:
    return floats(cv2.medianBlur(depth, 5))
