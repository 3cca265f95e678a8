"""Automatic labels: what the network itself says of the same image, in files that training reads, and bad input."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from kornia.geometry.bbox import nms

import fusionkit
from fusionkit.cli import main
from fusionkit.contracts import Boxes
from fusionkit.data.labels import find_labelled, read_boxes, verify_labels
from fusionkit.io.images import read_image
from fusionkit.models.labelling import load_labeller
from fusionkit.models.weights import save_companion
from fusionkit.plugins.catalogue import outer_losses, tasks
from fusionkit.runtime.torchvision import load_torchvision
from fusionkit.train.bilevel.downstream_loss import outer_loss_companion

load_torchvision()
pytest.importorskip("timm")
SIZE = (96, 128)
SSD = ("--network", "ssdlite320_mobilenet_v3_large", "--weights", "ssd.pth")
IVIF = tasks.get("ivif")


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", "label", *map(str, arguments)])


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    for place, folder in enumerate(("ir", "vi")):
        (tmp_path / "mine" / folder).mkdir(parents=True)
        for k in range(2):
            noise = np.random.default_rng(10 * place + k).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            pixels = cv2.GaussianBlur(noise, (0, 0), 3)
            cv2.imwrite(str(tmp_path / "mine" / folder / f"{k}.png"), pixels if place else pixels[..., 0])
    return tmp_path / "mine"


def _own(kind: str, path: Path, size: tuple[int, int], **options: Any) -> Any:
    """A downstream network as a run keeps it, with random weights, whose class scores are far apart."""
    torch.manual_seed(0)
    made = outer_losses.get(kind)
    network = made(made.Config(**options), classes=("ground", "crop", "weed")[: 3 if kind == "segmentation" else 2])
    save_companion(path, outer_loss_companion(kind, network, size))
    return network.eval()


def test_boxes_of_a_runs_network_are_its_own_on_the_same_image(pairs: Path, tmp_path: Path) -> None:
    weights = tmp_path / "downstream.safetensors"
    network = _own("detection", weights, (64, 96), backbone="edgenext_xx_small", score_threshold=0.0, max_boxes=5)
    result = _run(pairs, "--task", "ivif", "--weights", weights, "--confidence", 0, "--on", "a")
    assert result.exit_code == 0, result.output
    assert "boxes in 2 images" in result.stderr
    found = find_labelled(pairs, IVIF, "detection")
    verify_labels(found)
    assert found.labels is not None
    assert found.labels.classes == ("ground", "crop")
    for pair in found:
        seen = torch.nn.functional.interpolate(
            read_image(pair.files[0]).tensor(), (64, 96), mode="bilinear", antialias=True, align_corners=False
        )
        (known,) = network.predict(seen.clamp(0, 1))
        assert pair.label is not None
        labelled = read_boxes(pair.label, SIZE, ("ground", "crop"))
        scaled = known.corners * torch.tensor([128 / 96, 96 / 64] * 2)
        scaled[:, 0::2].clamp_(0, 128)
        scaled[:, 1::2].clamp_(0, 96)
        kept = ((scaled[:, 2:] - scaled[:, :2]) > 0.5).all(1)
        assert labelled.classes.tolist() == known.classes[kept].tolist()
        assert torch.allclose(labelled.corners.float(), scaled[kept], atol=1e-2)
    rows = list(csv.DictReader((pairs / "confidence.csv").read_text().splitlines()))
    assert {row["image"] for row in rows} == {"0", "1"}
    assert all(0 <= float(row["confidence"]) <= 1 for row in rows)


def test_masks_can_be_trained_on_and_what_is_unsure_does_not_count(pairs: Path, tmp_path: Path) -> None:
    weights = tmp_path / "downstream.safetensors"
    network = _own("segmentation", weights, SIZE, backbone="edgenext_xx_small")
    result = _run(pairs, "--task", "ivif", "--weights", weights, "--on", "fused", "-m", "average")
    assert result.exit_code == 0, result.output
    found = find_labelled(pairs, IVIF, "segmentation")
    verify_labels(found)
    for pair in found:
        from fusionkit.io.color import luminance

        fused = fusionkit.load("average", device="cpu").fuse(*pair.files).tensor
        (known,) = network.predict(luminance(fused))
        assert pair.label is not None
        mask = read_image(pair.label).pixels[..., 0]
        assert np.array_equal(mask, known.numpy())
    rows = list(csv.DictReader((pairs / "confidence.csv").read_text().splitlines()))
    assert [float(row["labelled"]) for row in rows] == [1.0, 1.0]


@pytest.fixture
def ssd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    load_torchvision()
    from torchvision.models import get_model
    from torchvision.ops import boxes

    # torchvision's own is compiled, and does not load beside every build of PyTorch.
    monkeypatch.setattr(boxes, "nms", nms)
    torch.manual_seed(0)
    network = get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=91).eval()
    torch.save({"model": network.state_dict()}, tmp_path / "ssd.pth")
    return tmp_path / "ssd.pth", network


def test_a_detector_of_torchvision_labels_with_its_published_classes(pairs: Path, tmp_path: Path, ssd: Any) -> None:
    weights, network = ssd
    chosen = ("--network", "ssdlite320_mobilenet_v3_large", "--weights", weights, "--confidence", 0.02)
    result = _run(pairs, "--task", "ivif", *chosen, "-o", tmp_path / "coco", "--format", "coco")
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "coco" / "instances.json").read_text())
    names = [category["name"] for category in content["categories"]]
    assert names[:2] == ["__background__", "person"]
    with torch.no_grad():
        (known,) = network([read_image(pairs / "vi" / "0.png").tensor()[0]])
    first = [one for one in content["annotations"] if one["image_id"] == 1]
    sure = known["scores"] >= 0.02
    assert len(first) <= int(sure.sum())
    assert {one["category_id"] - 1 for one in first} <= set(known["labels"][sure].tolist())
    assert content["images"][0]["file_name"] == "0.png"


def test_kept_classes_have_new_ids_in_their_order(pairs: Path, tmp_path: Path) -> None:
    weights = tmp_path / "downstream.safetensors"
    _own("detection", weights, SIZE, backbone="edgenext_xx_small", score_threshold=0.0, max_boxes=20)
    chosen = ("--task", "ivif", "--weights", weights, "--confidence", 0)
    assert _run(pairs, *chosen, "-o", tmp_path / "all").exit_code == 0
    assert _run(pairs, *chosen, "-o", tmp_path / "crop", "--keep", "crop").exit_code == 0
    every = read_boxes(tmp_path / "all" / "0.txt", SIZE, ("ground", "crop"))
    crop = read_boxes(tmp_path / "crop" / "0.txt", SIZE, ("crop",))
    assert (tmp_path / "crop" / "classes.txt").read_text() == "crop\n"
    assert torch.allclose(crop.corners, every.corners[every.classes == 1])
    assert set(crop.classes.tolist()) <= {0}


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (("--network", "fcos_resnet5O_fpn", "--weights", "x.pth"), 2, "did you mean 'fcos_resnet50_fpn'"),
        (("--network", "ssdlite320_mobilenet_v3_large", "--weights", "gone.pth"), 4, "gone.pth"),
        (("--network", "lraspp_mobilenet_v3_large", "--weights", "ssd.pth"), 4, "do not fit torchvision's lraspp"),
        (("--weights", "ssd.pth"), 2, "name torchvision's with --network"),
        (
            (*SSD, "--keep", "cow,person,carr"),
            2,
            "'car'",
        ),
        (
            (*SSD, "--format", "mask"),
            2,
            "--format mask",
        ),
        ((*SSD, "--on", "c"), 2, "--on c"),
        ((*SSD, "-m", "average"), 2, "--on fused"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    pairs: Path, ssd: Any, monkeypatch: pytest.MonkeyPatch, given: Any, code: int, says: str
) -> None:
    monkeypatch.chdir(ssd[0].parent)
    result = _run(pairs, "--task", "ivif", *given)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(path.name for path in pairs.iterdir()) == ["ir", "vi"]


def test_labels_that_are_there_stay(pairs: Path, tmp_path: Path) -> None:
    weights = tmp_path / "downstream.safetensors"
    _own("segmentation", weights, SIZE, backbone="edgenext_xx_small")
    (pairs / "label").mkdir()
    (pairs / "label" / "1.png").write_bytes(b"mine")
    result = _run(pairs, "--task", "ivif", "--weights", weights)
    assert result.exit_code == 4
    assert "1.png: is there already" in result.stderr
    assert [path.name for path in (pairs / "label").iterdir()] == ["1.png"]


def test_torchvision_without_its_operators_is_said(pairs: Path, ssd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise RuntimeError("Couldn't load custom C++ ops. This can happen if your versions are incompatible")

    from torchvision.ops import boxes

    monkeypatch.setattr(boxes, "nms", missing)
    labeller = load_labeller(ssd[0], network="ssdlite320_mobilenet_v3_large")
    with pytest.raises(fusionkit.errors.UsageError, match="compiled operators do not load"):
        labeller.boxes(torch.rand(1, 3, 64, 64))
    assert isinstance(Boxes, type)
