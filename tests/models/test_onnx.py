"""ONNX files: values in onnxruntime against PyTorch, what they say of themselves, and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor, nn

from fusionkit.cli import main
from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import PluginError, UsageError
from fusionkit.models.onnx import export_onnx
from fusionkit.plugins import catalogue
from tests.support.toyfusers import ToyMean

onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra 'export'")


class Blur(Fuser):
    """A 3x3 convolution of two sources."""

    stretch = "full"

    def __init__(self, config: object = None) -> None:
        super().__init__(config)
        self.net = nn.Conv2d(2, 1, 3, padding=1)
        nn.init.uniform_(self.net.weight, 0, 0.05)

    def forward(self, *sources: Tensor) -> Tensor:
        return self.net(torch.cat(sources, 1))


class Even(Blur):
    """Takes even sizes from 4 on."""

    capabilities = Capabilities(min_size=4, multiple=2)


class Branching(Blur):
    """Looks at values, which no graph can."""

    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0] if sources[0].mean().item() > 0.5 else super().forward(*sources)


class Counting(Blur):
    """Gives other values at each call."""

    calls = 0

    def forward(self, *sources: Tensor) -> Tensor:
        type(self).calls += 1
        return super().forward(*sources) * (0.5 + 0.01 * type(self).calls)


def run(file: Path, *sources: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return session.run(["fused"], dict(zip(("a", "b"), sources, strict=True)))[0]


def convolve(fuser: Blur, *sources: np.ndarray) -> np.ndarray:
    """The same network as plain sums in float64."""
    kernel, bias = fuser.net.weight.detach().double().numpy()[0], fuser.net.bias.item()
    height, width = sources[0].shape[2:]
    padded = [np.pad(source[0, 0].astype(np.float64), 1) for source in sources]
    total = sum(
        kernel[s, i, j] * padded[s][i : i + height, j : j + width] for s in range(2) for i in range(3) for j in range(3)
    )
    return np.clip(total + bias, 0, 1)[None, None]


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-6), ("fp16", 2e-3)])
def test_a_file_of_any_size_gives_the_formula(tmp_path: Path, precision: str, tolerance: float) -> None:
    fuser, file = Blur(), tmp_path / "deep" / "blur.onnx"
    written = export_onnx(fuser, file, precision=precision, metadata={"model": "blur", "task": "ivif"})
    assert written.inputs == ("a", "b")
    assert written.difference <= tolerance
    generator = np.random.default_rng(3)
    for size in ((1, 1), (5, 90), (64, 31)):
        a, b = (generator.random((1, 1, *size), dtype=np.float32) for _ in range(2))
        assert np.abs(run(file, a, b) - convolve(fuser, a, b)).max() <= tolerance
    assert fuser.net.weight.dtype == torch.float32  # the given fuser stays as it is
    kept = onnxruntime.InferenceSession(str(file)).get_modelmeta().custom_metadata_map
    assert {"model": "blur", "stretch": "full", "space": "luminance", "precision": precision}.items() <= kept.items()


def test_a_file_of_one_size_takes_that_size_alone(tmp_path: Path) -> None:
    file = tmp_path / "even.onnx"
    export_onnx(Even(), file, size=(6, 8), metadata={})
    shapes = {entry.name: entry.shape for entry in onnxruntime.InferenceSession(str(file)).get_inputs()}
    assert shapes == {"a": [1, 1, 6, 8], "b": [1, 1, 6, 8]}
    for size in ((6, 7), (2, 8)):
        with pytest.raises(UsageError, match=r"from 4 on, in multiples of 2"):
            export_onnx(Even(), file, size=size, metadata={})


@pytest.mark.parametrize(
    ("kind", "told"), [(Branching, "cannot be written as ONNX"), (Counting, "differs from PyTorch")]
)
def test_what_onnx_cannot_hold_is_refused_and_nothing_is_written(tmp_path: Path, kind: type[Fuser], told: str) -> None:
    with pytest.raises(PluginError, match=told):
        export_onnx(kind(), tmp_path / "x.onnx", size=(8, 8), metadata={})
    assert not list(tmp_path.iterdir())


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_the_command_refuses_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = tmp_path / "taken.onnx"
    taken.write_text("mine")
    catalogue.fusers.register("toy-mean", ToyMean)
    try:
        wrong = {
            ("toy-mean", "-o", tmp_path / "x.onnx"): "no network to export",
            ("refusion:ivif", "-o", tmp_path / "x.pt"): "ends in .onnx",
            ("refusion:ivif", "-o", taken): "--force",
            ("refusion:ivif", "-o", tmp_path / "x.onnx", "--size", "480"): "HEIGHTxWIDTH",
            ("refusion:ivif", "-o", tmp_path / "x.onnx", "--size", "0x8"): "from 1 on",
        }
        for arguments, told in wrong.items():
            result = export(*arguments)
            assert result.exit_code != 0
            assert told in result.stderr
            assert len(result.stderr.strip().splitlines()) == 1
        monkeypatch.setitem(sys.modules, "onnxscript", None)
        assert "pip install 'image-fusionkit[export]'" in export("refusion:ivif", "-o", tmp_path / "x.onnx").stderr
    finally:
        catalogue.fusers._registered.pop("toy-mean", None)
    assert taken.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [taken]
