"""Rendered focus stacks: what a camera with a finite aperture must show of a known scene."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.made_stacks import KINDS, make_stack
from benchmarks.stacks import halo, psnr, run

SIZE = (120, 170)


@pytest.mark.parametrize("count", [2, 5])
def test_every_column_of_a_tilted_plane_is_exact_in_the_image_focused_there(count: int) -> None:
    stack = make_stack("plane", count, size=SIZE)
    images = list(stack.images())
    bands = np.minimum((np.arange(SIZE[1]) + 0.5) / SIZE[1] * count, count - 1e-9).astype(int)
    chosen = np.stack([images[band][:, column] for column, band in enumerate(bands)], 1)
    assert np.array_equal(chosen, stack.truth)
    assert psnr(images[0], stack.truth) < 40
    assert np.array_equal(stack.best(), stack.truth)


def test_light_is_kept_when_a_lamp_is_spread() -> None:
    stack = make_stack("lamps", 2, size=(240, 340), seed=3)
    ground = np.zeros((81, 81, 3), np.float32)
    lamp = next(thing for thing in stack.things if thing.cover.shape[0] < 15)
    one = type(stack)(
        stack.truth, stack.around, ground, 0.0, (type(lamp)(lamp.color, lamp.cover, 36, 36, 1.0),), 2, 10.0
    )
    far, near = ((image / 255.0) ** 2.2 for image in one.images())
    clipped = np.minimum(lamp.color, 1) * lamp.cover[..., None]
    assert near.sum() == pytest.approx(clipped.sum(), rel=0.02)
    assert (far > 0.002).any(2).sum() > 2 * (near > 0.002).any(2).sum()
    if lamp.color.max() < 1:
        assert far.sum() == pytest.approx(near.sum(), rel=0.1)


def test_what_is_behind_shines_through_the_border_of_a_thing_out_of_focus() -> None:
    stack = make_stack("objects", 2, size=(240, 340))
    best, images = stack.best(), list(stack.images())
    assert all(psnr(best, stack.truth) > psnr(image, stack.truth) + 3 for image in images)
    assert not np.array_equal(best, stack.truth)  # no source holds the truth beside a border


@pytest.mark.parametrize("kind", KINDS)
def test_equal_seeds_give_equal_stacks(kind: str) -> None:
    one, two = (make_stack(kind, 3, size=SIZE, seed=5) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one.images(), two.images(), strict=True))
    assert not np.array_equal(one.truth, make_stack(kind, 3, size=SIZE, seed=6).truth)


def test_a_picture_is_the_ground() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 60, 3)).astype(np.uint8)
    truth = make_stack("plane", 2, size=SIZE, picture=picture).truth
    assert np.abs(truth[50:100, 60:120].astype(int) - picture).max() <= 1


def test_a_halo_is_the_error_in_the_ring_alone() -> None:
    truth, ring = np.full((4, 4, 3), 10, np.uint8), np.zeros((4, 4), bool)
    ring[1] = True
    fused = truth.copy()
    fused[1], fused[2] = 13, 200
    assert halo(fused, truth, ring) == pytest.approx(3)


def test_a_program_is_measured_alone_and_its_fault_is_told() -> None:
    cost = run([sys.executable, "-I", "-S", "-c", "x = bytearray(64 << 20); sum(range(2_000_000))"])
    assert 64 < cost.memory < 128  # not what this process holds
    assert 0 < cost.seconds < 5
    with pytest.raises(RuntimeError, match="no such thing"):
        run([sys.executable, "-I", "-S", "-c", "raise SystemExit('no such thing')"])
