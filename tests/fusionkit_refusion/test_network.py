"""F, P and R: sizes, the plain published arithmetic, ablations, published weights."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

import fusionkit
from fusionkit.config import as_dict
from fusionkit.contracts import Batch
from fusionkit.errors import DataError, UsageError
from fusionkit.io.color import luminance
from fusionkit.io.images import read_image
from fusionkit.models.recognition import import_published
from fusionkit.models.weights import WeightsInfo, load_fuser, save_fuser
from fusionkit.testing import check_fuser, check_loss_proposer, check_reconstructor
from fusionkit_refusion.fuser import ReFusionFuser
from fusionkit_refusion.proposer import EqualProposer, ProposerOptions, ReFusionProposer
from fusionkit_refusion.reconstructor import ReconstructorOptions, ReFusionReconstructor
from fusionkit_restormer.fuser import FuserOptions
from fusionkit_restormer.inputs import CHANNELS, network_inputs, shares
from fusionkit_restormer.merge import CrossAttention
from fusionkit_restormer.restormer import RestormerBlock


def _parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _plain_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor, project: Tensor) -> Tensor:
    height, heads = v.shape[2], len(temperature)
    q, k, v = (rearrange(t, "b (h c) y x -> b h c (y x)", h=heads) for t in (q, k, v))
    attention = (F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * temperature).softmax(-1)
    return F.conv2d(rearrange(attention @ v, "b h c (y x) -> b (h c) y x", y=height), project)


def _plain_block(block: RestormerBlock, x: Tensor) -> Tensor:
    """Restormer's block as its paper writes it: no folding, no shared Gram matrix, no special layout."""

    def norm(layer: torch.nn.Module, x: Tensor) -> Tensor:
        mean, variance = x.mean(1, keepdim=True), x.var(1, keepdim=True, unbiased=False)
        return (x - mean) / (variance + 1e-5).sqrt() * layer.weight[:, None, None] + layer.bias[:, None, None]

    def depthwise(layer: torch.nn.Module, x: Tensor) -> Tensor:
        return F.conv2d(x, layer.weight, padding=1, groups=x.shape[1])

    a, f = block.attention, block.feedforward
    q, k, v = depthwise(a.depthwise, F.conv2d(norm(block.norm1, x), a.qkv.weight)).chunk(3, 1)
    x = x + _plain_attention(q, k, v, a.temperature, a.project.weight)
    gate, value = depthwise(f.depthwise, F.conv2d(norm(block.norm2, x), f.expand.weight)).chunk(2, 1)
    return x + F.conv2d(F.gelu(gate) * value, f.project.weight)


def _shaken(module: torch.nn.Module) -> torch.nn.Module:
    """Every parameter moved off its initial value, so that ones and zeros hide nothing."""
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module


def test_f_has_the_papers_59856_parameters() -> None:
    assert _parameters(ReFusionFuser()) == 59_856


