"""Training by two processes on the CPU: the same weights as one, a lost one, another number of them."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fusionkit.errors import UsageError
from fusionkit.runtime.processes import ALONE, Processes
from fusionkit.train.checkpoints import load_checkpoint
from fusionkit.train.run import TrainRequest, resume, start
from fusionkit.train.run_folder import RunFolder
from tests.support.child_processes import Child

pytestmark = pytest.mark.usefixtures("no_pictures")

OPTIONS = {
    "trainer": {"epochs": 2, "warmup": 0, "meta_steps": 4, "fusion_steps": 6, "crop": 16, "batch": 4, "lr": 1e-3},
    "fuser": {"dim": 4, "heads": 2, "blocks": 1},
    "proposer": {"dim": 4, "heads": 2, "blocks": 1},
    "reconstructor": {"dim": 4, "heads": 2, "blocks": 1},
}
FORMS = {
    "exact": {"hypergradient": "one_step", "outer_loss_noise": {"pixel": 0.05, "patch": 0.05}},
    "image": {
        "hypergradient": "image_space",
        "outer_loss_noise": {"pixel": 0.05},
        "both_orders": True,
        "ema_decay": 0.9,
    },
    "optimum": {
        "hypergradient": "closed_form",
        "outer_loss_noise": {"pixel": 0.05, "patch": 0.05},
        "weight_map_kl": 0.1,
    },
}


def _options(form: str, **trainer: object) -> dict[str, object]:
    return {**OPTIONS, "trainer": {**OPTIONS["trainer"], **FORMS[form], **trainer}}


def _request(pairs: Path, options: dict[str, object]) -> TrainRequest:
    return TrainRequest(method="refusion", task="mif", data=str(pairs), preset="paper", options=options, device="cpu")


def _script(tmp_path: Path, pairs: Path, body: str, options: object) -> Path:
    file = tmp_path / "training.py"
    file.write_text(
        "import json, os, time, torch; torch.set_num_threads(1)\n"
        "from pathlib import Path\n"
        "from fusionkit.cli import report\n"
        "from fusionkit.train import run\n"
        "run.draw_run = run.save_snapshot = lambda *_: None\n"
        f"own = json.loads({json.dumps({'data': str(pairs), 'options': options})!r})\n"
        "request = run.TrainRequest(method='refusion', task='mif', preset='paper', device='cpu', **own)\n"
        f"{body}\n"
    )
    return file


def _launch(script: Path, *arguments: Path, count: int = 2) -> list[Child]:
    """What torchrun does for one machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    return [
        Child(script, *arguments, env={**place, "RANK": str(rank), "LOCAL_RANK": str(rank)}) for rank in range(count)
    ]


def _close(first: Path, second: Path) -> None:
    one, two = load_file(first), load_file(second)
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-3, atol=2e-6, msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_two_processes_train_to_the_weights_of_one(small_pairs: Path, tmp_path: Path, form: str) -> None:
    options = _options(form, proposer_optimizer="sgd", lr_proposer=1.0)
    script = _script(tmp_path, small_pairs, "import sys; run.start(request, Path(sys.argv[1]))", options)
    processes = _launch(script, tmp_path / "two")
    one = start(_request(small_pairs, options), tmp_path / "one")
    errors = [process.communicate(timeout=900)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    two = RunFolder.open(tmp_path / "two")
    assert two.record.environment["processes"] == 2
    _close(one.model, two.model)
    state, shared = (load_checkpoint(folder.path) for folder in (one, two))
    assert state is not None
    assert shared is not None
    moved = [key for key in state.state if key.startswith("proposer.")]
    assert moved
    for key in moved:
        torch.testing.assert_close(shared.state[key], state.state[key], rtol=1e-3, atol=2e-6, msg=key)
    rows = [list(folder.metrics()) for folder in (one, two)]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for first, second in zip(*rows, strict=True):
        for name in set(first) - {"seconds_per_step"}:
            assert second[name] == pytest.approx(first[name], rel=1e-4), name


def test_a_killed_process_ends_the_run_in_one_line_and_one_process_goes_on(small_pairs: Path, tmp_path: Path) -> None:
    options = _options("exact")
    body = (
        "import sys\n"
        "slow = lambda *_: time.sleep(0.5)\n"
        "try:\n"
        "    run.start(request, Path(sys.argv[1]), report=slow, checkpoint_seconds=0, log_every=2)\n"
        "except Exception as error:\n"
        "    line, code = report(error)\n"
        "    print(line, file=sys.stderr, flush=True)\n"
        "    os._exit(code)\n"
    )
    out = tmp_path / "lost"
    first, second = _launch(_script(tmp_path, small_pairs, body, options), out)
    deadline = time.monotonic() + 900
    while not (out / "checkpoints" / "latest.json").exists():
        assert time.monotonic() < deadline
        assert first.poll() is None, first.communicate()[1]
        time.sleep(0.02)
    second.kill()
    second.communicate()
    errors = first.communicate(timeout=900)[1]
    assert first.returncode == 6, errors
    said = [line for line in errors.splitlines() if line.startswith("error:")]
    assert len(said) == 1
    assert "another process of the run is gone" in said[0]
    assert f"--resume {out}" in said[0]
    assert not (out / "model.safetensors").exists()
    done = resume(out)
    whole = start(_request(small_pairs, options), tmp_path / "whole")
    _close(whole.model, done.model)


def test_shares_lie_side_by_side_and_behind_each_other_for_groups() -> None:
    rows = torch.arange(8)
    assert [Processes(rank, 2).share(rows).tolist() for rank in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [Processes(rank, 2).share(rows, 2).tolist() for rank in range(2)] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert ALONE.share(rows) is rows


def test_a_batch_that_cannot_be_shared_equally_is_refused_with_what_would_do() -> None:
    with pytest.raises(
        UsageError, match=r"trainer\.batch=4 cannot be shared equally by 3 processes: start 1 or 2 or 4"
    ):
        Processes(0, 3).check_batch(4)
    Processes(0, 2).check_batch(4)


def test_double_backward_is_refused_in_several_processes(
    small_pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fusionkit.train.run as train

    class Two:
        def __enter__(self) -> Processes:
            return Processes(0, 2)

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(train, "joined", lambda _device: Two())
    options = _options("exact", one_step={"autodiff": "double_backward"})
    with pytest.raises(UsageError, match="double backward takes the whole batch in one process"):
        start(_request(small_pairs, options), tmp_path / "x")
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_nccl_carries_means_flags_and_what_the_first_process_made(tmp_path: Path) -> None:
    # Two processes need two devices; one that takes itself for the first of two sends all that they would.
    torch.distributed.init_process_group("nccl", rank=0, world_size=1, init_method=f"file://{tmp_path / 'store'}")
    try:
        first = Processes(0, 2, "cuda:0")
        means = first.mean({"a": torch.full((3,), 4.0, device="cuda:0"), "b": torch.ones(2, 2)})
        assert means["a"].tolist() == [2.0] * 3
        assert means["b"].device.type == "cpu"
        assert means["b"].tolist() == [[0.5] * 2] * 2
        assert first.any(True, False) == (True, False)
        assert first.from_first(lambda: {"step": 3}) == {"step": 3}
        with pytest.raises(UsageError, match="no such run"):
            first.from_first(_refuse)
    finally:
        torch.distributed.destroy_process_group()


def _refuse() -> None:
    raise UsageError("no such run")
