"""Strips of rows: every row once, in order, of about the size asked for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fusionkit.io.row_strips import row_strips


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 5000))
def test_strips_cover_every_row_once(height: int, width: int, pixels: int) -> None:
    strips = list(row_strips(height, width, pixels=pixels))
    assert [row for rows in strips for row in range(rows.start, rows.stop)] == list(range(height))
    assert all((rows.stop - rows.start) * width <= max(pixels, width) for rows in strips)
