"""Results of one pair from several processes or sittings: which scores hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.bench.quality_results import joined
from fusionkit.bench.records import ImageResult


def image(at: int = 0, *, fused: str = "2", maps: tuple[str, ...] | None = None, **scores: float | None) -> ImageResult:
    return ImageResult(
        name="a",
        sources=("x", "y"),
        sources_sha256=("0" * 64, "1" * 64),
        fused="f",
        fused_sha256=fused * 64,
        height=2,
        width=2,
        scores=scores,
        reasons={name: f"why at {at}" for name, value in scores.items() if value is None},
        maps=maps,
    )


def both(*results: ImageResult | str) -> ImageResult:
    found: ImageResult | str | None = None
    for result in results:
        found = joined(found, result)
    assert isinstance(found, ImageResult)
    return found


def test_scores_of_one_image_add_up_and_the_later_counts() -> None:
    assert both(image(EN=1.0, SD=5.0), image(SF=3.0), image(EN=2.0)).scores == {"EN": 2.0, "SD": 5.0, "SF": 3.0}


def test_another_fused_image_starts_afresh() -> None:
    assert both(image(EN=1.0), image(fused="3", SD=1.0)).scores == {"SD": 1.0}


def test_a_value_stands_against_a_later_null_and_replaces_an_earlier_one() -> None:
    assert both(image(EN=1.0), image(EN=None)).scores == {"EN": 1.0}
    assert both(image(EN=None), image(EN=1.0)).scores == {"EN": 1.0}
    found = both(image(1, EN=None, SD=None), image(2, EN=None, SD=2.0))
    assert found.reasons == {"EN": "why at 2"}
    assert ImageResult.model_validate(found.model_dump()) == found


def test_a_failure_counts_until_there_is_a_result_again() -> None:
    assert joined(image(EN=1.0), "lost") == "lost"
    assert both("lost", image(EN=1.0)).scores == {"EN": 1.0}


def test_maps_are_kept_unless_newer_ones_or_a_reason_are_there() -> None:
    assert both(image(maps=("w",)), image(EN=1.0)).maps == ("w",)
    assert both(image(maps=("w",)), image(maps=("v",))).maps == ("v",)
    undrawn = image().model_copy(update={"unmapped": "it fails"})
    assert both(image(), undrawn).unmapped == "it fails"


@given(st.lists(st.tuples(st.sampled_from(["EN", "SD", "SF"]), st.none() | st.floats(0, 1)), min_size=1, max_size=8))
def test_no_value_is_lost(found: list[tuple[str, float | None]]) -> None:
    scores = both(*(image(**{name: value}) for name, value in found)).scores
    for name in {name for name, _ in found}:
        values = [value for other, value in found if other == name and value is not None]
        assert scores[name] == (values[-1] if values else None)


def test_the_order_of_writers_of_different_metrics_does_not_matter() -> None:
    one, two = image(EN=1.0), image(SD=2.0)
    assert both(one, two).scores == both(two, one).scores == pytest.approx({"EN": 1.0, "SD": 2.0})
