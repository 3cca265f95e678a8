"""Statistics of methods over the same images: means with bootstrap intervals, ranks, tested win rates.

Arrays of values are ``(images, ...)`` float64 with NaN where a value is missing. Nothing here averages over a missing
value silently: every number comes with the count of the values behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "Means",
    "WinRates",
    "bootstrap_means",
    "holm",
    "mean_ranks",
    "metric_ranks",
    "win_rates",
]

Floats = NDArray[np.float64]

_CHUNK = 4_000_000


@dataclass(frozen=True, eq=False)
class Means:
    """Means of columns with their intervals; NaN if there is none.

    Attributes:
        mean: mean over the images that have a value.
        low: lower end of the interval; NaN with fewer than two values, or an infinite one.
        high: its upper end.
        count: number of values.
        missing: number of images without one.
    """

    mean: Floats
    low: Floats
    high: Floats
    count: NDArray[np.int64]
    missing: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WinRates:
    """Share of images on which a method is better than another.

    Attributes:
        rate: ``(methods, methods, metrics)``: share of images where the first is better, ties counted half; NaN on
            the diagonal and where no image has both.
        p: the same shape: two-sided Wilcoxon signed-rank test of the paired differences, Holm-corrected over all pairs
            and metrics; NaN where ``rate`` is.
        images: the same shape: number of images that both have.
    """

    rate: Floats
    p: Floats
    images: NDArray[np.int64]

    def overall(self) -> Floats:
        """``(methods,)``: the mean rate against every rival and over every metric; NaN without a rival."""
        flat = self.rate.reshape(len(self.rate), -1)
        known = ~np.isnan(flat)
        with np.errstate(invalid="ignore"):
            rate: Floats = np.where(known, flat, 0.0).sum(axis=1) / known.sum(axis=1)
        return rate


def bootstrap_means(values: Floats, *, level: float = 0.95, resamples: int = 9999, seed: int = 0) -> Means:
    """Means over images, with percentile bootstrap intervals.

    Images are drawn with replacement, the same draws for every column, so that the intervals of one table belong
    together. Where a column misses values, its draws are among the images that have one.

    Args:
        values: ``(images, columns)``; NaN is missing.
        level: coverage of the interval.
        resamples: number of draws.
        seed: of the draws; the same seed gives the same interval.

    Returns:
        Arrays ``(columns,)``.

    Source: Efron, Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.
    """
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    columns = values.shape[1]
    mean, low, high = (np.full(columns, np.nan) for _ in range(3))
    masks, group = np.unique(known, axis=1, return_inverse=True)
    for k in range(masks.shape[1]):
        chosen = np.flatnonzero(group.reshape(-1) == k)
        part = values[np.ix_(masks[:, k], chosen)]
        if not len(part):
            continue
        mean[chosen] = part.mean(axis=0)
        finite = np.isfinite(part).all(axis=0)
        if len(part) < 2 or not finite.any():
            continue
        draws = _drawn_means(part[:, finite], resamples, np.random.default_rng(seed))
        tails = np.quantile(draws, ((1 - level) / 2, (1 + level) / 2), axis=0)
        low[chosen[finite]], high[chosen[finite]] = tails
    return Means(mean, low, high, count, len(values) - count)


def metric_ranks(means: Floats, higher: Sequence[bool]) -> Floats:
    """Rank of each method by each metric, 1 for the best; equal means share the mean of their ranks.

    Args:
        means: ``(methods, metrics)``; NaN gets no rank.
        higher: for each metric, whether higher is better.

    Returns:
        ``(methods, metrics)``; NaN where there is no mean.
    """
    signs = np.where(np.asarray(higher, dtype=bool), -1.0, 1.0)
    ranks = np.full(means.shape, np.nan)
    for column in range(means.shape[1]):
        known = ~np.isnan(means[:, column])
        ranks[known, column] = stats.rankdata(means[known, column] * signs[column])
    return ranks


def mean_ranks(values: Floats, higher: Sequence[bool]) -> tuple[Floats, NDArray[np.int64]]:
    """The mean over metrics of each method's rank.

    For each metric, methods are ranked by their means over the images that all of them have a value for; a metric
    that leaves no such image is left out, for all methods alike.

    Args:
        values: ``(images, methods, metrics)``.
        higher: for each metric, whether higher is better.

    Returns:
        ``(methods,)`` mean ranks, NaN where no metric ranks; and ``(metrics,)`` the number of images behind each.
    """
    shared: NDArray[np.bool_] = np.logical_not(np.isnan(values).any(axis=1))
    images = shared.sum(axis=0)
    means = np.full(values.shape[1:], np.nan)
    for column in np.flatnonzero(images):
        means[:, column] = values[shared[:, column], :, column].mean(axis=0)
    ranks = metric_ranks(means, higher)[:, images > 0]
    return (ranks.mean(axis=1) if ranks.shape[1] else np.full(values.shape[1], np.nan)), images


def win_rates(values: Floats, higher: Sequence[bool]) -> WinRates:
    """Compare every two methods, metric by metric, on the images that both have.

    Args:
        values: ``(images, methods, metrics)``; NaN is missing.
        higher: for each metric, whether higher is better.

    Source: Wilcoxon, Biometrics Bulletin 1, 1945, zeros after Pratt, JASA 54, 1959; Holm, Scand. J. Statistics 6, 1979.
    """
    _, methods, metrics = values.shape
    signs = np.where(np.asarray(higher, dtype=bool), 1.0, -1.0)
    rate, p = (np.full((methods, methods, metrics), np.nan) for _ in range(2))
    images = np.zeros((methods, methods, metrics), dtype=np.int64)
    for first in range(methods):
        for second in range(first + 1, methods):
            for metric in range(metrics):
                a, b = (values[:, method, metric] * signs[metric] for method in (first, second))
                both = ~(np.isnan(a) | np.isnan(b))
                a, b = a[both], b[both]
                images[first, second, metric] = images[second, first, metric] = len(a)
                if not len(a):
                    continue
                won = float((a > b).mean() + 0.5 * (a == b).mean())
                rate[first, second, metric], rate[second, first, metric] = won, 1 - won
                p[first, second, metric] = _signed_rank(a, b)
    above = ~np.isnan(p)
    p[above] = holm(p[above])
    mirrored = np.where(np.isnan(p), p.transpose(1, 0, 2), p)
    return WinRates(rate, mirrored, images)


def holm(p: Floats) -> Floats:
    """Holm's step-down correction: p'_(i) = max over j <= i of min(1, (m - j + 1) p_(j)), p_(1) the least of m.

    Args:
        p: ``(m,)`` p-values of one family.

    Returns:
        ``(m,)`` corrected, in the same order.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    corrected = np.empty_like(p)
    corrected[order] = stepped
    return corrected


def _drawn_means(values: Floats, resamples: int, generator: np.random.Generator) -> Floats:
    """``(resamples, columns)`` means of rows drawn with replacement, as how often each row is drawn times the rows."""
    rows = len(values)
    means = np.empty((resamples, values.shape[1]))
    step = max(1, _CHUNK // rows)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        often = np.bincount(drawn.reshape(-1), minlength=size * rows).reshape(size, rows)
        means[start : start + size] = often @ values / rows
    return means


def _signed_rank(a: Floats, b: Floats) -> float:
    # Two infinite values (PSNR of equal images) are a tie, though their difference is NaN.
    difference = np.subtract(a, b, out=np.zeros_like(a), where=a != b)
    if not difference.any():
        return 1.0
    return float(stats.wilcoxon(difference, zero_method="pratt").pvalue)
