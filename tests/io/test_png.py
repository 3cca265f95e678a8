"""PNG files as OpenCV and Pillow read them back."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from fusionkit.io.png import encode_png, find_chunk


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.sampled_from([1, 3]), st.booleans(), st.booleans())
def test_opencv_reads_the_pixels_back(size: tuple[int, int], channels: int, deep: bool, noise: bool) -> None:
    height, width = size
    kind = np.uint16 if deep else np.uint8
    draw = np.random.default_rng(height * width)
    pixels = draw.integers(0, np.iinfo(kind).max + 1 if noise else 3, (height, width, channels)).astype(kind)
    data = b"".join(encode_png(pixels, exif=None, icc=None))
    read = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read.dtype == kind
    np.testing.assert_array_equal(read.reshape(height, width, channels)[..., ::-1], pixels)


def test_strips_of_a_large_image_make_one_file() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 300, 3), np.uint8)
    pieces = list(encode_png(pixels[:, ::-1], exif=b"II*\0\x08\0\0\0\0\0\0\0\0\0", icc=None))
    assert len(pieces) > 4
    picture = Pillow.open(io.BytesIO(b"".join(pieces)))
    np.testing.assert_array_equal(np.asarray(picture), pixels[:, ::-1])
    picture = Pillow.open(io.BytesIO(b"".join(pieces)))
    picture.verify()


@pytest.mark.parametrize("name", [b"eXIf", b"iCCP", b"zzzz"])
def test_a_chunk_is_found_wherever_it_stands(name: bytes) -> None:
    data = b"".join(encode_png(np.zeros((2, 2, 1), np.uint8), exif=b"facts", icc=b"profile"))
    found = find_chunk(data, name)
    if name == b"eXIf":
        assert found == b"facts"
    else:
        assert (found is None) == (name == b"zzzz")
    assert find_chunk(data[:20], name) is None
