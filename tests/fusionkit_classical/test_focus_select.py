"""Selection of sources in focus: against stacks whose truth and depth are known."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fusionkit_classical.focus import FocusGf
from fusionkit_classical.focus_decision import Decision, Draft, GuidedMask, fill_regions, misfit, vote
from fusionkit_classical.focus_select import FocusSelect, FocusSelectConfig


def textured(height: int, width: int, *, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((height // 4, width // 4, 3)).astype(np.float32)
    fine = np.random.default_rng(seed + 1).random((height, width, 3)).astype(np.float32)
    return 0.7 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1) + 0.3 * fine


def tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]


def banded_stack(count: int, *, height: int = 96, width: int = 240) -> tuple[Tensor, list[Tensor], np.ndarray]:
    """The truth, a stack whose source k is sharp in band k and blurred more the farther away, and the true index."""
    truth = textured(height, width)
    place = (np.arange(width) + 0.5) / width * count
    sources = []
    for k in range(count):
        away = np.clip(np.abs(place - k - 0.5) - 0.5, 0, None)
        blurred = np.stack([cv2.GaussianBlur(truth, (0, 0), 1e-3 + s) for s in (0, 1, 2, 4)])
        level = np.clip(away * 1.5, 0, 3)
        low = np.minimum(level.astype(int), 2)
        share = (level - low)[None, :, None].astype(np.float32)
        columns = np.arange(width)
        near, far = (blurred[low + step, :, columns].transpose(1, 0, 2) for step in (0, 1))
        sources.append(tensor(near * (1 - share) + far * share))
    return tensor(truth), sources, np.minimum(place.astype(int), count - 1)


def psnr(fused: Tensor, truth: Tensor) -> float:
    return float(-10 * (fused - truth).square().mean().clamp(min=1e-20).log10())


@pytest.mark.parametrize(("count", "decibels"), [(2, 70), (5, 60), (12, 48)])
def test_a_stack_gives_the_truth_and_its_depth(count: int, decibels: float) -> None:
    truth, sources, index = banded_stack(count)
    fuser = FocusSelect()
    assert psnr(fuser(*sources), truth) > decibels
    chosen = fuser.maps(*sources)["index"][0, 0].numpy() * (count - 1)
    assert np.mean(np.abs(chosen.round() - index) <= 1) > 0.99


def test_away_from_seams_every_pixel_is_one_sources() -> None:
    _, sources, _ = banded_stack(3)
    fused, stack = FocusSelect()(*sources), torch.stack(sources)
    inside = (stack.amin(0) - 1e-6 <= fused) & (fused <= stack.amax(0) + 1e-6)
    assert inside.all()
    exact = (stack == fused).all(2).any(0)
    assert exact.float().mean() > 0.7
    hard = FocusSelect(FocusSelectConfig(radius=0))(*sources)
    assert (torch.stack(sources) == hard).all(2).any(0).all()


def bright_disc_in_front(radius: int) -> tuple[Tensor, list[Tensor], np.ndarray]:
    """A bright disc before a flat dark ground, seen in focus and out of it: the spread is where nothing else is."""
    side = 160
    rows, columns = np.mgrid[:side, :side] - side / 2
    disc = np.clip(radius + 0.5 - np.hypot(rows, columns), 0, 1).astype(np.float32)[..., None]
    near = disc * (0.7 + 0.3 * textured(side, side))
    ground = np.full((side, side, 3), 0.06, np.float32)
    spread, cover = cv2.GaussianBlur(near, (0, 0), 4), cv2.GaussianBlur(disc, (0, 0), 4)[..., None]
    sharp = near + (1 - disc) * ground
    away = (np.hypot(rows, columns) > radius + 1) & (np.hypot(rows, columns) < radius + 12)
    return tensor(sharp), [tensor(sharp), tensor(spread + (1 - cover) * ground)], away


@pytest.mark.parametrize("radius", [8, 30])
def test_no_halo_is_chosen_around_a_bright_thing_on_dark_ground(radius: int) -> None:
    truth, sources, around = bright_disc_in_front(radius)
    fused = FocusSelect()(*sources)
    assert (fused - truth).abs()[0, :, around].max() < 0.5 / 255
    assert (FocusGf()(*sources) - truth).abs()[0, :, around].max() > 1.5 / 255


def test_colour_comes_from_the_source_that_is_chosen() -> None:
    truth, sources, index = banded_stack(2)
    inner = torch.from_numpy(np.abs(np.arange(index.size) - index.size / 2) > 20)
    assert torch.equal(FocusSelect()(*sources)[..., inner], truth[..., inner])


def test_sources_are_read_three_times_in_order() -> None:
    class Reads(Sequence[Tensor]):
        def __init__(self, sources: list[Tensor]) -> None:
            self.sources, self.read = sources, []

        def __len__(self) -> int:
            return len(self.sources)

        def __getitem__(self, k):  # type: ignore[no-untyped-def]
            self.read.append(k)
            return self.sources[k]

    _, sources, _ = banded_stack(4)
    reads = Reads(sources)
    fused = FocusSelect().fuse_stream(reads)
    assert reads.read == [0, 1, 2, 3] * 3
    assert torch.equal(fused, FocusSelect()(*sources))


def test_weights_of_all_sources_sum_to_one() -> None:
    _, sources, _ = banded_stack(4)
    maps = FocusSelect().maps(*sources)
    assert sorted(maps) == ["confidence", "index", "w_a", "w_b", "w_c", "w_d"]
    total = sum(maps[f"w_{letter}"] for letter in "abcd")
    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)
    blend = sum(maps[f"w_{letter}"] * source for letter, source in zip("abcd", sources, strict=True))
    assert torch.allclose(blend, FocusSelect()(*sources), atol=1e-6)


def test_the_draft_of_one_source_is_the_source_but_for_what_is_coarse() -> None:
    image = textured(61, 83)[..., 0]
    draft = Draft(levels=3, sigma=2.0)
    draft.add(image)
    coarse = image
    for _ in range(3):
        coarse = cv2.pyrDown(coarse)
    for size in ((21, 16), (42, 31), (83, 61)):
        coarse = cv2.pyrUp(coarse, dstsize=size)
    assert np.abs(draft.image() + coarse - image).max() < 1e-6


def test_a_source_of_another_exposure_is_as_near_to_the_draft() -> None:
    image = textured(64, 96)[..., 0] * 0.6
    draft = Draft(levels=3, sigma=2.0)
    draft.add(image)
    expected = draft.image()
    options = {"levels": 3, "spread": 2.5, "tail": 6, "falloff": 0.35}
    same, brighter = misfit(image, expected, **options), misfit(image + 0.3, expected, **options)
    spread = misfit(cv2.GaussianBlur(image, (0, 0), 3), expected, **options)
    assert np.abs(np.sqrt(brighter) - np.sqrt(same)).max() < 1e-3
    assert spread.min() > 10 * brighter.max()


def test_brightness_that_differs_does_not_change_the_choice() -> None:
    _, sources, _ = banded_stack(2)
    chosen = FocusSelect().maps(*sources)["index"]
    brighter = FocusSelect().maps(sources[0] * 0.8 + 0.2, sources[1] * 0.8)["index"]
    assert (chosen != brighter).float().mean() < 0.002


def bright_point_before_texture() -> tuple[Tensor, list[Tensor], np.ndarray]:
    """A small lamp before a textured ground, and the ring that its light fills when the ground is in focus."""
    side = 160
    rows, columns = np.mgrid[:side, :side] - side / 2
    away = np.hypot(rows, columns)
    ground = 0.25 * textured(side, side)
    lamp = np.clip(3.5 - away, 0, 1).astype(np.float32)[..., None]
    disc = np.clip(12.5 - away, 0, 1).astype(np.float32)
    disc *= lamp.sum() / disc.sum()
    sharp = lamp + (1 - lamp) * ground
    ground_in_focus = ground * (1 - disc[..., None]) + 4 * disc[..., None]
    lamp_in_focus = lamp + (1 - lamp) * cv2.GaussianBlur(ground, (0, 0), 5)
    return tensor(sharp), [tensor(ground_in_focus.clip(0, 1)), tensor(lamp_in_focus)], (away > 5) & (away < 12)


def test_a_lamp_out_of_focus_is_taken_from_the_source_that_has_it_in_focus() -> None:
    truth, sources, around = bright_point_before_texture()
    fused = FocusSelect()(*sources)
    error = (fused - truth).abs()[0, :, around].mean()
    assert error < 0.3 * (sources[0] - truth).abs()[0, :, around].mean()
    assert (fused - truth)[0, :, 78:82, 78:82].abs().mean() < 0.002
    away = torch.from_numpy(~around)
    away[60:100, 60:100] = False
    assert (fused - truth).abs()[0, :, away].mean() < 0.003


def test_a_vote_by_parts_is_the_vote_of_whole_planes() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((40, 60)) * 3).astype(np.uint16)
    labels[:, :20] = 0
    confidence = generator.random((40, 60)).astype(np.float32)
    votes = [cv2.GaussianBlur(np.where(labels == k, confidence + 1e-4, 0), (17, 17), 2.0) for k in range(3)]
    assert np.array_equal(vote(labels, confidence, count=3, sigma=2.0), np.argmax(votes, 0))


def test_small_regions_are_filled_where_it_costs_nothing() -> None:
    labels = np.zeros((32, 32), np.uint16)
    labels[1:4, 1:4] = labels[20:23, 20:23] = 1
    costs = [np.full((4, 4), 0.04**2, np.float32), np.full((4, 4), 0.04**2, np.float32)]
    costs[0][2, 2] = 0.10**2  # here the first source is farther from the draft by .06
    filled = fill_regions(labels, costs, area=20, tolerance=0.02)
    assert not filled[:10, :10].any()
    assert (filled[20:23, 20:23] == 1).all()
    assert np.array_equal(fill_regions(labels, costs, area=9, tolerance=0.02), labels)
    assert not fill_regions(labels, costs, area=20, tolerance=0.07).any()


def test_the_decision_keeps_the_two_least_costs_and_the_means_of_squares() -> None:
    costs = np.random.default_rng(0).random((5, 21, 34)).astype(np.float32)
    decision = Decision()
    for cost in costs:
        decision.add(cost)
    ordered = np.sort(costs, 0)
    assert np.array_equal(decision.labels, costs.argmin(0))
    assert np.allclose(decision.confidence(), (ordered[1] - ordered[0]) / (ordered[1] + ordered[0]))
    assert decision.coarse[3].shape == (3, 5)
    assert np.isclose(decision.coarse[3][1, 2], costs[3, 8:16, 16:24].mean(), rtol=1e-5)


def test_a_guided_mask_by_parts_is_that_of_the_whole_plane() -> None:
    guide = textured(48, 80)[..., 0]
    labels = np.zeros((48, 80), np.uint16)
    labels[10:20, 30:44] = 1

    def box(plane: np.ndarray) -> np.ndarray:
        return cv2.blur(plane.astype(np.float64), (7, 7), borderType=cv2.BORDER_REFLECT)

    mask = (labels == 1).astype(np.float64)
    slope = (box(guide * mask) - box(guide) * box(mask)) / (box(guide.astype(np.float64) ** 2) - box(guide) ** 2 + 0.01)
    known = (box(slope) * guide + box(box(mask) - slope * box(guide))).clip(0, 1)
    found = GuidedMask(labels, guide, radius=3, epsilon=0.01).weight(1)
    assert found is not None
    whole = np.zeros_like(guide)
    whole[found[0]] = found[1]
    assert np.abs(whole - known).max() < 1e-4
    assert GuidedMask(labels, guide, radius=3, epsilon=0.01).weight(2) is None