@pytest.mark.parametrize(("channels", "heads"), [(16, 8), (32, 8), (6, 3), (4, 1)])
def test_the_block_is_restormers_written_plainly(channels: int, heads: int) -> None:
    block = _shaken(RestormerBlock(channels, heads, 2).double())
    x = torch.randn(2, channels, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(block(x), _plain_block(block, x), rtol=1e-10, atol=1e-12)


def test_each_source_keeps_its_values_and_is_asked_by_the_other() -> None:
    cross = _shaken(CrossAttention(8, 4).double())
    x1, x2 = torch.randn(2, 2, 8, 6, 5, dtype=torch.float64)
    (q1, k1, v1), (q2, k2, v2) = cross.split(x1, 0), cross.split(x2, 1)
    t, p = cross.temperature, cross.project
    found = cross(x1, x2)
    torch.testing.assert_close(found[0], x1 + _plain_attention(q2, k1, v1, t[0], p[0].weight), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(found[1], x2 + _plain_attention(q1, k2, v2, t[1], p[1].weight), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        FuserOptions(dim=4, heads=2, blocks=1),
        FuserOptions(dim=4, heads=2, blocks=1, cross_attention=False),
        FuserOptions(dim=4, heads=2, blocks=1, gating=False),
        FuserOptions(dim=4, heads=2, blocks=1, cross_attention=False, gating=False),
        FuserOptions(dim=4, heads=2, blocks=1, output="decision"),
        FuserOptions(dim=4, heads=2, blocks=1, inputs="image+gradient"),
        FuserOptions(dim=4, heads=2, blocks=1, inputs="image+gradient+share"),
    ],
)
def test_f_and_its_ablations_keep_the_contract(options: FuserOptions) -> None:
    check_fuser(ReFusionFuser(options))


def test_further_inputs_grow_the_first_convolution_alone() -> None:
    seen = ReFusionFuser(FuserOptions(inputs="image+gradient+share"))
    assert _parameters(seen) == 59_856 + 2 * 4 * 16 * 9
    ours, published = seen.state_dict(), ReFusionFuser().state_dict()
    grown = {name for name in ours if ours[name].shape != published[name].shape}
    assert grown == {"encoders.0.0.weight", "encoders.1.0.weight"}


def test_f_sees_the_image_its_sobel_gradients_and_its_shares() -> None:
    a, b = (torch.rand(1, 1, 7, 6, dtype=torch.float64) for _ in range(2))
    of_a, of_b = network_inputs("image+gradient+share", (a, b))
    x = np.pad(a[0, 0].numpy(), 1)
    across = x[:-2, 2:] - x[:-2, :-2] + 2 * (x[1:-1, 2:] - x[1:-1, :-2]) + x[2:, 2:] - x[2:, :-2]
    assert torch.equal(of_a[:, :1], a)
    np.testing.assert_allclose(of_a[0, 1].numpy(), across, atol=1e-12)
    first, second = shares([of_a[:, 1:3], of_b[:, 1:3]])
    assert torch.equal(of_a[:, 3:], first)
    assert torch.equal(of_b[:, 3:], second)
    assert [CHANNELS[kind] for kind in CHANNELS] == [network_inputs(kind, (a, b))[0].shape[1] for kind in CHANNELS]


def test_weights_that_do_not_say_what_f_sees_are_of_the_published_form(tmp_path: Path) -> None:
    config = as_dict(FuserOptions())
    config.pop("inputs")
    fuser = ReFusionFuser()
    save_fuser(tmp_path / "m.safetensors", fuser, WeightsInfo("refusion", "ivif", config))
    again, _ = load_fuser(tmp_path / "m.safetensors")
    a, b = torch.rand(2, 1, 1, 9, 9)
    assert torch.equal(fuser(a, b), again(a, b))


def test_the_ablations_leave_out_what_they_say() -> None:
    whole = _parameters(ReFusionFuser())
    no_cross = _parameters(ReFusionFuser(FuserOptions(cross_attention=False)))
    no_gates = _parameters(ReFusionFuser(FuserOptions(gating=False)))
    neither = _parameters(ReFusionFuser(FuserOptions(cross_attention=False, gating=False)))
    assert whole - no_cross == 2 * (48 * 16 + 48 * 9 + 16 * 16 + 8)
    assert whole - no_gates + whole - no_cross == whole - neither


def test_a_decision_fuser_stays_between_its_sources() -> None:
    fuser = _shaken(ReFusionFuser(FuserOptions(output="decision")))
    a, b = torch.rand(2, 1, 1, 9, 9)
    fused = fuser(a, b)
    assert bool((fused <= torch.maximum(a, b) + 1e-6).all() and (fused >= torch.minimum(a, b) - 1e-6).all())


def test_p_and_r_keep_their_contracts() -> None:
    check_loss_proposer(ReFusionProposer(ProposerOptions(dim=4, heads=2, blocks=1)))
    check_loss_proposer(EqualProposer())
    check_reconstructor(ReFusionReconstructor(ReconstructorOptions(dim=4, heads=2, blocks=1)))


def test_shares_say_which_gradient_is_stronger_however_faint_both_are() -> None:
    a, b = torch.randn(2, 1, 2, 9, 9, dtype=torch.float64)
    for scale in (1.0, 0.03):
        first, second = shares([scale * a, scale * b])
        energy = [(scale * x[0]).square().sum(0) for x in (a, b)]
        assert torch.equal(first[0, 0] > second[0, 0], energy[0] > energy[1])
        there = sum(energy) > 1e-3
        assert (first + second)[0, 0][there].abs().max() < 0.011
    middle = [x[0, :, 2:7, 2:7].square().sum() for x in (a, b)]
    assert float(shares([a, b])[0][0, 1, 4, 4]) == pytest.approx(float(middle[0] / sum(middle)) - 0.5, abs=1e-4)
    assert all((share == -0.5).all() for share in shares([0 * a, 0 * b]))


@pytest.mark.parametrize("inputs", ["image", "image+gradient", "image+gradient+share"])
def test_p_proposes_from_what_it_is_told_to_see(inputs: str) -> None:
    proposer = ReFusionProposer(ProposerOptions(dim=8, blocks=1, inputs=inputs))  # type: ignore[arg-type]
    check_loss_proposer(proposer)


def test_capped_logits_bound_the_weights() -> None:
    proposer = ReFusionProposer(ProposerOptions(dim=4, heads=2, blocks=1, logit_cap=2.0))
    for parameter in proposer.head.parameters():
        parameter.data *= 1000
    w = proposer(torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8))["w"]
    assert float(w.detach().max()) <= float(torch.sigmoid(torch.tensor(4.0))) + 1e-6


