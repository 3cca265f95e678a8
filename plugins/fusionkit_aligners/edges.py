"""Edges that two modalities share: gradients of doubled angle, normalised by their local energy."""

from __future__ import annotations

import cv2
import numpy as np

from fusionkit.contracts import Plane

__all__ = ["blur", "describe", "resized"]

_SIGMA, _LOCAL = 1.0, 6.0


def blur(plane: Plane, sigma: float) -> Plane:
    """Gaussian blur."""
    return cv2.GaussianBlur(plane, (0, 0), sigma)  # type: ignore[return-value]


def describe(plane: Plane) -> Plane:
    r"""Describe the edges of a grey image.

    .. math:: (g_x^2 - g_y^2, 2 g_x g_y) / |g|

    does not change where bright and dark are exchanged, as between infrared and visible. Divided by its local energy,
    so that weak edges count like strong ones.

    Args:
        plane: ``(H, W)`` in [0, 1].

    Returns:
        ``(2, H, W)``.
    """
    smooth = blur(plane, _SIGMA)
    x, y = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / 32, cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / 32
    magnitude = np.sqrt(x * x + y * y) + 1e-9
    edges = np.stack([(x * x - y * y) / magnitude, 2 * x * y / magnitude])
    energy = np.sqrt(blur((edges * edges).sum(0), _LOCAL))
    edges /= energy + 0.3 * np.median(energy) + 1e-4
    # The strongest edges count twice the usual at most.
    length = np.sqrt((edges * edges).sum(0))
    result: Plane = (edges * (np.minimum(length, 2) / (length + 1e-9))).astype(np.float32)
    return result


def resized(plane: Plane, factor: float) -> Plane:
    """Resize by a factor up to 1, at least to 16x16."""
    height, width = plane.shape
    size = (max(16, round(width * factor)), max(16, round(height * factor)))
    return cv2.resize(plane, size, interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
