"""Exported models, their cards, and fusing with the one that ships for a task."""

from __future__ import annotations

import json
import statistics
import warnings
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

import fusionkit
from fusionkit.bench.benchmark import BenchRequest, run_bench
from fusionkit.bench.model_package import NO_RECORD, package_model
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.record_files import read_records
from fusionkit.cli import main
from fusionkit.data.pair_finding import find_pairs
from fusionkit.errors import DataError, FusionNote, UsageError
from fusionkit.fuse.model import load
from fusionkit.io.digest import file_digest
from fusionkit.io.images import read_image
from fusionkit.models.card import as_markdown, card_path, read_card
from fusionkit.models.listing import default_fuser, find_model, list_models
from fusionkit.models.roles import controls
from fusionkit.models.shipped import shipped_models
from fusionkit.models.weights import read_info, save_fuser
from fusionkit.plugins import catalogue
from fusionkit.runtime.python310 import tomllib
from fusionkit.train.run import TrainRequest, start
from fusionkit.train.run_folder import RunFolder
from tests.support.shippedtoys import shipping

TINY = {
    "trainer": {
        "epochs": 2,
        "warmup": 0,
        "meta_steps": 1,
        "fusion_steps": 2,
        "crop": 16,
        "batch": 2,
        "freeze_fraction": 0.0,
        "lr_proposer": None,
    },
    "proposer": {"dim": 4, "heads": 2, "blocks": 1},
    "reconstructor": {"dim": 4, "heads": 2, "blocks": 1},
}
METRICS = ("EN", "SCD")