def test_equal_weights_make_the_mean_the_best_flat_image() -> None:
    proposer = EqualProposer()
    a, b = torch.full((1, 1, 6, 6), 0.2), torch.full((1, 1, 6, 6), 0.6)
    losses = [
        float(proposer.loss(proposer(a, b), torch.full_like(a, level), (a, b))["intensity"])
        for level in (0.3, 0.4, 0.5)
    ]
    assert losses[1] == min(losses)


def test_the_reconstructor_starts_near_the_fused_image() -> None:
    reconstructor = ReFusionReconstructor()
    fused = torch.rand(1, 1, 8, 8)
    a, b = reconstructor(fused)
    assert (a - fused).abs().mean() < 0.3
    assert (b - fused).abs().mean() < 0.3
    terms = reconstructor.loss(fused, Batch((fused, fused)))
    assert terms["total"] > 0


def test_heads_that_do_not_divide_are_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"fuser\.heads=3 does not divide fuser\.dim=16"):
        ReFusionFuser(FuserOptions(heads=3))


@pytest.fixture(scope="session")
def published() -> Path:
    folder = os.environ.get("FUSIONKIT_PUBLISHED_REFUSION")
    if not folder:
        pytest.skip("set FUSIONKIT_PUBLISHED_REFUSION to a folder with the authors' weights and results (index.csv)")
    return Path(folder)


def test_with_the_published_weights_it_gives_the_authors_images(
    published: Path, data_dir: Path, tmp_path: Path
) -> None:
    rows = list(csv.DictReader((published / "index.csv").read_text().splitlines()))
    assert rows
    for task in sorted({row["task"] for row in rows}):
        weights = published / f"refusion_{task}.safetensors"
        fuser, info, _ = import_published((weights,), fuser="refusion", task=task)
        save_fuser(tmp_path / f"{task}.safetensors", fuser, info)
        model = fusionkit.load(tmp_path / f"{task}.safetensors", device="cpu")
        for row in (row for row in rows if row["task"] == task):
            expected = cv2.imread(str(published / row["stretched8"]), cv2.IMREAD_UNCHANGED)
            sources = (luminance(read_image(data_dir / row[key]).tensor()) for key in ("file_a", "file_b"))
            fused = model.fuse(*sources)
            found = fused.array(bits=8)
            difference = np.abs(found - expected.astype(float)).max()
            assert difference <= 1, f"{row['dataset']} {row['name']}: {difference} grey levels off"


def test_weights_of_another_network_are_refused_naming_what_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.zeros(3, 3)}, file)
    with pytest.raises(DataError, match=r"other\.pth.*refusion: no name matches"):
        import_published((file,), fuser="refusion")


def test_a_weights_file_brings_its_fuser_back(tmp_path: Path) -> None:
    fuser = ReFusionFuser(FuserOptions(dim=8, heads=4))
    save_fuser(tmp_path / "m.safetensors", fuser, WeightsInfo("refusion", "mif", as_dict(fuser.config)))
    again, info = load_fuser(tmp_path / "m.safetensors")
    a, b = torch.rand(2, 1, 1, 10, 12)
    assert info.task == "mif"
    assert len(info.digest) == 64
    assert torch.equal(fuser(a, b), again(a, b))
