"""Silhouettes of a pedestrian and a horse, as coverage in [0, 1]."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from fusionkit.data.sample.photographs import Floats, floats, photograph
from fusionkit.data.sample.random_fields import smooth

__all__ = ["horse", "pedestrian"]


def pedestrian(shape: tuple[int, int], rng: Generator, *, height: float, foot: tuple[float, float]) -> Floats:
    """Coverage in [0, 1] of a standing or walking figure of capsules.

    Args:
        shape: height and width of the image.
        rng: draws the pose.
        height: of the figure, pixels.
        foot: row and column between its feet.
    """
    stride, swing, lean = rng.uniform(0.03, 0.13), rng.uniform(-0.03, 0.08), rng.uniform(-0.02, 0.02)
    bones = [
        ((0.945, lean * 1.5), (0.905, lean * 1.5), 0.047),
        ((0.87, lean), (0.80, lean), 0.028),
        ((0.785, lean + 0.06), (0.785, lean - 0.06), 0.036),
        ((0.745, lean), (0.62, lean / 2), 0.072),
        ((0.62, lean / 2), (0.50, 0.0), 0.066),
    ]
    for way in (1, -1):
        knee, heel = (0.26, way * (0.03 + stride * 0.5)), (0.035, way * (0.02 + stride))
        elbow, hand = (0.62, way * (0.115 + swing / 2)), (0.47, way * (0.11 + swing))
        bones += [
            ((0.48, way * 0.025), knee, 0.046),
            (knee, heel, 0.032),
            ((0.022, heel[1]), (0.018, heel[1] + 0.055), 0.018),
            ((0.78, lean + way * 0.09), elbow, 0.029),
            (elbow, hand, 0.023),
        ]
    side = 1 if rng.random() < 0.5 else -1
    rows, columns = floats(np.mgrid[: shape[0], : shape[1]])
    up, right = (foot[0] - rows) / height, side * (columns - foot[1]) / height
    distance = np.full(shape, np.inf, np.float32)
    for (up0, right0), (up1, right1), radius in bones:
        along = np.array([up1 - up0, right1 - right0])
        length = max(float(along @ along), 1e-6)
        at = np.clip(((up - up0) * along[0] + (right - right0) * along[1]) / length, 0, 1)
        gap = np.hypot(up - up0 - at * along[0], right - right0 - at * along[1]) - radius
        distance = np.minimum(distance, gap)
    return floats(np.clip(0.5 - distance * height, 0, 1))


def horse(shape: tuple[int, int], *, height: float, foot: tuple[float, float], flip: bool = False) -> Floats:
    """Coverage in [0, 1] of scikit-image's horse.

    Args:
        shape: height and width of the image.
        height: of the horse, pixels.
        foot: row of its hooves and column of its middle.
        flip: whether it looks to the left.
    """
    mask = 1 - photograph("horse")[:, :, 0]
    mask = mask[:, ::-1] if flip else mask
    scale = height / mask.shape[0]
    move = np.array([[scale, 0, foot[1] - scale * mask.shape[1] / 2], [0, scale, foot[0] - height]], np.float32)
    # Averaging down by warping alone would alias.
    softened = smooth(np.ascontiguousarray(mask), max(0.5 / scale, 0.3))
    return floats(cv2.warpAffine(softened, move, (shape[1], shape[0]), flags=cv2.INTER_LINEAR))
