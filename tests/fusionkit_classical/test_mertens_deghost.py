"""Exposure fusion without ghosts: brackets whose motion and response are known."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from fusionkit.cli import main
from fusionkit.errors import UsageError
from fusionkit.io.images import Image, read_image, write_image
from fusionkit_classical.disagreement import map_intensities
from fusionkit_classical.mertens import Mertens
from fusionkit_classical.mertens_deghost import MertensDeghost, MertensDeghostConfig

HEIGHT, WIDTH = 120, 160


def light() -> np.ndarray:
    """A scene in linear light, ``(3, H, W)``: a ramp over three stops with texture."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    texture = 1 + 0.3 * np.sin(rows / 3) * np.cos(columns / 4)
    return 0.06 * 2 ** (3 * columns / WIDTH) * texture * np.array([1.0, 0.9, 0.7])[:, None, None]


def expose(radiance: np.ndarray, gain: float, seed: int = 0) -> Tensor:
    """What a camera with a gamma of 2.2 makes of it, with noise and 8 bits: ``(1, 3, H, W)``."""
    levels = 255 * np.clip(radiance * gain, 0, 1) ** (1 / 2.2)
    noisy = levels + np.random.default_rng(seed).normal(0, 1, levels.shape)
    return torch.from_numpy(np.rint(np.clip(noisy, 0, 255)) / 255).float()[None]


def with_thing(left: int) -> np.ndarray:
    shown = light()
    shown[:, 45:75, left : left + 26] = np.array([0.03, 0.12, 0.3])[:, None, None]
    return shown


def psnr(image: Tensor, truth: Tensor) -> float:
    return float(-10 * (image - truth).square().mean().log10())


def bracket(gains: tuple[float, ...], *, still: int | None) -> list[Tensor]:
    """A thing that goes from left to right, or stands where it is in one exposure."""
    return [expose(with_thing(20 + 34 * (k if still is None else still)), gain, seed=k) for k, gain in enumerate(gains)]


MOVING = (..., slice(45, 75), slice(20, 154))


def test_without_motion_it_is_exposure_fusion() -> None:
    still = [expose(light(), gain, seed=k) for k, gain in enumerate((0.5, 1.5, 4))]
    assert psnr(MertensDeghost()(*still), Mertens()(*still)) > 55


@pytest.mark.parametrize("gains", [(1.0, 3.0), (0.5, 1.0, 2.5, 5.0)], ids=["two", "four"])
def test_what_moves_is_seen_once_where_the_reference_has_it(gains: tuple[float, ...]) -> None:
    moved = bracket(gains, still=None)
    for place in range(len(gains)):
        truth = Mertens()(*bracket(gains, still=place))
        fused = MertensDeghost(MertensDeghostConfig(reference=str(place + 1)))(*moved)
        ghosts = Mertens()(*moved)
        assert psnr(fused[MOVING], truth[MOVING]) > psnr(ghosts[MOVING], truth[MOVING]) + 4
        assert psnr(fused[MOVING], truth[MOVING]) > 27


def test_the_order_of_the_exposures_does_not_matter() -> None:
    moved = bracket((0.5, 1.5, 4.0), still=None)
    first = MertensDeghost()(*moved)
    for order in itertools.permutations(moved):
        assert torch.allclose(MertensDeghost()(*order), first, atol=1e-5)


def test_a_letter_is_a_place_and_one_beyond_the_last_is_refused() -> None:
    moved = bracket((1.0, 3.0), still=None)
    by_letter, by_number = (MertensDeghost(MertensDeghostConfig(reference=name))(*moved) for name in ("b", "2"))
    assert torch.equal(by_letter, by_number)
    with pytest.raises(UsageError, match="reference c: there are 2 exposures"):
        MertensDeghost(MertensDeghostConfig(reference="c"))(*moved)
    with pytest.raises(UsageError, match="reference"):
        MertensDeghost(MertensDeghostConfig(reference="0"))


def test_weights_sum_to_one_and_the_moving_part_is_shown() -> None:
    moved = bracket((0.5, 1.5, 4.0), still=None)
    shown = MertensDeghost(MertensDeghostConfig(reference="b")).maps(*moved)
    assert torch.allclose(shown["w_a"] + shown["w_b"] + shown["w_c"], torch.ones(()), atol=1e-6)
    inside = (..., slice(50, 70), slice(92, 110))  # where only the last exposure has the thing
    assert shown["moving"][inside].mean() > 0.95
    assert shown["w_c"][inside].mean() < 0.05
    assert shown["moving"][..., :30, :].mean() < 0.05


def test_the_mapping_is_the_response_and_motion_does_not_bend_it() -> None:
    dark, bright = (np.ascontiguousarray(each[0].numpy()) for each in bracket((1.0, 2.5), still=None))
    curve = map_intensities(dark, bright).curve
    levels = np.arange(70, 150)
    expected = np.clip((levels / 255) ** 2.2 * 2.5, 0, 1) ** (1 / 2.2)
    assert np.abs(curve[0, 70:150] - expected).max() < 4 / 255
    assert (np.diff(curve) >= 0).all()


def test_the_command_gives_the_reference(tmp_path: Path) -> None:
    moved = bracket((1.0, 3.0), still=None)
    for name, image in zip("ab", moved, strict=True):
        write_image(tmp_path / f"{name}.png", Image.from_tensor(image, bits=8))
    sources = ["-a", str(tmp_path / "a.png"), "-b", str(tmp_path / "b.png")]
    for reference in ("a", "b"):
        out = tmp_path / f"by-{reference}.png"
        given = ["fuse", "-m", "mertens-deghost", *sources, "-o", str(out), "--reference", reference]
        made = CliRunner().invoke(main, given, catch_exceptions=False)
        assert made.exit_code == 0, made.output
        fuser = MertensDeghost(MertensDeghostConfig(reference=reference))
        known = (255 * fuser(*moved)[0].permute(1, 2, 0)).round().numpy()
        assert np.abs(read_image(out).pixels.astype(int) - known).max() <= 1
    said = CliRunner().invoke(main, ["fuse", "-m", "average", *sources, "-o", str(out), "--force", "--reference", "a"])
    assert "--reference a changes nothing" in said.output
