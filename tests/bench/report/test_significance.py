"""Statistics against scipy, slow loops and properties."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from fusionkit.bench.report.significance import bootstrap_means, holm, mean_ranks, metric_ranks, win_rates

NAN = np.nan


def test_bootstrap_agrees_with_scipy_within_its_own_noise() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=(40, 3))
    ours = bootstrap_means(values, resamples=20000, seed=1)
    theirs = stats.bootstrap(
        (values,), np.mean, axis=0, n_resamples=20000, method="percentile", rng=np.random.default_rng(7)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert np.allclose(ours.mean, values.mean(axis=0), rtol=1e-14)
    assert (np.abs(ours.low - theirs.low) < 0.03 * width).all()
    assert (np.abs(ours.high - theirs.high) < 0.03 * width).all()


def test_bootstrap_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(5.0, 2.0, size=(60, 400))
    found = bootstrap_means(draws, resamples=999)
    covered = ((found.low <= 5.0) & (found.high >= 5.0)).mean()
    assert 0.90 < covered < 0.98


def test_bootstrap_is_the_same_for_the_same_seed_and_not_for_another() -> None:
    values = np.random.default_rng(0).normal(size=(30, 2))
    first, again, other = (bootstrap_means(values, seed=s) for s in (4, 4, 5))
    assert np.array_equal(first.low, again.low)
    assert not np.array_equal(first.low, other.low)


def test_bootstrap_does_not_depend_on_how_the_draws_are_cut_into_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(30, 2))
    whole = bootstrap_means(values, resamples=500)
    monkeypatch.setattr("fusionkit.bench.report.significance._CHUNK", 900)
    assert np.array_equal(bootstrap_means(values, resamples=500).high, whole.high)


def test_missing_values_are_counted_and_left_out_and_do_not_touch_other_columns() -> None:
    values = np.random.default_rng(2).normal(size=(20, 2))
    holed = values.copy()
    holed[[3, 7, 11], 0] = NAN
    found, alone = bootstrap_means(holed), bootstrap_means(np.delete(values[:, :1], [3, 7, 11], axis=0))
    assert found.count.tolist() == [17, 20]
    assert found.missing.tolist() == [3, 0]
    assert (found.mean[0], found.low[0], found.high[0]) == (alone.mean[0], alone.low[0], alone.high[0])
    assert found.low[1] == bootstrap_means(values).low[1]


def test_one_value_none_and_an_infinite_one_have_no_interval() -> None:
    values = np.array([[1.0, NAN, 2.0], [NAN, NAN, np.inf], [NAN, NAN, 3.0]])
    found = bootstrap_means(values)
    assert found.mean[0] == 1.0
    assert np.isnan(found.mean[1])
    assert np.isposinf(found.mean[2])
    assert np.isnan([*found.low, *found.high]).all()


def test_ranks_follow_the_direction_and_ties_share_theirs() -> None:
    means = np.array([[3.0, 1.0], [3.0, 5.0], [1.0, 2.0], [NAN, 0.5]])
    assert metric_ranks(means, [True, False])[:, 0].tolist()[:3] == [1.5, 1.5, 3.0]
    assert np.isnan(metric_ranks(means, [True, False])[3, 0])
    assert metric_ranks(means, [True, False])[:, 1].tolist() == [2.0, 4.0, 3.0, 1.0]


def test_mean_rank_uses_the_images_that_all_methods_have() -> None:
    # Method 0 is better wherever both have a value; its mean over all of its own images is worse.
    values = np.array([[[5.0], [4.0]], [[5.0], [4.0]], [[0.0], [NAN]]])
    ranks, images = mean_ranks(values, [True])
    assert ranks.tolist() == [1.0, 2.0]
    assert images.tolist() == [2]


def test_a_metric_that_a_method_lacks_ranks_nobody() -> None:
    values = np.array([[[5.0, 1.0], [4.0, NAN]], [[5.0, 1.0], [4.0, NAN]]])
    ranks, images = mean_ranks(values, [True, True])
    assert ranks.tolist() == [1.0, 2.0]
    assert images.tolist() == [2, 0]
    assert np.isnan(mean_ranks(values[:, :, 1:], [True])[0]).all()


@given(
    arrays.arrays(np.float64, (7, 3, 2), elements=st.integers(0, 5).map(float) | st.just(NAN)),
    st.tuples(st.booleans(), st.booleans()),
)
def test_win_rates_equal_a_count_by_hand(values: np.ndarray, higher: tuple[bool, bool]) -> None:
    found = win_rates(values, higher)
    for i in range(3):
        for j in range(3):
            for m in range(2):
                pairs = [(row[i, m], row[j, m]) for row in values if not np.isnan([row[i, m], row[j, m]]).any()]
                if i == j or not pairs:
                    assert np.isnan(found.rate[i, j, m])
                    continue
                wins = sum(1.0 if (a > b) == higher[m] and a != b else 0.5 if a == b else 0.0 for a, b in pairs)
                assert found.rate[i, j, m] == pytest.approx(wins / len(pairs))
                assert found.images[i, j, m] == len(pairs)
                assert 0 <= found.p[i, j, m] <= 1
    assert np.array_equal(found.p, found.p.transpose(1, 0, 2), equal_nan=True)


def test_the_paired_test_is_scipys_corrected_over_the_whole_table() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(size=(25, 3, 2)) + np.array([0.0, 0.4, 1.0])[None, :, None]
    found = win_rates(values, [True, False])
    plain = {
        (i, j, m): stats.wilcoxon(values[:, i, m], values[:, j, m]).pvalue
        for i in range(3)
        for j in range(i + 1, 3)
        for m in range(2)
    }
    ordered = sorted(plain, key=lambda key: plain[key])
    worst = 0.0
    for place, key in enumerate(ordered):
        worst = max(worst, min(1.0, (len(ordered) - place) * plain[key]))
        assert found.p[key] == pytest.approx(worst, rel=1e-12)


def test_equal_methods_are_never_different_and_infinite_ties_count_half() -> None:
    column = np.array([1.0, 2.0, np.inf, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = win_rates(np.stack([column, column], axis=1)[..., None], [True])
    assert found.rate[0, 1, 0] == 0.5
    assert found.p[0, 1, 0] == 1.0
    assert found.overall().tolist() == [0.5, 0.5]


def test_overall_rate_is_the_mean_over_rivals_and_metrics_and_nan_for_a_method_alone() -> None:
    values = np.array([[[3.0], [2.0], [1.0]]] * 4)
    assert win_rates(values, [True]).overall().tolist() == [1.0, 0.5, 0.0]
    assert np.isnan(win_rates(values[:, :1], [True]).overall()).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_only_makes_p_greater(p: list[float]) -> None:
    plain = np.array(p)
    corrected = holm(plain)
    assert (corrected >= plain).all()
    assert (corrected <= 1).all()
    assert (np.diff(corrected[np.argsort(plain, kind="stable")]) >= 0).all()
    assert corrected[np.argmin(plain)] == pytest.approx(min(1.0, len(p) * min(p)))
