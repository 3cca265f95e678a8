"""The balance between two sources: known mixtures, its bounds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.ndimage import maximum_filter, minimum_filter
from torch import Tensor

import fusionkit
from fusionkit.cli import main
from fusionkit.errors import UsageError
from fusionkit.fuse.balance import BalancedFuser
from fusionkit.fuse.model import Model
from fusionkit.io.images import read_image
from fusionkit.testing import check_fuser
from fusionkit_classical.controls import Average, CopyA, Maximum
from fusionkit_classical.laplacian import Laplacian
from tests.support.toyfusers import ToyMean


class Moved(BalancedFuser):
    """A mean, moved towards the second source."""

    def __init__(self, config: None = None) -> None:
        super().__init__(ToyMean(), 0.5)


def sources(channels: int = 1) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    coarse = rng.random((2, 9, 11, channels)).astype(np.float32)
    shown = [cv2.resize(image, (88, 72), interpolation=cv2.INTER_CUBIC).reshape(72, 88, channels) for image in coarse]
    noisy = [np.clip(image + rng.normal(0, 0.05, image.shape), 0, 1) for image in shown]
    first, second = (torch.from_numpy(image).permute(2, 0, 1)[None].double() for image in noisy)
    return first, second


@pytest.mark.parametrize("balance", [-1.0, -0.3, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_average_becomes_the_weighted_average(balance: float, channels: int) -> None:
    a, b = sources(channels)
    moved = BalancedFuser(Average(), balance)(a, b)
    torch.testing.assert_close(moved, (1 - balance) / 2 * a + (1 + balance) / 2 * b, rtol=0, atol=1e-9)


def test_a_source_alone_stays_when_moved_towards_itself_and_gives_way_to_the_other() -> None:
    a, b = sources()
    assert torch.allclose(BalancedFuser(CopyA(), -1.0)(a, b), a, atol=2e-3)
    assert float((BalancedFuser(CopyA(), 1.0)(a, b) - b).square().mean().sqrt()) < 0.02


@pytest.mark.parametrize("method", [Laplacian(), Maximum()], ids=["laplacian", "maximum"])
@pytest.mark.parametrize("goal", [-1, 1])
def test_it_goes_towards_a_source_without_halos(method: Laplacian | Maximum, goal: int) -> None:
    a, b = sources()
    fused, end = method(a, b), b if goal > 0 else a
    errors = [float((fused - end).square().mean())]
    for part in (0.25, 0.5, 0.75, 1.0):
        moved = BalancedFuser(method, goal * part)(a, b)
        errors.append(float((moved - end).square().mean()))
        near = [image[0, 0].numpy() for image in (fused, end)]
        assert (moved[0, 0].numpy() <= maximum_filter(np.maximum(*near), 3, mode="nearest") + 1e-12).all()
        assert (moved[0, 0].numpy() >= minimum_filter(np.minimum(*near), 3, mode="nearest") - 1e-12).all()
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.25 * errors[0]


def test_it_keeps_the_contract_of_a_fuser() -> None:
    check_fuser(Moved, sizes=((1, 1), (7, 1), (17, 31)))


def test_a_model_takes_a_balance_per_call_or_for_all_and_names_it() -> None:
    a, b = (image.float() for image in sources())
    plain, moved = Model(Laplacian()), Model(Laplacian(), balance=0.4)
    assert torch.equal(plain.fuse(a, b, balance=0.4).tensor, moved.fuse(a, b).tensor)
    assert torch.equal(plain.fuse(a, b).tensor, moved.fuse(a, b, balance=0).tensor)
    assert not torch.equal(plain.fuse(a, b).tensor, moved.fuse(a, b).tensor)
    assert (plain.describe()["balance"], moved.describe()["balance"]) == (0, 0.4)


def test_what_has_no_balance_is_said() -> None:
    a, b = (image.float() for image in sources())
    model = fusionkit.load("average", device="cpu", balance=0.5)
    with pytest.raises(UsageError, match=r"balance 0\.5: is between two sources, and average is given 3: leave it out"):
        model.fuse(a, b, a)
    for wrong in (1.5, float("nan")):
        with pytest.raises(UsageError, match="give a number from -1"):
            model.fuse(a, b, balance=wrong)


def test_a_folder_is_fused_with_a_balance_that_its_record_keeps(tmp_path: Path) -> None:
    for name, image in zip("ab", sources(), strict=True):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "one.png"), np.rint(255 * image[0, 0].numpy()))
    given = ["fuse", "-m", "average", "-a", str(tmp_path / "a"), "-b", str(tmp_path / "b"), "--balance", "1"]
    made = CliRunner().invoke(main, [*given, "-o", str(tmp_path / "out")])
    assert made.exit_code == 0, made.output
    assert json.loads((tmp_path / "out" / "fusion.json").read_text())["balance"] == 1
    fused, known = (read_image(tmp_path / name / "one.png").pixels.astype(int) for name in ("out", "b"))
    assert np.abs(fused - known).max() <= 1
    refused = CliRunner().invoke(main, [*given, "-o", str(tmp_path / "maps"), "--maps"])
    assert refused.exit_code != 0
    assert "leave --balance out" in refused.output + str(refused.exception)
