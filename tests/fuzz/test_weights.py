"""Weights files that are damaged, hostile or described wrongly: one clear line, within bounded time and memory."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fusionkit.errors import DataError, FusionkitError
from fusionkit.models.weights import WeightsInfo, load_fuser, read_info, read_tensors, save_fuser
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_restormer.fuser import FuserOptions
from tests.support.refusals import refusal

DESCRIBED = {"fuser": "refusion", "task": "ivif", "config": {"dim": 4, "heads": 2, "blocks": 1}, "training": {}}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "good.safetensors"
    save_fuser(file, ReFusionFuser(FuserOptions(dim=4, heads=2, blocks=1)), WeightsInfo("refusion", "ivif"))
    return file


def rewritten(good: Path, to: Path, described: Any, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    text = described if isinstance(described, str) else json.dumps(described)
    save_file(tensors or load_file(good), to, metadata={"fusionkit": text})
    return to


@pytest.mark.parametrize(
    "config",
    [
        {"blocks": 4096},
        {"blocks": 2**40},
        {"dim": 2**31, "heads": 2},
        {"dim": 2**70, "heads": 2},
        {"expansion": 2**20},
        {"dim": 8},
        {"heads": 4},
    ],
)
def test_a_description_of_another_network_is_refused_before_it_is_built(
    good: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    described = {"format": 1, **DESCRIBED, "config": {**DESCRIBED["config"], **config}}  # type: ignore[dict-item]
    file = rewritten(good, tmp_path / "x.safetensors", described)
    began = time.monotonic()
    with pytest.raises(FusionkitError, match=r"x\.safetensors"):
        load_fuser(file)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "described",
    [
        "1",
        "null",
        '"text"',
        "[]",
        "{}",
        "[" * 5000,
        {"format": "1", **DESCRIBED},
        {"format": 2, **DESCRIBED},
        {"format": 1, **DESCRIBED, "fuser": 5},
        {"format": 1, **DESCRIBED, "fuser": None},
        {"format": 1, **DESCRIBED, "task": 5},
        {"format": 1, **DESCRIBED, "config": None},
        {"format": 1, **DESCRIBED, "config": []},
        {"format": 1, **DESCRIBED, "training": []},
        {"format": 1, **DESCRIBED, "more": 1},
    ],
)
def test_a_damaged_description_is_refused_in_one_line(good: Path, tmp_path: Path, described: Any) -> None:
    file = rewritten(good, tmp_path / "x.safetensors", described)
    with pytest.raises(DataError, match=r"x\.safetensors"):
        read_info(file)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_weights_that_are_no_numbers_with_a_point_are_refused(good: Path, tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {name: value.to(dtype) for name, value in load_file(good).items()}
    with pytest.raises(DataError, match="not floating point"):
        load_fuser(rewritten(good, tmp_path / "x.safetensors", {"format": 1, **DESCRIBED}, tensors))


def test_half_precision_weights_are_taken(good: Path, tmp_path: Path) -> None:
    tensors = {name: value.half() for name, value in load_file(good).items()}
    fuser, _ = load_fuser(rewritten(good, tmp_path / "x.safetensors", {"format": 1, **DESCRIBED}, tensors))
    assert all(value.dtype == torch.float32 for value in fuser.state_dict().values())


@pytest.mark.parametrize("key", ["model", "state_dict", "params_ema", "generator", "fusion_net"])
def test_wrappers_of_published_files_are_taken_off(tmp_path: Path, key: str) -> None:
    tensors = {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}
    wrapped: Any = {f"module.{name}": value for name, value in tensors.items()}
    torch.save({"epoch": 3, key: {"model": wrapped} if key != "model" else wrapped}, tmp_path / "x.pth")
    found = read_tensors(tmp_path / "x.pth")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensors[name]) for name in tensors)


def test_of_two_networks_in_a_file_none_is_chosen(tmp_path: Path) -> None:
    torch.save({"fusion_net": {"a": torch.ones(1)}, "critic": {"b": torch.ones(1)}}, tmp_path / "x.pth")
    with pytest.raises(DataError, match="holds tensors under fusion_net, critic: save one of them alone"):
        read_tensors(tmp_path / "x.pth")


def test_a_file_that_holds_itself_is_refused(tmp_path: Path) -> None:
    loop: dict[str, Any] = {"epoch": 1}
    loop["model"] = loop
    torch.save(loop, tmp_path / "x.pth")
    with pytest.raises(DataError, match="holds no state_dict"):
        read_tensors(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [{1: torch.ones(1)}, {("a",): torch.ones(1)}, {"a": 5}, {}, [torch.ones(1)], None])
def test_a_pytorch_file_without_named_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"x\.pth"):
        read_tensors(tmp_path / "x.pth")


def test_an_empty_file_and_a_published_file_given_as_a_model_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read_tensors(tmp_path / "x.pth")
    torch.save({"a": torch.ones(1)}, tmp_path / "y.pth")
    with pytest.raises(DataError, match="weights import"):
        load_fuser(tmp_path / "y.pth")


@settings(max_examples=150)
@given(st.data())
def test_a_file_with_any_bytes_changed_is_loaded_or_refused(good: Path, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    (length,) = struct.unpack("<Q", content[:8])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(8 + length, len(content) - 1)))
        content[place] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    file = good.with_name("changed.safetensors")
    file.write_bytes(content)
    said = refusal(lambda: load_fuser(file))
    assert said is None or len(said.splitlines()) == 1


@settings(max_examples=60)
@given(st.data())
def test_a_pytorch_file_with_any_bytes_changed_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = tmp_path_factory.mktemp("pth") / "x.pth"
    torch.save({"model": {"a": torch.ones(3)}}, file, _use_new_zipfile_serialization=data.draw(st.booleans()))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content)
    said = refusal(lambda: read_tensors(file))
    assert said is None or len(said.splitlines()) == 1
