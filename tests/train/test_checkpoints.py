"""Resumption: a checkpoint that was damaged or changed, or options that were, are refused; nothing is made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fusionkit.cli import main
from fusionkit.errors import DataError, DivergedError, UsageError
from fusionkit.io.digest import file_digest
from fusionkit.train.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from fusionkit.train.run import Interrupted, TrainRequest, resume, start
from fusionkit.train.run_folder import RunFolder

pytestmark = pytest.mark.usefixtures("no_pictures")

TINY = {"dim": 4, "heads": 2, "blocks": 1}
OPTIONS: dict[str, Any] = {
    "trainer": {"epochs": 2, "meta_steps": 1, "fusion_steps": 5, "batch": 2, "crop": 16},
    "fuser": TINY,
    "proposer": TINY,
    "reconstructor": TINY,
}


def request(data: Path, **changes: Any) -> TrainRequest:
    own: dict[str, Any] = {"method": "refusion", "task": "mif", "preset": "quick", "options": OPTIONS, "device": "cpu"}
    return TrainRequest(**{**own, "data": str(data), **changes})


@pytest.fixture(scope="module")
def stopped(small_pairs: Path, no_pictures: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped after some of its steps."""
    out = tmp_path_factory.mktemp("stopped") / "run"

    def stop(done: int, _total: int, _losses: object) -> None:
        if done >= 4:
            raise Interrupted("enough")

    with pytest.raises(Interrupted):
        start(request(small_pairs), out, report=stop, log_every=2, checkpoint_seconds=0)
    assert load_checkpoint(out) is not None
    return out


@pytest.fixture
def run(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "run"))


def latest(run: Path) -> dict[str, Any]:
    return json.loads((run / "checkpoints" / "latest.json").read_text())


