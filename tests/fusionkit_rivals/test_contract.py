"""Published networks: parameter counts, weights that are recognised in files as published, and their conventions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.models.recognition import import_published, recognise
from fusionkit.plugins import catalogue

NAMES = json.loads((Path(__file__).parents[1] / "fixtures/published_names.json").read_text())
"""Names and shapes of the published tensors, by network."""

BUILT = {
    "densefuse": ("DenseFuse", "ivif", 74193),
    "didfuse": ("DIDFuse", "ivif", 260935),
    "gifnet": ("GIFNet", "ivif", 652676 + 98 * 99),  # with the queries of the side branch, which never act
    "ifcnn": ("IFCNN", "mfif", 83587),
    "lrrnet": ("LRRNet", "ivif", 49204),
    "lut-fuse": ("LUT-Fuse", "ivif", 73361),
    "matr": ("MATR", "mif", 11574 + 3 * 32 * 17),  # with the queries and keys of three blocks, which never act
    "mef-net": ("MEFNet", "meif", 26461),
    "mmdrfuse": ("MMDRFuse", "ivif", 113),
    "sesf-fuse": ("SESF-Fuse", "mfif", 14416),
}


def drawn(network: str) -> dict[str, Tensor]:
    """Random tensors of the published names and shapes; positive, so that variances are."""
    generator = torch.Generator().manual_seed(3)
    tensors = {}
    for name, shape in NAMES[network].items():
        whole = name.endswith(("num_batches_tracked", "relative_position_index"))
        tensors[name] = torch.zeros(shape, dtype=torch.long) if whole else torch.rand(shape, generator=generator) * 0.1
    return tensors


def frozen(kind: type[Fuser], **options: object) -> Fuser:
    fuser = kind(kind.Config(**options))
    return fuser.requires_grad_(False)


@pytest.mark.parametrize("name", BUILT)
def test_random_weights_of_the_published_names_are_recognised(name: str, tmp_path: Path) -> None:
    network, task, count = BUILT[name]
    torch.save({"state_dict": drawn(network), "epoch": 4}, tmp_path / "x.pth")
    fuser, info, weights = import_published((tmp_path / "x.pth",), task=task)
    assert info.fuser == name
    assert weights is not None
    assert weights.licence
    assert sum(p.numel() for p in fuser.parameters()) == count
    assert count <= weights.parameters
    # Every published tensor that acts has arrived.
    own = fuser.state_dict()
    for published, tensor in drawn(network).items():
        ours = type(fuser).rename_published(published)
        assert ours is not None, published
        assert not ours or torch.equal(own[ours], tensor), published


@pytest.mark.parametrize("name", BUILT)
def test_the_published_parameters_are_counted(name: str) -> None:
    network = BUILT[name][0]
    buffers = ("running_mean", "running_var", "num_batches_tracked", "relative_positions", "relative_position_index")
    published = sum(t.numel() for n, t in drawn(network).items() if not n.endswith(buffers))
    assert {weights.parameters for weights in catalogue.fusers.get(name).published_weights} == {published}


def test_networks_of_two_files_are_put_together(tmp_path: Path) -> None:
    parts = drawn("DIDFuse")
    for part in ("encoder", "decoder"):
        inner = {n.removeprefix(f"{part}."): t for n, t in parts.items() if n.startswith(part)}
        torch.save({"weight": inner, "epoch": 120}, tmp_path / f"{part}.pkl")
    fuser, _, _ = import_published((tmp_path / "encoder.pkl", tmp_path / "decoder.pkl"))
    assert torch.equal(fuser.state_dict()["stages.6.0.weight"], parts["decoder.cov6.cov6.0.weight"])

    table = drawn("LUT-Fuse")
    np.save(tmp_path / "lut.npy", table["lut"].numpy())
    context = {n.removeprefix("generator."): t for n, t in table.items() if n != "lut"}
    torch.save(context, tmp_path / "context.pth", _use_new_zipfile_serialization=False)
    fuser, _, _ = import_published((tmp_path / "lut.npy", tmp_path / "context.pth"))
    assert torch.equal(fuser.state_dict()["table"], table["lut"])


def test_a_checkpoint_with_numpy_scores_is_read(tmp_path: Path) -> None:
    kept = {"state_dict": drawn("MEFNet"), "scores": [np.float64(0.9), np.float32(0.5), np.int64(3)]}
    torch.save(kept, tmp_path / "release.pt")
    _, info, _ = import_published((tmp_path / "release.pt",))
    assert info.fuser == "mef-net"


def test_sizes_are_read_from_the_tensors(tmp_path: Path) -> None:
    tensors = drawn("LUT-Fuse") | {"lut": torch.zeros(5, 5, 5, 5, 1)}
    (found,) = recognise(tensors)
    assert found.options == {"size": 5}
    assert not found.problem


def test_the_published_option_gives_whole_levels_in_colour() -> None:
    sources = [torch.rand(1, 3, 32, 48) for _ in range(2)]
    for name in ("mmdrfuse", "densefuse", "didfuse", "lut-fuse", "ifcnn", "mef-net"):
        fused = frozen(catalogue.fusers.get(name), published=True)(*sources)
        levels = 255 * fused
        assert fused.shape == (1, 3, 32, 48), name
        assert torch.allclose(levels, levels.round(), atol=1e-3), name


def test_matr_takes_any_size_unless_published() -> None:
    kind = catalogue.fusers.get("matr")
    assert frozen(kind, published=True).capabilities.square
    assert not kind.capabilities.square
    a, b = torch.rand(2, 1, 1, 9, 14)
    assert frozen(kind)(a, b).shape == (1, 1, 9, 14)


def test_negative_values_wrap_only_as_published() -> None:
    kind = catalogue.fusers.get("matr")
    plain, published = frozen(kind), frozen(kind, published=True)
    for fuser in (plain, published):
        fuser.last.weight.fill_(-0.01)
        published.load_state_dict(plain.state_dict())
    a, b = torch.rand(2, 1, 3, 9, 9)
    raw = published.fuse(*published.planes(a, b))
    assert raw.min() < -2 / 255
    assert published(a, b).max() > 0.9
    assert float(plain(a[:, :1], b[:, :1]).max()) == 0
