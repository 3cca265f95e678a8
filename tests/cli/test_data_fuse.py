"""``fusionkit data fuse`` and ``fusionkit data labels`` as they are typed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fusionkit.cli import main


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    for name in ("1", "2"):
        for folder in ("ir", "vi", "label"):
            (tmp_path / "mine" / "train" / folder).mkdir(parents=True, exist_ok=True)
        for folder in ("ir", "vi"):
            Image.linear_gradient("L").resize((32, 24)).save(tmp_path / "mine" / "train" / folder / f"{name}.png")
        (tmp_path / "mine" / "train" / "label" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "mine" / "classes.txt").write_text("person\n")
    return tmp_path / "mine"


def test_the_folder_is_printed_and_the_notes_say_what_was_made(mine: Path, tmp_path: Path) -> None:
    done = _run("data", "fuse", mine, "--task", "ivif", "-m", "average", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out")
    assert "2 images (2 train), 2 boxes" in done.stderr
    assert "no split 'val', which data.yaml needs: it names train there" in done.stderr


def test_a_share_says_that_others_are_missing(mine: Path, tmp_path: Path) -> None:
    options = ("--task", "ivif", "--stack", "-o", tmp_path / "out", "--shard")
    first = _run("data", "fuse", mine, *options, "1/2")
    assert (first.exit_code, "share 1/2 is done; other shares are missing" in first.stderr) == (0, True)
    assert "2 images" in _run("data", "fuse", mine, *options, "2/2").stderr


def test_coco_labels_come_in(mine: Path, tmp_path: Path) -> None:
    coco = {
        "images": [{"id": k, "file_name": f"{k}.png", "height": 24, "width": 32} for k in (1, 2)],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [4, 6, 8, 12]}],
        "categories": [{"id": 1, "name": "car"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    shutil.rmtree(mine / "train" / "label")
    (mine / "classes.txt").unlink()
    done = _run("data", "labels", tmp_path / "instances.json", "-o", mine / "train" / "label")
    assert (done.exit_code, "1 box of 2 images" in done.stderr) == (0, True)
    done = _run("data", "fuse", mine, "--task", "ivif", "-m", "average", "--format", "coco", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    made = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())
    assert [annotation["bbox"] for annotation in made["annotations"]] == [[4, 6, 8, 12]]
    assert made["categories"] == coco["categories"]


@pytest.mark.parametrize(
    ("options", "code", "what"),
    [
        (("--shard", "3/2"), 2, "--shard 3/2: write I/N"),
        (("--stack", "-m", "average"), 2, "leave --model out"),
        (("--label-folder", "nowhere"), 4, "no sub-folder with boxes .* nowhere expected"),
        (("--labels", "segmentation", "-m", "average"), 4, "no sub-folder with masks"),
        (("-m", "average", "--format", "mask"), 2, "--format mask: does not hold detection labels"),
    ],
)
def test_each_mistake_is_one_line(mine: Path, tmp_path: Path, options: tuple[str, ...], code: int, what: str) -> None:
    done = _run("data", "fuse", mine, "--task", "ivif", "-o", tmp_path / "out", *options)
    assert done.exit_code == code, done.output
    assert len(done.output.strip().splitlines()) == 1
    assert re.search(what, done.output)
    assert not (tmp_path / "out").exists()


def test_faults_of_labels_are_named_before_any_work(mine: Path, tmp_path: Path) -> None:
    (mine / "train" / "label" / "1.txt").write_text("0 0.9 0.5 0.5 0.5\n")
    (mine / "train" / "label" / "2.txt").write_text("7 0.5 0.5 0.5 0.5\n")
    done = _run("data", "fuse", mine, "--task", "ivif", "-m", "average", "-o", tmp_path / "out")
    assert done.exit_code == 4
    assert "is outside the image" in done.output
    assert "unknown class id 7" in done.output
    (mine / "train" / "label" / "1.txt").unlink()
    assert "no label for" in _run("data", "fuse", mine, "--task", "ivif", "-m", "average", "-o", tmp_path / "o").output
    assert not (tmp_path / "out").exists()
