"""Extension past the border against numpy.pad."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fusionkit_classical.borders import extend, frame

sizes = st.integers(1, 9)
pads = st.integers(0, 25)


@pytest.mark.parametrize("border", ["edge", "symmetric", "reflect"])
@given(length=sizes, before=pads, after=pads)
def test_extend_is_numpy_pad_for_any_length_and_width(border: str, length: int, before: int, after: int) -> None:
    row = np.arange(1.0, length + 1)
    expected = np.pad(row, (before, after), mode=border)
    assert extend(torch.from_numpy(row), -1, before, after, border=border).tolist() == expected.tolist()


def test_frame_extends_rows_and_columns_alone() -> None:
    image = torch.arange(24.0).view(2, 3, 4)
    expected = np.pad(image.numpy(), ((0, 0), (2, 2), (2, 2)), mode="symmetric")
    assert np.array_equal(frame(image, 2, border="symmetric").numpy(), expected)
