"""TDFusion from the command line: a run's folder, what is kept beside the fuser, pictures, what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

import fusionkit
from fusionkit.cli import main
from fusionkit.contracts import Downstream
from fusionkit.errors import DataError
from fusionkit.models.weights import load_outer_loss
from fusionkit.train.checkpoints import load_checkpoint

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import tdfusion_weights

TINY = [
    "trainer.epochs=2", "trainer.warmup=0", "trainer.meta_steps=1", "trainer.fusion_steps=2", "trainer.batch=2",
    "trainer.crop=16", "fuser.dim=4", "fuser.heads=2", "fuser.blocks=1", "proposer.dim=4", "proposer.heads=2",
    "trainer.lr_schedule=none", "size=[32, 40]",
    "network.backbone=test_convnext", "network.channels=8", "network.convs=1",
]  # fmt: skip


def _train(out: Path, *more: str) -> Result:
    options = [word for assignment in TINY for word in ("--set", assignment)]
    arguments = ["train", "tdfusion", "--task", "ivif", "--downstream", "detection", "--device", "cpu", "--quiet"]
    return CliRunner().invoke(main, [*arguments, "--out", str(out), *options, *more])


@pytest.fixture(scope="module")
def run(no_pictures: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("task") / "run"
    done = _train(out)
    assert done.exit_code == 0, done.output
    return out


def test_a_run_on_the_labelled_sample_keeps_t_with_the_names_of_its_classes(run: Path) -> None:
    outer_loss = load_outer_loss(run / "downstream.safetensors")
    assert isinstance(outer_loss, Downstream)
    assert (outer_loss.kind, outer_loss.classes) == ("detection", ("person", "car"))
    checkpoint = load_checkpoint(run)
    assert checkpoint is not None
    state = checkpoint.state
    for name, value in outer_loss.state_dict().items():
        assert torch.equal(value, state[f"outer_loss.{name}"])


def test_the_record_says_what_it_was_trained_for(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    assert record["given"]["downstream"] == "detection"
    assert 'downstream = "detection"' in (run / "config.toml").read_text()
    fused = fusionkit.load(run, device="cpu").fuse(torch.rand(1, 1, 9, 8), torch.rand(1, 1, 9, 8))
    assert fused.tensor.shape == (1, 1, 9, 8)


def _forget_options(run: Path) -> None:
    """Turn the last checkpoint into one of an earlier version, which names no options and has no digest."""
    latest = json.loads((run / "checkpoints/latest.json").read_text())
    file = run / "checkpoints" / latest["file"]
    save_file(load_file(file), file)
    del latest["sha256"]
    (run / "checkpoints/latest.json").write_text(json.dumps(latest))


def test_resumed_from_the_middle_it_ends_with_the_same_weights(run: Path, tmp_path: Path) -> None:
    kept = sorted((run / "checkpoints").glob("step-*.safetensors"))[-1]
    whole = load_file(kept)
    part = tmp_path / "part"
    assert _train(part, "--set", "trainer.epochs=1").exit_code == 0
    # An interrupted run is one whose folder holds a checkpoint and no model yet.
    (part / "config.toml").write_text((run / "config.toml").read_text())
    (part / "model.safetensors").unlink()
    _forget_options(part)
    done = CliRunner().invoke(main, ["train", "--resume", str(part), "--quiet"])
    assert done.exit_code == 0, done.output
    ended = load_file(sorted((part / "checkpoints").glob("step-*.safetensors"))[-1])
    assert ended.keys() == whole.keys()
    assert all(torch.equal(ended[name], value) for name, value in whole.items())


def test_the_weights_of_several_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.png"
    tdfusion_weights.main([str(run), str(run), "--data", "sample", "--count", "2", "--out", str(out)])
    picture = cv2.imread(str(out), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    label, margin = tdfusion_weights.LABEL, tdfusion_weights.MARGIN
    assert picture.shape[0] % 2 == picture.shape[1] % 6 == 0
    height, column = picture.shape[0] // 2 - label, picture.shape[1] // 6
    width = column - margin
    assert width == tdfusion_weights.WIDTH
    shown = [picture[label : label + height, k * column : k * column + width] for k in range(6)]
    assert (shown[2] == shown[4]).all()
    assert (shown[3] == shown[5]).all()
    assert not (shown[0] == shown[1]).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["refusion", "--task", "ivif", "--downstream", "detection"], "refusion is not trained for a downstream task"),
        (["tdfusion", "--task", "ivif", "--downstream", "detektion"], "unknown outer loss 'detektion': did you mean"),
        (
            ["--resume", "somewhere", "--downstream", "detection"],
            "--resume takes --downstream from the run",
        ),
    ],
)
def test_what_cannot_be_trained_is_one_line(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(main, ["train", *arguments, "--quiet"])
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.strip().splitlines()) == 1


def test_a_file_of_no_outer_loss_is_refused_by_name(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not say which outer loss"):
        load_outer_loss(run / "model.safetensors")
    (tmp_path / "text.safetensors").write_text("nothing")
    with pytest.raises(DataError, match=r"text\.safetensors: cannot be read"):
        load_outer_loss(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "bare.safetensors")
    with pytest.raises(DataError, match="does not say which outer loss"):
        load_outer_loss(tmp_path / "bare.safetensors")


def test_the_network_of_an_older_version_is_refused_in_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    """``segmentation`` of fusionkit f83a2fb was a SegFormer of the transformers library."""
    config = {"widths": [32, 64, 160, 256], "depths": [2, 2, 2, 2], "heads": [1, 2, 5, 8], "decoder": 256}
    facts = {"format": 1, "critic": "segmentation", "config": config, "kind": "segmentation", "classes": ["a", "b"]}
    path = tmp_path / "downstream.safetensors"
    save_file({"network.decode_head.classifier.bias": torch.zeros(2)}, path, {"fusionkit-companion": json.dumps(facts)})
    with pytest.raises(
        DataError, match=r"of another version of its plugin .* no option any more.*: train it again$"
    ) as caught:
        load_outer_loss(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_other_networks_is_one_line_that_says_what_to_do(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    (other / "model.safetensors").unlink()
    config = (other / "config.toml").read_text()
    assert "channels = 8" in config
    (other / "config.toml").write_text(config.replace("channels = 8", "channels = 16"))
    _forget_options(other)
    done = CliRunner().invoke(main, ["train", "--resume", str(other), "--quiet"])
    assert done.exit_code == DataError.exit_code
    assert "the checkpoint does not fit the networks of this version" in done.output
    assert done.output.strip().endswith("start the run afresh")
    assert len(done.output.strip().splitlines()) == 1