def rewrite(run: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Change tensors of the checkpoint, with a digest that fits."""
    file = run / "checkpoints" / latest(run)["file"]
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    state = load_file(file)
    change(state)
    save_file(state, file, metadata=metadata)
    (run / "checkpoints" / "latest.json").write_text(json.dumps({**latest(run), "sha256": file_digest(file)}))


def poison(state: dict[str, torch.Tensor]) -> None:
    name = next(name for name in state if name.startswith("update."))
    state[name].view(-1)[:1] = float("nan")


def shorten(state: dict[str, torch.Tensor]) -> None:
    del state[next(name for name in state if name.startswith("update.") and state[name].ndim > 1)]


def halve(state: dict[str, torch.Tensor]) -> None:
    name = next(name for name in state if state[name].is_floating_point() and state[name].ndim > 1)
    state[name] = state[name].half()


def add(state: dict[str, torch.Tensor]) -> None:
    state["update.fuser.foreign"] = torch.ones(3)


@pytest.mark.parametrize("change", [poison, shorten, halve, add])
def test_a_state_that_is_not_this_trainings_is_refused_and_no_model_is_written(
    run: Path, change: Callable[[dict[str, torch.Tensor]], None]
) -> None:
    rewrite(run, change)
    with pytest.raises(DataError, match=r"checkpoint|not finite"):
        resume(run)
    assert not RunFolder.open(run).model.exists()


def test_a_flipped_bit_is_refused(run: Path) -> None:
    file = run / "checkpoints" / latest(run)["file"]
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="digest differs"):
        resume(run)


@pytest.mark.parametrize("step", [0, 1, 3, 30, 2**63, -1, True, 0.5, "4", None])
def test_a_step_that_is_not_the_checkpoints_is_refused(run: Path, step: Any) -> None:
    (run / "checkpoints" / "latest.json").write_text(json.dumps({**latest(run), "step": step}))
    with pytest.raises(DataError, match=r"latest\.json"):
        resume(run)


@pytest.mark.parametrize("text", ["5", "null", "[]", "{}", "[" * 9000, "\xff", '{"step": 4, "file": 5}', ""])
def test_a_damaged_pointer_is_one_line(run: Path, text: str) -> None:
    (run / "checkpoints" / "latest.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"latest\.json"):
        resume(run)


def test_a_pointer_never_leads_out_of_the_run(run: Path, tmp_path: Path) -> None:
    shutil.copy(run / "checkpoints" / latest(run)["file"], tmp_path / "step-00000004.safetensors")
    (run / "checkpoints" / "latest.json").write_text(
        json.dumps({**latest(run), "file": "../../step-00000004.safetensors"})
    )
    with pytest.raises(DataError, match=r"latest\.json"):
        resume(run)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("config.toml", "batch = 2", "batch = 4", "trainer.batch=2"),
        ("run.json", '"seed": 0', '"seed": 7', "seed=0"),
        ("run.json", '"precision": "fp32"', '"precision": "bf16"', "precision=fp32"),
    ],
)
def test_options_that_were_edited_are_refused_by_name(run: Path, file: str, old: str, new: str, words: str) -> None:
    text = (run / file).read_text()
    assert old in text
    (run / file).write_text(text.replace(old, new))
    with pytest.raises(DataError, match=words):
        resume(run)


@pytest.mark.parametrize("change", [{"task": 5}, {"method": None}, {"seed": "x"}, {"pairs": "x"}, {"split": 5}])
def test_a_record_of_wrong_types_is_one_line(run: Path, change: dict[str, Any]) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, **change}))
    with pytest.raises(DataError, match=rf"run\.json: is damaged \({next(iter(change))}"):
        resume(run)


def test_a_damaged_line_of_the_log_costs_that_line_only(run: Path) -> None:
    log = run / "metrics.jsonl"
    rows = log.read_bytes().splitlines()
    log.write_bytes(b"\n".join([b'{"step": 1, "a": 1}', b"\xff\xfe{", b"[1]", b'{"step": "x"}', *rows]) + b"\n")
    folder = resume(run, log_every=2)
    steps = [row["step"] for row in folder.metrics()]
    assert steps[0] == 1
    assert steps[1:] == sorted(steps[1:])
    assert len(steps) > len(rows)


def test_weights_that_diverge_in_the_last_step_are_no_finished_model(small_pairs: Path, tmp_path: Path) -> None:
    options = {**OPTIONS, "trainer": {**OPTIONS["trainer"], "epochs": 1, "fusion_steps": 1, "lr": 1e6}}
    with pytest.raises(DivergedError, match=r"not finite|is nan|is inf"):
        start(request(small_pairs, options=options), tmp_path / "run", log_every=1)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_two_runs_that_begin_in_one_folder_do_not_both_win(run: Path, small_pairs: Path) -> None:
    with pytest.raises(UsageError, match="holds a run already"):
        start(request(small_pairs), run)


def test_options_that_a_resumed_run_cannot_take_are_refused_and_moved_data_is_taken(
    run: Path, small_pairs: Path, tmp_path: Path
) -> None:
    for flag, value in (
        ("--split", "val"),
        ("--seed", "0"),
        ("--precision", "fp32"),
        ("--out", "x"),
        ("--task", "mif"),
    ):
        done = CliRunner().invoke(main, ["train", "--resume", str(run), flag, value])
        assert done.exit_code == 2, done.output
        assert flag in done.stderr
    moved = shutil.copytree(small_pairs, tmp_path / "moved")
    done = CliRunner().invoke(main, ["train", "--resume", str(run), "--data", str(moved), "--quiet"])
    assert done.exit_code == 0, done.output


def test_a_run_goes_on_where_its_data_was_moved_to(small_pairs: Path, tmp_path: Path) -> None:
    place = shutil.copytree(small_pairs, tmp_path / "here")

    def stop(*_: object) -> None:
        raise Interrupted("enough")

    with pytest.raises(Interrupted):
        start(request(place), tmp_path / "run", report=stop, log_every=1, checkpoint_seconds=0)
    place.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no such folder"):
        resume(tmp_path / "run")
    assert resume(tmp_path / "run", data=str(tmp_path / "elsewhere")).model.exists()


def test_a_saved_checkpoint_reads_back(tmp_path: Path) -> None:
    for step in (3, 5, 9):
        save_checkpoint(tmp_path, Checkpoint(step, {"a": torch.arange(step)}, {"seed": 1}))
    found = load_checkpoint(tmp_path)
    assert found is not None
    assert (found.step, found.facts) == (9, {"seed": 1})
    assert torch.equal(found.state["a"], torch.arange(9))
    assert len(list((tmp_path / "checkpoints").glob("*.safetensors"))) == 2
