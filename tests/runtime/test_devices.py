"""Choosing a device, and what is said when it has too little memory or too few digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fusionkit.errors import DivergedError, UsageError
from fusionkit.runtime.devices import choose_device, memory_checked
from fusionkit.runtime.processes import joined
from fusionkit.train.bilevel import BilevelTrainer
from fusionkit.train.run import TrainRequest, start

TINY = {
    "trainer": {"epochs": 1, "warmup": 0, "meta_steps": 0, "fusion_steps": 3, "crop": 8, "batch": 2},
    "fuser": {"dim": 2, "heads": 2, "blocks": 1},
    "proposer": {"dim": 2, "heads": 2, "blocks": 1},
    "reconstructor": {"dim": 2, "heads": 2, "blocks": 1},
}


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_cuda_where_there_is_none_is_refused_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == torch.device("cpu")
    with pytest.raises(UsageError, match="sees no CUDA device here: use --device cpu"):
        choose_device("cuda")


@pytest.mark.usefixtures("two_gpus")
def test_each_process_of_a_machine_gets_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
    assert choose_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(UsageError, match="device 2 was asked for, and there are 2"):
        choose_device("cuda:2")
    monkeypatch.setenv("LOCAL_RANK", "2")
    assert choose_device("cuda") == torch.device("cuda", 0)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with (
        pytest.raises(UsageError, match="process 2 of this machine has no CUDA device: start at most 2"),
        joined(torch.device("cuda", 0)),
    ):
        pass


@pytest.mark.parametrize("name", ["cuda:x", "cpu:y", "tpu"])
def test_a_device_that_is_none_is_refused(name: str, two_gpus: None) -> None:
    with pytest.raises(UsageError, match=f"--device {name}"):
        choose_device(name)


def test_other_errors_pass_the_check_of_memory() -> None:
    with pytest.raises(RuntimeError, match="something else"), memory_checked("lower it"):
        raise RuntimeError("something else")


def _request(precision: str = "fp32") -> TrainRequest:
    return TrainRequest(method="refusion", task="mif", preset="paper", options=TINY, device="cpu", precision=precision)


def test_too_little_memory_is_one_line_that_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_self: BilevelTrainer, _index: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of 4 GiB.\nSee")

    monkeypatch.setattr(BilevelTrainer, "step", full)
    with pytest.raises(UsageError, match=r"CUDA out of memory\): lower trainer\.batch or trainer\.crop") as caught:
        start(_request(), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("precision", "remedy"), [("bf16", "with --precision fp32"), ("fp32", "a lower trainer.lr")])
def test_a_loss_that_is_not_finite_offers_what_may_help(
    precision: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BilevelTrainer, "step", lambda _self, _index: {"total": torch.tensor(float("inf"))})
    with pytest.raises(DivergedError, match=f"inf at step 3; .*{remedy}"):
        start(_request(precision), tmp_path / "run")
