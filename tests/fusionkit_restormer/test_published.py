"""Weights as ReFusion's authors publish them: their names, and each convolution stored twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fusionkit.errors import DataError
from fusionkit.models.recognition import import_published
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_restormer.published import _LAYERS, published_name

BLOCKS = [(stage, k) for stage in ("encoder1", "encoder2", "decoder") for k in range(2)]
CONVOLUTIONS = ("attn.qkv", "attn.qkv_dwconv", "attn.project_out", "ffn.project_in", "ffn.dwconv", "ffn.project_out")
NORMS = ("norm1.body.weight", "norm1.body.bias", "norm2.body.weight", "norm2.body.bias")


def published(fuser: ReFusionFuser) -> dict[str, Tensor]:
    """The fuser's tensors under the authors' names, with a second name for each convolution."""
    own = fuser.state_dict()
    convolutions = [f"{stage}.{k}.{layer}" for stage, k in BLOCKS for layer in CONVOLUTIONS]
    convolutions += [name for name in _LAYERS if "temperature" not in name]
    others = [f"{stage}.{k}.{name}" for stage, k in BLOCKS for name in (*NORMS, "attn.temperature")]
    others += ["FM.temperature1", "FM.temperature2"]
    tensors = {name: own[str(published_name(name))] for name in others}
    for name in convolutions:
        tensors[f"{name}.weight"] = tensors[f"{name}.conv.weight"] = own[str(published_name(f"{name}.weight"))]
    assert len(tensors) == len(own) + 54
    return tensors


@pytest.mark.parametrize("parallel", [False, True])
def test_the_authors_file_is_imported_though_each_convolution_stands_in_it_twice(
    tmp_path: Path, parallel: bool
) -> None:
    fuser = ReFusionFuser()
    tensors = published(fuser)
    # Saved as one storage per convolution, as a layer that keeps both names is.
    torch.save({f"module.{n}" if parallel else n: t for n, t in tensors.items()}, tmp_path / "ReFusion_IVF.pth")
    imported, info, _ = import_published((tmp_path / "ReFusion_IVF.pth",), task="ivif")
    assert info.task == "ivif"
    for name, tensor in fuser.state_dict().items():
        assert torch.equal(imported.state_dict()[name], tensor), name


def test_a_file_with_the_second_names_alone_is_imported(tmp_path: Path) -> None:
    fuser = ReFusionFuser()
    tensors = published(fuser)
    alone = {n: t for n, t in tensors.items() if f"{n.removesuffix('.weight')}.conv.weight" not in tensors}
    assert len(alone) == len(fuser.state_dict())
    torch.save(alone, tmp_path / "x.pth")
    imported, _, _ = import_published((tmp_path / "x.pth",), fuser="refusion")
    assert all(torch.equal(imported.state_dict()[name], tensor) for name, tensor in fuser.state_dict().items())


def test_twins_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    tensors = published(ReFusionFuser())
    tensors["FM.qkv1.conv.weight"] = tensors["FM.qkv1.conv.weight"] + 1
    torch.save(tensors, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"x\.pth: two tensors are stored for FM\.qkv1\.weight, and they differ"):
        import_published((tmp_path / "x.pth",), fuser="refusion")
