"""Trainings that begin from trained weights, and runs that are extended: the weights, and what is recorded of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from fusionkit.bench.model_package import package_model
from fusionkit.cli import main
from fusionkit.config import merged
from fusionkit.errors import DataError, UsageError
from fusionkit.io.digest import file_digest
from fusionkit.models.card import as_markdown
from fusionkit.models.weights import load_fuser, read_info
from fusionkit.train.bilevel import BilevelOptions
from fusionkit.train.bilevel.schedule import Schedule
from fusionkit.train.checkpoints import load_checkpoint
from fusionkit.train.run import TrainRequest, resume, start
from fusionkit.train.run_folder import RunFolder
from tests.support.child_processes import Child
from tests.support.small_pairs import write_noise_pairs

pytestmark = pytest.mark.usefixtures("no_pictures")
SMALL = {"dim": 4, "heads": 2, "blocks": 1}
OPTIONS: dict[str, Any] = {
    "trainer": {"epochs": 2, "meta_steps": 1, "fusion_steps": 2, "batch": 1, "crop": 16, "lr": 1e-3},
    "fuser": SMALL,
    "proposer": SMALL,
    "reconstructor": SMALL,
}
AS_ONE = {"lr_schedule": "none", "freeze_fraction": 0.0, "ema_decay": 0.5}
"""Options under which more epochs are the epochs of a longer training."""


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_noise_pairs(tmp_path_factory.mktemp("lineage") / "pairs", 3)


def train(pairs: Path, out: Path, changes: Mapping[str, Any] | None = None, **request: Any) -> RunFolder:
    options = merged(OPTIONS, {"trainer": changes or {}})
    asked = TrainRequest(
        method="refusion", task="ivif", data=str(pairs), preset="quick", options=options, device="cpu", **request
    )
    return start(asked, out, log_every=1)


@pytest.fixture(scope="module")
def parent(no_pictures: None, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(pairs, tmp_path_factory.mktemp("parent") / "run", {"lr": 1e-2})


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return dict(load_fuser(folder.model)[0].state_dict())


def equal(one: RunFolder, other: RunFolder) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_an_extended_run_has_the_weights_of_one_that_was_longer_from_the_beginning(pairs: Path, tmp_path: Path) -> None:
    longer = train(pairs, tmp_path / "longer", {**AS_ONE, "epochs": 5})
    run = train(pairs, tmp_path / "run", AS_ONE)
    short = weights(run)
    for more in (1, 2):
        resume(run.path, extend=more)
    assert equal(run, longer)
    assert not all(torch.equal(short[name], value) for name, value in weights(run).items())
    assert [extension.step for extension in run.record.extensions] == [6, 9]
    assert load_checkpoint(run.path).step == load_checkpoint(longer.path).step == 15  # type: ignore[union-attr]


KILLED = """
import os, sys, torch
from pathlib import Path
from fusionkit.train import run
torch.set_num_threads(1)
run.draw_run = run.save_snapshot = lambda *_: None
def report(done, total, losses):
    if done == 10:
        os.kill(os.getpid(), 9)
