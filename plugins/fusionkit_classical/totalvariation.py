"""The L1 total-variation problem, solved by ADMM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.fft import dctn, idctn

__all__ = ["l1_total_variation"]

Array = npt.NDArray[np.floating]

_GRADIENT_PENALTY = 160.0
_DATA_PENALTY = 40.0
_RELAXATION = 1.8
"""Penalties and over-relaxation: the fastest of those tried on infrared-visible pairs in [0, 1]."""


def _gradient(image: Array) -> tuple[Array, Array]:
    across, down = np.zeros_like(image), np.zeros_like(image)
    np.subtract(image[:, 1:], image[:, :-1], out=across[:, :-1])
    np.subtract(image[1:], image[:-1], out=down[:-1])
    return across, down


def _gradient_transposed(across: Array, down: Array) -> Array:
    out = np.zeros_like(across)
    out[:, :-1] -= across[:, :-1]
    out[:, 1:] += across[:, :-1]
    out[:-1] -= down[:-1]
    out[1:] += down[:-1]
    return out


def l1_total_variation(target: Array, weight: float, *, iterations: int, tolerance: float) -> Array:
    """Minimise ``sum |y - f| + weight * sum |grad y|`` over images y, with the isotropic total variation.

    The alternating direction method of multipliers with over-relaxation on the splitting d = grad y, e = y - f: the
    linear step is solved exactly by the discrete cosine transform (forward differences, free border), the other two
    by soft thresholds.

    Args:
        target: f, ``(H, W)``, values of the order of 1; its dtype is that of the arithmetic.
        weight: of the total variation, 0 or more.
        iterations: most iterations to do.
        tolerance: stop where both the primal and the dual residual are below this, as root mean squares per pixel.

    Returns:
        y, same shape and dtype.

    Source: Boyd et al., "Distributed Optimization and Statistical Learning via ADMM", FnT Machine Learning 3(1),
    2011, sections 3.3 and 3.4.3.
    """
    height, width = target.shape
    rows = 2 - 2 * np.cos(np.pi * np.arange(height) / height)
    columns = 2 - 2 * np.cos(np.pi * np.arange(width) / width)
    spectrum = (_DATA_PENALTY + _GRADIENT_PENALTY * (rows[:, None] + columns)).astype(target.dtype)
    image = target.copy()
    across, down = _gradient(image)
    error = np.zeros_like(target)
    dual_across, dual_down, dual_error = np.zeros_like(target), np.zeros_like(target), np.zeros_like(target)
    threshold, tiny = weight / _GRADIENT_PENALTY, float(np.finfo(target.dtype).tiny)
    for _ in range(iterations):
        right = _GRADIENT_PENALTY * _gradient_transposed(across - dual_across, down - dual_down)
        right += _DATA_PENALTY * (target + error - dual_error)
        image = idctn(dctn(right, norm="ortho") / spectrum, norm="ortho")

        new_across, new_down = _gradient(image)
        new_error = image - target
        primal = np.square(new_across - across).mean() + np.square(new_down - down).mean()
        primal += np.square(new_error - error).mean()
        dual_across += _RELAXATION * new_across + (1 - _RELAXATION) * across
        dual_down += _RELAXATION * new_down + (1 - _RELAXATION) * down
        dual_error += _RELAXATION * new_error + (1 - _RELAXATION) * error

        length = np.sqrt(np.square(dual_across) + np.square(dual_down))
        keep = np.maximum(length - threshold, 0) / np.maximum(length, max(threshold, tiny))
        old = across, down, error
        across, down = dual_across * keep, dual_down * keep
        error = dual_error - np.clip(dual_error, -1 / _DATA_PENALTY, 1 / _DATA_PENALTY)
        dual_across -= across
        dual_down -= down
        dual_error -= error
        moved = sum(np.square(new - past).mean() for new, past in zip((across, down, error), old, strict=True))
        if max(primal, moved) <= tolerance**2:
            break
    return image
