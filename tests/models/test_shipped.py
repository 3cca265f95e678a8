"""Several models of one task side by side: tags, the current one, superseded ones, and every way to name them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import PIL.Image
import pytest
import tomli_w
import torch
from click.testing import CliRunner, Result

from fusionkit.bench.methods import FuserSpec, FusionSettings, load_methods, parse_fuser, usable
from fusionkit.cli import main
from fusionkit.contracts import Capabilities, ShippedModel
from fusionkit.errors import FusionNote, PluginError, UsageError
from fusionkit.fuse.model import load
from fusionkit.models.listing import list_models, select_models
from fusionkit.models.shipped import check_tag, current_model, model_file, models_in, shipped_models
from fusionkit.models.weights import WeightsInfo, save_fuser
from fusionkit.plugins import catalogue
from tests.support.toyfusers import ToyMean, ToyOptions, ToyTrained

SHARES = {"ivif": 0.1, "ivif@v2": 0.2, "ivif@segmentation": 0.3, "mif": 0.4}


class Shipping(ToyTrained):
    """Ships what lies in a folder."""

    folder: ClassVar[Path]

    @classmethod
    def pretrained(cls) -> Sequence[ShippedModel]:
        return models_in(cls.folder)


def save(folder: Path, name: str, *, supersedes: Sequence[str] = ()) -> Path:
    task = name.partition("@")[0]
    file = folder / f"{name}.safetensors"
    save_fuser(file, ToyTrained(ToyOptions(start=SHARES.get(name, 0.5))), WeightsInfo(fuser="toy", task=task))
    if supersedes:
        file.with_suffix(".toml").write_text(tomli_w.dumps({"supersedes": list(supersedes)}))
    return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registered fuser with four models: of ivif two that are current, one of which supersedes the first."""
    place = tmp_path / "models"
    place.mkdir()
    for name in SHARES:
        save(place, name, supersedes=["v1"] if name == "ivif@v2" else [])
    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    monkeypatch.setattr(Shipping, "folder", place, raising=False)
    catalogue.fusers.register("toy", Shipping)
    monkeypatch.chdir(tmp_path)
    return place


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_folder_is_read_by_the_rule_of_its_file_names(folder: Path) -> None:
    found = {(m.task, m.tag): (m.file.name, m.superseded_by) for m in models_in(folder)}
    assert found == {
        ("ivif", "v1"): ("ivif.safetensors", "v2"),
        ("ivif", "v2"): ("ivif@v2.safetensors", ""),
        ("ivif", "segmentation"): ("ivif@segmentation.safetensors", ""),
        ("mif", "v1"): ("mif.safetensors", ""),
    }
    assert all(model_file(folder, task, tag).name == name for (task, tag), (name, _) in found.items())
    assert models_in(folder / "nowhere") == ()


@pytest.mark.parametrize(
    ("name", "share"),
    [("toy:ivif", 0.2), ("toy:ivif@v1", 0.1), ("toy:ivif@v2", 0.2), ("toy:ivif@segmentation", 0.3), ("toy:mif", 0.4)],
)
def test_every_model_loads_by_its_name_and_without_a_tag_the_current_one(folder: Path, name: str, share: float) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FusionNote)
        model = load(name, device="cpu")
    assert model.fuser.share.item() == pytest.approx(share)
    assert (model.name, model.task) == (name, name.partition(":")[2].partition("@")[0])
    assert model.describe()["tag"] == model.tag


def test_a_task_alone_loads_the_current_model(folder: Path) -> None:
    assert load("toy", "ivif", device="cpu").tag == "v2"
    assert load("toy:ivif", "ivif", device="cpu").tag == "v2"


def test_a_superseded_model_says_by_what(folder: Path) -> None:
    with pytest.warns(FusionNote) as noted:
        load("toy:ivif@v1", device="cpu")
    assert [str(note.message) for note in noted] == ["toy:ivif@v1 is superseded by toy:ivif@v2"]


@pytest.mark.parametrize(
    ("name", "task", "words"),
    [
        ("toy:ivif@v3", None, "toy:ivif has no tag 'v3': did you mean 'v"),
        ("toy:ivff", None, "toy ships no model for 'ivff': did you mean 'ivif'"),
        ("toy:ivif@v2", "mif", "toy:ivif@v2 is for task ivif, not mif"),
        ("toy", None, "toy has weights for several tasks: say which with task (ivif, mif)"),
    ],
)
def test_names_of_no_model_are_refused(folder: Path, name: str, task: str | None, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(name, task, device="cpu")
    assert words in str(caught.value)


def test_a_plain_mapping_of_tasks_to_files_still_works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"ivif": folder / "ivif.safetensors", "mif": folder / "mif.safetensors"}

    class Older(Shipping):
        @classmethod
        def pretrained(cls) -> Mapping[str, Path]:
            return files

    assert shipped_models(Older) == tuple(ShippedModel(task=task, file=file) for task, file in files.items())
    catalogue.fusers.register("older", Older)
    assert load("older", "mif", device="cpu").tag == "v1"
    assert load("older:ivif@v1", device="cpu").fuser.share.item() == pytest.approx(0.1)