run.resume(Path(sys.argv[1]), extend=3, report=report, log_every=1, checkpoint_seconds=0)
"""


def test_an_extension_that_is_killed_goes_on_to_the_same_weights_and_keeps_those_it_had(
    pairs: Path, tmp_path: Path
) -> None:
    at_once = train(pairs, tmp_path / "at_once", {"extensions": (3,)})
    run = train(pairs, tmp_path / "run")
    earlier, steps = run.model.read_bytes(), read_info(run.model).training["steps"]
    killed = Child("-c", KILLED, run.path)
    _, stderr = killed.communicate(120)
    assert killed.returncode == -9, stderr
    assert run.model.read_bytes() == earlier, "the folder fuses as before until the extension is done"
    assert not run.is_finished
    with pytest.raises(UsageError, match="is not finished: go on with it by --resume alone"):
        resume(run.path, extend=3)
    with pytest.raises(DataError, match="is not finished"):
        package_model(run.path, tmp_path / "packaged")
    resume(run.path, log_every=1)
    assert equal(run, at_once)
    assert (run.path / f"model-step-{steps:08d}.safetensors").read_bytes() == earlier
    (extension,) = run.record.extensions
    assert (extension.epochs, extension.step) == (3, steps)
    assert extension.sha256 == file_digest(run.path / f"model-step-{steps:08d}.safetensors")
    described = read_info(run.model).training
    assert described["extensions"] == [{"epochs": 3, "step": steps, "sha256": extension.sha256}]
    assert described["steps"] == steps + 6, "P and R stay frozen: F alone takes its two steps an epoch"
    # The event of the kill, and that of going on.
    assert [event["step"] for event in run.events()] == [steps, 9]


def _edit_rate(run: Path) -> None:
    options = (run / "config.toml").read_text()
    (run / "config.toml").write_text(options.replace("lr = 0.001", "lr = 0.1"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda run: shutil.rmtree(run / "checkpoints"), "no checkpoint of its last step to go on from.*trainer.init="),
        (lambda run: (run / "model.safetensors").unlink(), "is not finished"),
        (_edit_rate, "trainer.lr"),
    ],
)
def test_a_run_that_cannot_be_extended_is_left_as_it_is(
    parent: RunFolder, tmp_path: Path, damage: Any, words: str, pairs: Path
) -> None:
    run = train(pairs, tmp_path / "run").path
    damage(run)
    before = (run / "run.json").read_bytes()
    result = command("train", "--resume", run, "--extend", 2, "--quiet")
    assert result.exit_code in (2, 4)
    assert len(result.stderr.splitlines()) == 1
    assert re.search(words, result.stderr)
    assert (run / "run.json").read_bytes() == before


def test_extensions_that_were_edited_are_refused(pairs: Path, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, _total: int, _losses: object) -> None:
        if done == 9:
            raise Stop

    run = train(pairs, tmp_path / "run")
    with pytest.raises(Stop):
        resume(run.path, extend=3, report=stop, log_every=1, checkpoint_seconds=0)
    record = json.loads((run.path / "run.json").read_text())
    for change in ({"epochs": 2}, {"step": 4}, {"sha256": "0" * 64}, None):
        edited = {**record, "extensions": [{**record["extensions"][0], **change}] if change else []}
        (run.path / "run.json").write_text(json.dumps(edited))
        if change is None:  # the run as it was before, whose checkpoint knows more
            run.model.unlink()
        with pytest.raises(DataError, match="its record says extensions"):
            resume(run.path)


def test_extend_needs_a_run_and_a_trainer_that_can() -> None:
    result = command("train", "refusion", "--task", "ivif", "--extend", 2)
    assert (result.exit_code, result.stderr) == (
        2,
        "error: --extend goes on with a finished run: name it by --resume RUN\n",
    )


@pytest.mark.parametrize("options", [{}, {"freeze_fraction": 0.5}, {"warmup": 1}, {"meta_steps": 0}])
@pytest.mark.parametrize("schedule", ["none", "step", "cosine"])
def test_extensions_take_more_steps_of_the_last_kind(options: dict[str, Any], schedule: Any) -> None:
    values = {"epochs": 4, "meta_steps": 2, "fusion_steps": 3, "lr_schedule": schedule, "lr_step_epochs": 2, **options}
    counts = {"meta_steps": values["meta_steps"], "fusion_steps": 3}
    first = Schedule(BilevelOptions(**values), **counts)
    whole = Schedule(BilevelOptions(**values, extensions=(2, 1)), **counts)
    assert [whole.locate(k) for k in range(first.steps)] == [first.locate(k) for k in range(first.steps)]
    assert [whole.rates(k) for k in range(first.steps)] == [first.rates(k) for k in range(first.steps)]
    meta = 0 if "freeze_fraction" in options else values["meta_steps"]
    places = [(epoch, k - meta) for epoch in (4, 5, 6) for k in range(meta + 3)]
    assert [whole.locate(k) for k in range(first.steps, whole.steps)] == places
    fusion = "frozen" if "freeze_fraction" in options else "fusion"
    kinds = ["one_step"] * meta + [fusion] * 3
    assert [whole.kind(k) for k in range(first.steps, whole.steps)] == kinds * 3
    rates = [whole.rates(k)[0] for k in range(first.steps, whole.steps)]
    one = meta + 3
    if schedule == "cosine":
        falls = [*np.linspace(0, np.pi, 2 * one, endpoint=False), *np.linspace(0, np.pi, one, endpoint=False)]
        assert rates == pytest.approx([0.505 + 0.495 * np.cos(angle) for angle in falls])
    else:
        expected = {"none": [1, 1, 1], "step": [0.01, 0.01, 0.001]}[schedule]
        assert rates == pytest.approx([rate for rate in expected for _ in range(one)])


def test_a_training_begins_from_the_weights_it_names_and_says_so(
    pairs: Path, parent: RunFolder, tmp_path: Path
) -> None:
    child = train(pairs, tmp_path / "child", {"init": str(parent.path), "lr": 1e-9}, seed=5)
    near, far = weights(parent), weights(train(pairs, tmp_path / "far", {"lr": 1e-9}, seed=5))
    for name, value in weights(child).items():
        torch.testing.assert_close(value, near[name], rtol=0, atol=1e-5)
    assert max(float((value - near[name]).abs().max()) for name, value in far.items()) > 1e-2
    (ancestor,) = child.record.lineage
    assert (ancestor.model, ancestor.sha256) == (str(parent.model), file_digest(parent.model))
    assert (ancestor.training["seed"], ancestor.training["fingerprint"]) == (0, parent.record.fingerprint)

    again = train(pairs, tmp_path / "again", {"init": str(parent.model), "lr": 1e-9}, seed=5)
    assert equal(again, child)
    grandchild = train(pairs, tmp_path / "grandchild", {"init": str(child.path)})
    assert [each.sha256 for each in grandchild.record.lineage] == [file_digest(f.model) for f in (parent, child)]
    described = read_info(grandchild.model).training["lineage"]
    assert [each["sha256"] for each in described] == [each.sha256 for each in grandchild.record.lineage]
    resume(grandchild.path, extend=1)
    _, card = package_model(grandchild.path, tmp_path / "packaged")
    assert [origin.model for origin in card.training.lineage] == ["run/model.safetensors", "child/model.safetensors"]
    assert str(tmp_path).encode() not in (tmp_path / "packaged/ivif.safetensors").read_bytes()
    assert str(tmp_path) not in (tmp_path / "packaged/ivif.toml").read_text()
    page = as_markdown(card)
    assert "- Began from the weights of `child/model.safetensors`" in page
    assert "- Extended by 1 epoch after 5 steps" in page


def test_a_training_that_began_from_weights_is_resumed_without_them(
    pairs: Path, parent: RunFolder, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, _total: int, _losses: object) -> None:
        if done == stop_at:
            raise Stop

    source = Path(shutil.copytree(parent.path, tmp_path / "source"))
    whole = train(pairs, tmp_path / "whole", {"init": str(source)})
    options = merged(OPTIONS, {"trainer": {"init": str(source)}})
    request = TrainRequest(
        method="refusion", task="ivif", data=str(pairs), preset="quick", options=options, device="cpu"
    )
    for stop_at, every in ((1, 1e9), (3, 0)):
        run = tmp_path / f"run{stop_at}"
        with pytest.raises(Stop):
            start(request, run, report=stop, log_every=1, checkpoint_seconds=every)
    # Before its first checkpoint a run needs the same file, after it none.
    model = (source / "model.safetensors").read_bytes()
    shutil.copy(whole.model, source / "model.safetensors")
    with pytest.raises(DataError, match="is not the file that the run began from"):
        resume(tmp_path / "run1")
    (source / "model.safetensors").write_bytes(model)
    assert equal(resume(tmp_path / "run1"), whole)
    shutil.rmtree(source)
    assert equal(resume(tmp_path / "run3"), whole)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("trainer.init=refusion:ivif", "fuser.dim=8"), "--set fuser.dim=16 --set fuser.inputs=image+gradient+share"),
        (("trainer.init=laplacian",), "laplacian ships no model for ivif: give a weights file"),
        (("trainer.init=refusion:ivif@v99",), "has no tag 'v99'"),
        (("trainer.init=nowhere/model.safetensors",), "model.safetensors: no such file"),
        (("trainer.init=refuson:ivif",), "no such file, run folder or fuser: unknown fuser 'refuson:ivif'"),
    ],
)
def test_weights_that_cannot_be_begun_from_are_one_line(
    pairs: Path, tmp_path: Path, settings: tuple[str, ...], words: str
) -> None:
    given = [part for setting in settings for part in ("--set", setting)]
    out = tmp_path / "run"
    result = command("train", "refusion", "--task", "ivif", "--data", pairs, *given, "--out", out, "--quiet")
    assert result.exit_code in (2, 4)
    assert len(result.stderr.splitlines()) == 1
    assert words in result.stderr
    assert not out.exists()


def test_a_shipped_model_is_begun_from_by_its_name(pairs: Path, tmp_path: Path) -> None:
    options = {"trainer": OPTIONS["trainer"] | {"init": "refusion:mif"}, "fuser": {"inputs": "image+gradient+share"}}
    request = TrainRequest(
        method="refusion", task="ivif", data=str(pairs), preset="quick", options=options, device="cpu"
    )
    (ancestor,) = start(request, tmp_path / "run").record.lineage
    assert ancestor.model.startswith("refusion:mif@")
    assert ancestor.task == "mif"
    assert ancestor.training["preset"]