@pytest.fixture(scope="module")
def run(no_pictures: None, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    request = TrainRequest(method="refusion", task="mif", options=TINY, device="cpu", seed=3)
    return start(request, tmp_path_factory.mktemp("models") / "run")


@pytest.fixture(scope="module")
def bench(run: RunFolder) -> Path:
    out = run.path.parent / "bench"
    fusers = (f"mine={run.path}", "average", "copy-a")
    scorer = QualityScorer(metrics=METRICS)
    request = BenchRequest(tasks=("mif",), fusers=fusers, scorer=scorer, device="cpu", limit=2)
    run_bench(request, out, say=lambda _: None)
    return out


@pytest.fixture(scope="module")
def shipped(run: RunFolder, bench: Path) -> Path:
    package_model(run.path, run.path.parent / "shipped", bench=[bench])
    return run.path.parent / "shipped"


@pytest.fixture
def installed(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if a plugin with the exported model were installed, in place of the shipped fuser."""
    monkeypatch.setitem(catalogue.fusers._loaded, catalogue.fusers.entry("refusion"), shipping(shipped))
    return shipped


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_packaged_file_holds_the_weights_of_the_run_and_nothing_else(run: RunFolder, shipped: Path) -> None:
    before, after = load_file(run.model), load_file(shipped / "mif.safetensors")
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sum(value.numel() for value in after.values()) == 59_856
    assert (shipped / "mif.safetensors").stat().st_size < 4 * 59_856 + 16_000


def test_a_packaged_file_names_no_folder_of_the_machine_it_was_trained_on(run: RunFolder, shipped: Path) -> None:
    weights = shipped / "mif.safetensors"
    pairs = find_pairs("sample", catalogue.tasks.get("mif"), split="train")
    assert read_info(weights).training["data"] == ", ".join(f"{name} {n}" for name, n in pairs.datasets.items())
    for text in (card_path(weights).read_text(), json.dumps(read_info(weights).training)):
        assert str(run.path.parent) not in text


def test_a_card_says_what_the_run_and_the_bench_recorded(run: RunFolder, bench: Path, shipped: Path) -> None:
    weights = shipped / "mif.safetensors"
    card = read_card(weights)
    assert card is not None
    assert (card.weights_sha256, card.run_sha256) == (file_digest(weights), file_digest(run.model))
    assert (card.fuser, card.task, card.parameters) == ("refusion", "mif", 59_856)
    assert (card.training.steps, card.training.seed, card.training.preset) == (6, 3, run.record.preset)
    assert card.training.given["trainer"] == {k: v for k, v in TINY["trainer"].items() if v is not None}
    assert card.training.fingerprint == run.record.fingerprint
    assert card.training.machine == run.record.environment["processor"]
    last = list(run.metrics())[-1]
    assert card.training.seconds == pytest.approx(6 * last["seconds_per_step"], abs=0.1)
    assert card.pairs == run.record.pairs
    records = {(record.dataset, record.method.name): record for record in read_records(bench)}
    assert {(s.dataset, s.method) for s in card.scores} == set(records)
    for scores in card.scores:
        record = records[scores.dataset, scores.method]
        assert scores.this == (scores.method == "mine")
        assert (scores.images, scores.profile) == (len(record.images), "refusion")
        for metric in METRICS:
            values = [image.scores[metric] for image in record.images]
            if None in values:  # SCD of a copy is 0/0
                assert (scores.method, metric in scores.means) == ("copy-a", False)
            else:
                assert scores.means[metric] == pytest.approx(statistics.fmean(values), rel=1e-5)


def test_a_card_names_the_licence_that_each_data_set_record_states(tmp_path: Path) -> None:
    rows = ["task,dataset,split,name,file_a,file_b"]
    for k, pair in enumerate(list(find_pairs("sample", catalogue.tasks.get("ivif")))[:4]):
        dataset = "LLVIP" if k < 3 else "my own"
        rows.append(f"ivif,{dataset},train,p{k},{pair.files[0]},{pair.files[1]}")
    (tmp_path / "MANIFEST.csv").write_text("\n".join(rows) + "\n")
    request = TrainRequest(method="refusion", task="ivif", data=str(tmp_path), options=TINY, device="cpu")
    folder = start(request, tmp_path / "run")
    _, card = package_model(folder.path, tmp_path / "out")
    llvip = catalogue.datasets.get("LLVIP")
    assert {use.dataset: (use.pairs, use.licence) for use in card.data} == {
        "LLVIP": (3, llvip.licence),
        "my own": (1, NO_RECORD),
    }
    page = as_markdown(card)
    assert llvip.licence.rstrip(".") in page
    assert "Nothing was measured." in page
    # The pairs are moved: the card cannot be made without them, and not with others.
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "MANIFEST.csv").rename(moved / "MANIFEST.csv")
    with pytest.raises(DataError, match="--data"):
        package_model(folder.path, tmp_path / "again")
    assert package_model(folder.path, tmp_path / "again", data=str(moved))[1].data == card.data
    (moved / "MANIFEST.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(DataError, match="fingerprint"):
        package_model(folder.path, tmp_path / "third", data=str(moved))


def test_a_card_of_other_weights_is_refused(shipped: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mif.safetensors"
    fuser = load(shipped / "mif.safetensors", device="cpu").fuser
    card_path(weights).write_bytes(card_path(shipped / "mif.safetensors").read_bytes())
    save_fuser(weights, fuser, read_info(shipped / "mif.safetensors").__class__(fuser="refusion", task="mif"))
    with pytest.raises(DataError, match="other weights"):
        read_card(weights)


@pytest.mark.parametrize(
    ("change", "word"), [("format = 1", "format"), ("seed = 3", "seed"), ("[training]", "training")]
)
def test_a_damaged_card_is_named_with_the_field(shipped: Path, tmp_path: Path, change: str, word: str) -> None:
    weights = tmp_path / "mif.safetensors"
    weights.write_bytes((shipped / "mif.safetensors").read_bytes())
    text = card_path(shipped / "mif.safetensors").read_text()
    assert change in text
    broken = {"format = 1": "format = 2", "seed = 3": 'seed = "x"', "[training]": "[taining]"}[change]
    card_path(weights).write_text(text.replace(change, broken, 1))
    with pytest.raises(DataError, match=rf"mif\.toml.*{word}"):
        read_card(weights)


def test_packaging_replaces_nothing_unless_it_is_told_to(run: RunFolder, bench: Path, shipped: Path) -> None:
    done = invoke("models", "package", run.path, "--to", shipped)
    assert done.exit_code == 2
    assert "--force" in done.stderr
    before = card_path(shipped / "mif.safetensors").read_bytes()
    again = invoke("models", "package", run.path, "--to", shipped, "--bench", bench, "--force")
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines() == [str(shipped / "mif.safetensors"), str(shipped / "mif.toml")]
    assert card_path(shipped / "mif.safetensors").read_bytes() == before


def test_a_bench_of_the_packaged_file_counts_as_one_of_its_run(run: RunFolder, shipped: Path, tmp_path: Path) -> None:
    target = shipped / "mif.safetensors"
    fusers = (f"file={target}", "average")
    scorer = QualityScorer(metrics=("EN",))
    request = BenchRequest(tasks=("mif",), fusers=fusers, scorer=scorer, device="cpu", limit=1)
    run_bench(request, tmp_path / "bench", say=lambda _: None)
    with pytest.raises(DataError, match="no mif result"):
        package_model(run.path, tmp_path / "elsewhere", bench=[tmp_path / "bench"])
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in (target, card_path(target)):
        (copy / file.name).write_bytes(file.read_bytes())
    _, card = package_model(run.path, copy, bench=[tmp_path / "bench"], beside=["average"], force=True)
    assert [s.method for s in card.scores if s.this]
    assert {s.method for s in card.scores} == {"file", "average"}
    with pytest.raises(UsageError, match="did you mean 'average'"):
        package_model(run.path, copy, bench=[tmp_path / "bench"], beside=["avrage"], force=True)


def test_an_unfinished_run_is_not_packaged(run: RunFolder, tmp_path: Path) -> None:
    for name in ("run.json", "config.toml"):
        (tmp_path / name).write_bytes((run.path / name).read_bytes())
    done = invoke("models", "package", tmp_path, "--to", tmp_path / "out")
    assert done.exit_code == 4
    assert f"--resume {tmp_path}" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_task_alone_picks_the_model_that_ships_for_it(installed: Path, tmp_path: Path) -> None:
    pair = find_pairs("sample", catalogue.tasks.get("mif"), split="test")[0]
    sources = ["-a", pair.files[0], "-b", pair.files[1], "--device", "cpu"]
    done = invoke("fuse", "--task", "mif", *sources, "-o", tmp_path / "fused.png")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'fused.png'}\n"), done.output
    invoke("fuse", "-m", installed / "mif.safetensors", *sources, "-o", tmp_path / "other.png")
    same = (read_image(tmp_path / name).pixels for name in ("fused.png", "other.png"))
    assert (next(same) == next(same)).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], ("--task", "--model")),
        (["--task", "meif"], ("no installed fuser", "meif", "--model")),
        (["--task", "miff"], ("did you mean 'mif'",)),
    ],
)
def test_without_a_model_the_line_says_what_to_give(
    installed: Path, tmp_path: Path, given: list[str], words: tuple[str, ...]
) -> None:
    a, b = find_pairs("sample", catalogue.tasks.get("mif"), split="test")[0].files
    done = invoke("fuse", *given, "-a", a, "-b", b, "-o", tmp_path / "x.png")
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in words), done.stderr
    assert not (tmp_path / "x.png").exists()


def test_of_several_fusers_the_default_or_the_only_one_is_taken(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    monkeypatch.setitem(catalogue.fusers._loaded, catalogue.fusers.entry("refusion"), shipping(tmp_path))
    with pytest.raises(UsageError, match="no installed fuser"):
        default_fuser("mif")
    catalogue.fusers.register("other", shipping(shipped))
    assert default_fuser("mif") == "other"
    catalogue.fusers.register("third", shipping(shipped))
    with pytest.raises(UsageError, match="other, third"):
        default_fuser("mif")
    monkeypatch.setitem(catalogue.fusers._loaded, catalogue.fusers.entry("refusion"), shipping(shipped))
    assert default_fuser("mif") == "refusion"


def test_the_controls_of_a_downstream_benchmark_are_the_fusers_that_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    assert controls() == ("average", "copy-a", "copy-b")

    class Brightest(catalogue.fusers.get("maximum")):  # type: ignore[misc]
        control = True
        tasks = ("mif",)

    catalogue.fusers.register("brightest", Brightest)
    assert controls("mif") == ("average", "brightest", "copy-a", "copy-b")
    assert controls("ivif") == ("average", "copy-a", "copy-b")


def test_the_list_shows_shipped_models_and_their_cards(installed: Path) -> None:
    entries, problems = list_models()
    assert problems == []
    entry = next(entry for entry in entries if entry.file is not None)
    assert (entry.name, entry.usable) == ("refusion:mif@v1", True)
    assert entry.card == read_card(installed / "mif.safetensors")
    assert "6 steps" in entry.trained
    listed = {row["name"]: row for row in json.loads(invoke("models", "--json").stdout)}
    assert listed["refusion:mif@v1"]["card"]["weights_sha256"] == file_digest(installed / "mif.safetensors")
    assert listed["laplacian"]["card"] is None
    assert "refusion:mif@v1" in invoke("models").stdout


def test_a_model_is_shown_by_its_card(installed: Path) -> None:
    shown = invoke("models", "show", "refusion:mif")
    assert shown.exit_code == 0
    for words in ("medical image fusion", "seed 3", "Licence:", "**mine** (this model)", "| average |", "`refusion`"):
        assert words in shown.stdout, words
    assert file_digest(installed / "mif.safetensors") in shown.stdout
    assert f"Fuses with range stretch `{fusionkit.load('refusion:mif').stretch}`" in shown.stdout
    assert json.loads(invoke("models", "show", "refusion:mif@v1", "--json").stdout)["training"]["seed"] == 3
    unknown = invoke("models", "show", "refusion:miff")
    assert (unknown.exit_code, "did you mean 'refusion:mif'" in unknown.stderr) == (2, True)
    old = invoke("models", "show", "refusion-mif")
    assert (old.exit_code, old.stdout) == (0, shown.stdout)
    assert old.stderr == "note: refusion-mif is now called refusion:mif\n"
    bare = invoke("models", "show", "laplacian")
    assert (bare.exit_code, "needs no training" in bare.stderr) == (2, True)


def test_one_damaged_card_does_not_hide_the_other_models(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mif.safetensors").write_bytes((shipped / "mif.safetensors").read_bytes())
    (tmp_path / "mif.toml").write_text("not = [toml")
    monkeypatch.setitem(catalogue.fusers._loaded, catalogue.fusers.entry("refusion"), shipping(tmp_path))
    entries, problems = list_models()
    assert [str(tmp_path / "mif.toml") in problem for problem in problems] == [True]
    entry = find_model("refusion:mif")
    assert (entry.card, entry.usable) == (None, True)
    assert len(entries) > 10
    done = invoke("models")
    assert done.exit_code == 3
    assert "laplacian" in done.stdout


def _really_shipped() -> list[tuple[str, str, Path]]:
    return [
        (name, f"{model.task}@{model.tag}", model.file)
        for name in catalogue.fusers.names()
        for model in shipped_models(catalogue.fusers.get(name))
    ]


@pytest.mark.parametrize(
    ("fuser", "tagged", "file"), _really_shipped(), ids=lambda value: str(value).rpartition("/")[2]
)
def test_every_shipped_model_has_a_card_with_data_and_scores_and_loads(fuser: str, tagged: str, file: Path) -> None:
    card = read_card(file)
    assert card is not None, "package it with: fusionkit models package"
    assert (card.fuser, f"{card.task}@{card.tag}") == (fuser, tagged)
    assert any(scores.this for scores in card.scores)
    assert {scores.method for scores in card.scores} > {"average"}
    assert tomllib.loads(card_path(file).read_text())["weights_sha256"] == file_digest(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FusionNote)  # one line says by what a superseded model is superseded
        model = load(f"{fuser}:{tagged}", device="cpu")
    assert torch.isfinite(model.fuse(*torch.rand(2, 1, 1, 24, 24)).tensor).all()
