"""The native form of F beside PyTorch's: every option, any size, shipped weights, faults."""

from __future__ import annotations

import copy
import errno
import logging
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import fusionkit
from fusionkit.errors import DataError, FusionNote, UsageError
from fusionkit.runtime.compiling import library_name
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_restormer.fuser import FuserOptions
from fusionkit_restormer.inputs import CHANNELS
from fusionkit_restormer.native import fuse, library
from fusionkit_restormer.native.fuse import NativeRestormer

try:
    FORMS = [form for form in library.FORMS if form in ("portable", library.best_form())]
except UsageError as error:
    pytest.skip(str(error), allow_module_level=True)

BOUND = 1e-5
OPTIONS = [
    *(FuserOptions(inputs=inputs) for inputs in CHANNELS),
    FuserOptions(output="decision", blocks=1, expansion=1),
    FuserOptions(dim=32, heads=16, blocks=1),
]


def _network(options: FuserOptions, seed: int = 0) -> ReFusionFuser:
    torch.manual_seed(seed)
    network = ReFusionFuser(options).eval()
    for parameter in network.parameters():
        if parameter.ndim == 1:  # norms, which a new network leaves at 1 and 0
            parameter.data += torch.randn_like(parameter) / 4
    return network


def _pair(height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    rows = torch.linspace(0, 1, height)[:, None]
    return (rows + torch.rand(batch, 1, height, width)) / 2, torch.rand(batch, 1, height, width)


def _difference(network: ReFusionFuser, native: NativeRestormer, *pair: Tensor) -> float:
    with torch.inference_mode():
        return float((native(network, *pair) - network(*pair)).abs().max())


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=8, deadline=None)
@given(st.sampled_from(OPTIONS), st.integers(1, 40), st.integers(1, 140), st.integers(0, 9), st.integers(1, 3))
def test_equals_pytorch(form: str, options: FuserOptions, height: int, width: int, seed: int, threads: int) -> None:
    network = _network(options, seed)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert _difference(network, NativeRestormer(network, form), *_pair(height, width)) <= BOUND
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["ivif@v1", "ivif@v2", "ivif@v3", "ivif@v4", "mif", "mif@v2", "mfif", "meif"])
def test_shipped_models_equal_pytorch(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FusionNote)  # one line says by what a superseded model is superseded
        network = fusionkit.load(f"refusion:{name}", device="cpu", backend="torch").fuser
    assert isinstance(network, ReFusionFuser)
    assert _difference(network, NativeRestormer(network), *_pair(70, 131, batch=2)) <= BOUND


def test_a_large_image_is_worked_on_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network, pair = _network(OPTIONS[0]), _pair(65, 130)
    native = NativeRestormer(network)
    monkeypatch.setattr(fuse, "MEMORY_BYTES", 0)
    monkeypatch.setattr(fuse, "_BAND_BYTES", 20 * 130 * 128)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(fuse, "_INTERRUPTIBLE", 1)
    assert _difference(network, native, *pair) <= BOUND
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fuse, "MEMORY_BYTES", 0)
    monkeypatch.setattr("os.posix_fallocate", full)
    network = _network(OPTIONS[0])
    with torch.inference_mode(), pytest.raises(DataError, match=r"No space left on device: .* TMPDIR"):
        NativeRestormer(network)(network, *_pair(8, 8))


def test_changed_weights_are_seen_and_copies_are_their_own() -> None:
    network, pair = _network(OPTIONS[0]), _pair(9, 9)
    network.use_native()
    with torch.inference_mode():
        first = network(*pair)
    copied = copy.deepcopy(network)
    with torch.no_grad():
        network.head[0].weight.mul_(2)
    with torch.inference_mode():
        assert not torch.equal(network(*pair), first)
        assert torch.equal(copied(*pair), first)


def test_gradients_and_doubles_are_left_to_pytorch() -> None:
    network, pair = _network(OPTIONS[0]), _pair(9, 9)
    network.use_native()
    assert network(*pair).requires_grad
    network.double()
    with torch.inference_mode():
        assert network(*(x.double() for x in pair)).dtype == torch.float64


@pytest.mark.parametrize(
    ("change", "word"),
    [({"cross_attention": False}, "cross attention"), ({"heads": 1}, "heads=1"), ({"dim": 8, "heads": 4}, "dim=8")],
)
def test_other_networks_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(UsageError, match=f"{word}.* --backend torch"):
        ReFusionFuser(replace(FuserOptions(), **change)).use_native()  # type: ignore[arg-type]


def test_without_libraries_pytorch_fuses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def absent(form: str) -> object:
        return library.load_library(form, tmp_path)

    monkeypatch.setattr("fusionkit_restormer.native.fuse.best_form", lambda: "portable")
    monkeypatch.setattr("fusionkit_restormer.native.fuse.load_library", absent)
    with caplog.at_level(logging.DEBUG, logger="fusionkit"):
        assert fusionkit.load("refusion:mif", device="cpu").backend == "torch"
    assert [record.getMessage() for record in caplog.records] == [
        "fusing with PyTorch: the native form portable was not compiled when fusionkit was installed: install a C++ "
        "compiler (GCC 12 or Clang) and fusionkit again, or use --backend torch"
    ]
    with pytest.raises(UsageError, match="was not compiled"):
        fusionkit.load("refusion:mif", device="cpu", backend="native")


def test_a_damaged_library_is_one_line(tmp_path: Path) -> None:
    (tmp_path / library_name("restormer", "portable")).write_bytes(b"nothing")
    with pytest.raises(UsageError, match=r"cannot be loaded .* --backend torch"):
        library.load_library("portable", tmp_path)


def test_the_record_names_the_backend() -> None:
    model = fusionkit.load("refusion:mif", device="cpu")
    assert model.describe()["backend"] == model.backend == f"native {library.best_form()}"
    assert fusionkit.load("laplacian", device="cpu").backend == "torch"
    with pytest.raises(UsageError, match="Laplacian has no native form"):
        fusionkit.load("laplacian", device="cpu", backend="native")


def test_a_model_is_sent_to_other_processes() -> None:
    model = fusionkit.load("refusion:ivif", device="cpu", backend="native")
    a, b = (np.random.default_rng(k).integers(0, 256, (24, 20), dtype=np.uint8) for k in (1, 2))
    fused = model.fuse(a, b).array()
    sent = pickle.loads(pickle.dumps(model))
    assert sent.backend == model.backend
    assert np.array_equal(sent.fuse(a, b).array(), fused)
