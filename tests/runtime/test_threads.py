"""A function over many items on a few threads."""

from __future__ import annotations

import threading

import pytest

from fusionkit.runtime.threads import in_threads


@pytest.mark.parametrize("count", [0, 3, 100])
def test_results_are_in_the_order_of_the_items(count: int) -> None:
    assert in_threads(lambda n: n * n, range(count)) == [n * n for n in range(count)]


def test_several_threads_work_at_once_on_many_items_and_none_is_started_for_few() -> None:
    # Two items can only pass the barrier together.
    barrier = threading.Barrier(2, timeout=20)
    assert len(in_threads(lambda _: barrier.wait(), range(8), workers=2)) == 8
    assert set(in_threads(lambda _: threading.get_ident(), range(3))) == {threading.get_ident()}


def test_an_error_is_raised_again() -> None:
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda n: 1 // (n - 50), range(100))