def test_a_chain_of_successors_is_followed_to_its_end_and_a_circle_ends() -> None:
    def chain(**successors: str) -> list[ShippedModel]:
        return [ShippedModel(task="mif", file=Path(tag), tag=tag, superseded_by=by) for tag, by in successors.items()]

    def current(models: Sequence[ShippedModel]) -> str:
        found = current_model(models, "mif")
        assert found is not None
        return found.tag

    assert current(chain(v1="v2", v2="v3", v3="")) == "v3"
    assert current(chain(v1="gone")) == "v1"
    assert current(chain(v1="v2", v2="v1")) in ("v1", "v2")
    assert current_model(chain(v1=""), "ivif") is None


def test_a_bench_of_every_fuser_leaves_out_what_the_device_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class OnCuda(ToyMean):
        capabilities = Capabilities(needs_cuda=True)

    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    catalogue.fusers.register("on-cuda", OnCuda)
    found, problems = usable("mif", device=torch.device("cpu"))
    assert "on-cuda" not in {spec.name for spec in found}
    assert problems == [
        "on-cuda is left out: on-cuda needs a CUDA device and cannot run on cpu: use --device cuda where there is one"
    ]
    assert "on-cuda" in {spec.name for spec in usable("mif", device=torch.device("cuda"))[0]}


def test_two_models_of_one_tag_are_refused() -> None:
    class Twice(ToyMean):
        @classmethod
        def pretrained(cls) -> Sequence[ShippedModel]:
            return [ShippedModel(task="mif", file=Path(name)) for name in "ab"]

    with pytest.raises(PluginError, match="Twice ships two models mif@v1"):
        shipped_models(Twice)


@pytest.mark.parametrize("tag", ["", "V2", "v 2", "a@b", "a/b", "-x", ".x"])
def test_impossible_tags_are_refused(tag: str) -> None:
    with pytest.raises(UsageError, match="tag"):
        check_tag(tag)


def test_the_list_shows_tags_and_takes_patterns(folder: Path) -> None:
    rows = {row["name"]: row for row in json.loads(invoke("models", "toy", "--json").stdout)}
    assert set(rows) == {"toy:ivif@v1", "toy:ivif@v2", "toy:ivif@segmentation", "toy:mif@v1"}
    assert [name for name, row in rows.items() if row["current"]] == ["toy:ivif@v2", "toy:mif@v1"]
    assert (rows["toy:ivif@v1"]["tag"], rows["toy:ivif@v1"]["superseded_by"]) == ("v1", "v2")
    assert rows["toy:mif@v1"]["capabilities"]["max_sources"] == 2
    shown = invoke("models", "list", "*ivif@v[12]").stdout
    assert "v1 (superseded by v2)" in shown
    assert "v2 (current)" in shown
    assert "segmentation" not in shown
    unknown = invoke("models", "tay:*")
    assert (unknown.exit_code, unknown.stderr.count("\n")) == (2, 1)
    assert "no model matches 'tay:*'" in unknown.stderr
    entries = list_models()[0]
    assert [e.name for e in select_models(entries, ["toy:mif"])] == ["toy:mif@v1"]
    assert select_models(entries, []) == entries


def test_fuse_takes_a_tag_and_prints_one_line_of_a_superseded_one(folder: Path) -> None:
    for name, value in (("a", 0), ("b", 200)):
        PIL.Image.fromarray(np.full((6, 6), value, np.uint8)).save(f"{name}.png")
    done = invoke("fuse", "-m", "toy:ivif@v1", "-a", "a.png", "-b", "b.png", "-o", "out.png", "--device", "cpu")
    assert (done.exit_code, done.stderr) == (0, "note: toy:ivif@v1 is superseded by toy:ivif@v2\n"), done.output
    assert np.asarray(PIL.Image.open("out.png")).flat[0] == 180
    done = invoke("fuse", "-m", "toy:ivif", "-a", "a.png", "-b", "b.png", "-o", "new.png", "--device", "cpu")
    assert (done.exit_code, done.stderr) == (0, "")
    assert np.asarray(PIL.Image.open("new.png")).flat[0] == 160


def test_a_bench_takes_tags_beside_each_other(folder: Path) -> None:
    specs = [parse_fuser("toy:ivif@segmentation"), parse_fuser("new=toy:ivif@v2"), parse_fuser("toy")]
    assert [spec.name for spec in specs] == ["toy:ivif@segmentation", "new", "toy"]
    assert [spec.tasks() for spec in specs] == [("ivif",), ("ivif",), ("ivif", "mif")]
    with pytest.warns(FusionNote, match=r"ivif@v2\.toml: is no model card .* training data is taken as not known"):
        methods = load_methods(specs, "ivif", torch.device("cpu"), FusionSettings())
    assert [method.model.tag for method in methods if method.model] == ["segmentation", "v2", "v2"]
    assert [method.about.trained_on for method in methods] == [None] * 3
    (folder.parent / "ivif").mkdir()  # a folder of data that is called like the task
    assert parse_fuser("toy:ivif") == FuserSpec("toy:ivif", "toy:ivif")
    file = folder.parent / "x.safetensors"
    file.write_bytes((folder / "mif.safetensors").read_bytes())
    assert parse_fuser("toy:x.safetensors").fuser == "toy"
