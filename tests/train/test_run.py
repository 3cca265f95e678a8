"""A training run from the command line: its folder, resuming to the same weights, bad input, divergence."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file

import fusionkit
from fusionkit.cli import main
from fusionkit.errors import DataError, DivergedError, UsageError
from fusionkit.models.weights import read_info
from fusionkit.train.checkpoints import load_checkpoint
from fusionkit.train.run import TrainRequest, resume, start
from fusionkit.train.run_folder import RunFolder
from tests.support.child_processes import Child

ROOT = Path(__file__).parents[2]
TINY = {
    "trainer": {"epochs": 3, "freeze_fraction": 0.0, "meta_steps": 4, "fusion_steps": 6, "crop": 16, "batch": 2},
    "fuser": {"dim": 4, "heads": 2, "blocks": 1},
    "proposer": {"dim": 4, "heads": 2, "blocks": 1},
    "reconstructor": {"dim": 4, "heads": 2, "blocks": 1},
}


def _request(data: Path | str, **changes: Any) -> TrainRequest:
    own: dict[str, Any] = {"method": "refusion", "task": "mif", "options": TINY, "device": "cpu", "data": str(data)}
    return TrainRequest(**{**own, **changes})


def _invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


class _Stop(Exception):
    pass


def _stop_at(step: int):  # type: ignore[no-untyped-def]
    def report(done: int, _steps: int, _losses: object) -> None:
        if done >= step:
            raise _Stop

    return report


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return start(_request("sample", preset="quick"), tmp_path_factory.mktemp("run") / "whole")


def test_a_run_leaves_everything_that_is_needed_to_judge_and_repeat_it(whole: RunFolder) -> None:
    record = whole.record
    assert (record.method, record.task, record.preset, record.seed) == ("refusion", "mif", "quick", 0)
    assert record.pairs >= 8
    assert len(record.fingerprint) == 64
    assert (
        record.environment["versions"]["torch"] == torch.__version__.partition("+")[0]
        or record.environment["versions"]["torch"]
    )
    rows = list(whole.metrics())
    assert [row["step"] for row in rows] == [10, 20, 30]
    assert {"meta.outer", "meta.inner", "fusion.total", "fusion.gradient"} <= set(rows[0])
    names = {file.relative_to(whole.path).as_posix() for file in whole.path.rglob("*.png")}
    assert {"figures/losses.png", "figures/learning_0.png", "images/pair0/source_a.png"} <= names
    assert "images/pair0/step-00000030_w_a.png" in names
    assert not list(whole.path.rglob(".*")), "temporary files were left behind"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout")
def test_a_run_names_the_commit_that_it_was_trained_with(whole: RunFolder) -> None:
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert whole.record.environment["commit"].removesuffix("-dirty") == head.stdout.strip()


def test_the_trained_model_fuses(whole: RunFolder) -> None:
    a, b = torch.rand(2, 1, 1, 20, 24)
    for model in (whole.path, whole.model):
        fused = fusionkit.load(model, device="cpu").fuse(a, b)
        assert fused.tensor.shape == (1, 1, 20, 24)


@pytest.mark.parametrize("preset", ["quick", "paper"])
@pytest.mark.parametrize("stop", [10, 20])
def test_an_interrupted_run_ends_with_the_weights_of_one_that_was_not(
    small_pairs: Path, no_pictures: None, tmp_path: Path, preset: str, stop: int
) -> None:
    options = {**TINY, "trainer": {**TINY["trainer"], "ema_decay": 0.9, "lr_schedule": "cosine"}}
    request = _request(small_pairs, preset=preset, options=options)
    one = start(request, tmp_path / "one")
    with pytest.raises(_Stop):
        start(request, tmp_path / "two", report=_stop_at(stop + 10), checkpoint_seconds=0)
    two = resume(tmp_path / "two")
    first, second = load_file(one.model), load_file(two.model)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert _losses(one) == _losses(two)


def test_a_killed_run_resumes_to_the_same_weights(whole: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    slow = json.dumps(TINY)
    script = (
        "import json, time, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from fusionkit.train.run import TrainRequest, start\n"
        f"options = json.loads({slow!r})\n"
        "request = TrainRequest(method='refusion', task='mif', options=options, device='cpu', preset='quick')\n"
        f"start(request, Path({str(out)!r}), checkpoint_seconds=0, report=lambda *_: time.sleep(0.5))\n"
    )
    process = Child("-c", script)
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/latest.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.communicate(60)
    assert process.returncode == -signal.SIGKILL
    assert not (out / "model.safetensors").exists()
    done = resume(out)
    first, second = load_file(whole.model), load_file(done.model)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_records_what_a_file_and_the_command_line_gave(
    small_pairs: Path, no_pictures: None, tmp_path: Path
) -> None:
    file = {**TINY, "trainer": {**TINY["trainer"], "outer_loss_noise": {"pixel": 0.25}}}
    request = _request(small_pairs, preset="quick", file=file, options={"trainer": {"swap": True}})
    record = start(request, tmp_path / "run").record
    assert record.given == {**TINY, "trainer": {**TINY["trainer"], "outer_loss_noise": {"pixel": 0.25}, "swap": True}}


def test_the_weights_name_the_data_sets_that_they_were_trained_on(whole: RunFolder) -> None:
    assert read_info(whole.model).training["trained_on"] == whole.record.trained_on == ["sample"]


def test_ctrl_c_writes_a_checkpoint_says_how_to_go_on_and_exits_130(small_pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    file = tmp_path / "options.toml"
    file.write_text(
        "[trainer]\nepochs = 4000\nwarmup = 0\nmeta_steps = 4\nfusion_steps = 6\ncrop = 16\nbatch = 2\n"
        "[fuser]\ndim = 4\nheads = 2\nblocks = 1\n[proposer]\ndim = 4\nheads = 2\nblocks = 1\n"
        "[reconstructor]\ndim = 4\nheads = 2\nblocks = 1\n"
    )
    command = ["-m", "fusionkit", "train", "refusion", "--task", "mif", "--data", small_pairs, "--config", file]
    process = Child(*command, "--out", out, "--device", "cpu", "--threads", "1")
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"--resume {out}" in errors
    assert load_checkpoint(out) is not None


def test_a_run_that_is_being_trained_is_not_trained_by_another_as_well(
    small_pairs: Path, no_pictures: None, tmp_path: Path
) -> None:
    """Both would write one log and one checkpoint."""
    tries: list[str] = []

    def report(_done: int, _steps: int, _losses: object) -> None:
        other = Child("-m", "fusionkit", "train", "--resume", tmp_path / "run")
        _, stderr = other.communicate(120)
        tries.append(f"{other.returncode} {stderr.strip().splitlines()[-1]}")

    folder = start(_request(small_pairs), tmp_path / "run", report=report, log_every=15)
    assert len(tries) == 2
    assert set(tries) == {
        f"2 error: {folder.path}: another process is training it: wait for it, or choose another --out"
    }
    assert [row["step"] for row in folder.metrics()] == [15, 30]
    assert folder.model.is_file()


def test_another_seed_gives_another_run(whole: RunFolder, no_pictures: None, tmp_path: Path) -> None:
    other = start(_request("sample", preset="quick", seed=1), tmp_path / "other")
    first, second = load_file(whole.model), load_file(other.model)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_data_that_changed_is_not_resumed_on(small_pairs: Path, no_pictures: None, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(_Stop):
        start(_request(small_pairs, preset="quick"), out, report=_stop_at(20), checkpoint_seconds=0)
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "fingerprint": "0" * 64}))
    with pytest.raises(DataError, match="is not the data that"):
        resume(out)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    small_pairs: Path, no_pictures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fusionkit.train.bilevel.trainer import BilevelTrainer

    honest = BilevelTrainer.step

    def poisoned(self: BilevelTrainer, index: int):  # type: ignore[no-untyped-def]
        terms = honest(self, index)
        return {**terms, "total": terms["total"] * float("nan")} if index == 17 else terms

    monkeypatch.setattr(BilevelTrainer, "step", poisoned)
    out = tmp_path / "run"
    with pytest.raises(DivergedError, match=r"is nan at step 20; the checkpoint of step 10 is kept") as caught:
        start(_request(small_pairs, preset="quick"), out, checkpoint_seconds=0)
    assert caught.value.exit_code == 5
    checkpoint = load_checkpoint(out)
    assert checkpoint is not None
    assert checkpoint.step == 10
    assert all(bool(torch.isfinite(value).all()) for value in checkpoint.state.values())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["train", "refusoin", "--task", "mif"], 2, "did you mean 'refusion'"),
        (["train", "refusion", "--task", "mfi"], 2, "did you mean"),
        (["train", "refusion", "--task", "mif", "--preset", "papre"], 2, "did you mean 'paper'"),
        (["train", "refusion", "--task", "mif", "--set", "trainer.lrr=1"], 2, "did you mean 'trainer.lr'"),
        (["train", "refusion", "--task", "mif", "--set", "trainer.lr=fast"], 2, "trainer.lr='fast'"),
        (["train", "refusion", "--task", "mif", "--set", "trainer.lr"], 2, "name=value"),
        (["train", "refusion", "--task", "mif", "--set", "trainer.batch=0"], 2, "trainer.batch=0"),
        (["train", "refusion", "--task", "mif", "--set", "fuser.heads=5"], 2, "fuser.heads=5"),
        (["train", "refusion", "--task", "mif", "--device", "tpu"], 2, "--device tpu"),
        (["train", "refusion", "--task", "mif", "--precision", "fp8"], 2, "--precision fp8"),
        (["train", "refusion", "--task", "mif", "--config", "absent.toml"], 4, "absent.toml"),
        (["train", "refusion", "--task", "mif", "--data", "no/such/folder"], 4, "no/such/folder"),
        (["train", "--task", "mif"], 2, "give a method"),
        (["train", "--resume", "no/such/run"], 4, "no/such/run"),
    ],
)
def test_bad_input_is_one_line_with_the_remedy(
    arguments: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = _invoke(*arguments)
    assert result.exit_code == code, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir()), "something was written"


def test_a_folder_that_holds_a_run_is_not_overwritten(whole: RunFolder) -> None:
    with pytest.raises(UsageError, match="holds a run already"):
        start(_request("sample", preset="quick"), whole.path)


def test_a_pickle_with_code_in_it_is_not_opened(tmp_path: Path) -> None:
    import pickle

    class Payload:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (Path.touch, (tmp_path / "ran",))

    file = tmp_path / "evil.pth"
    file.write_bytes(pickle.dumps(Payload()))
    result = _invoke("weights", "import", "refusion", str(file), "-o", str(tmp_path / "out.safetensors"))
    assert result.exit_code == 4
    assert "evil.pth" in result.stderr
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out.safetensors").exists()


def _losses(folder: RunFolder) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds_per_step"} for row in folder.metrics()]
