"""Runs of version 0.1 are resumed and read; a resumed run says so, and where each part of it ran."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import fusionkit
from fusionkit.data.sample import sample_pairs
from fusionkit.errors import RenamedOption
from fusionkit.models.weights import read_info
from fusionkit.plugins import catalogue
from fusionkit.train.run import resume
from fusionkit.train.run_folder import RunFolder
from tests.support.child_processes import Child

pytestmark = pytest.mark.usefixtures("no_pictures")
RUNS = Path(__file__).parents[1] / "fixtures" / "v0_1"
ONE_THREAD = """
import sys, torch
from pathlib import Path
from fusionkit.train.run import TrainRequest, start
torch.set_num_threads(1)
trainer = {"epochs": 2, "meta_steps": 2, "fusion_steps": 2, "batch": 2, "crop": 16}
small = {"dim": 4, "heads": 2, "blocks": 1}
options = {"trainer": trainer, "fuser": small, "proposer": small, "reconstructor": small}
def report(done, total, losses):
    if done == 6:
        import os
        os.kill(os.getpid(), 9)
data, out = sys.argv[1:]
request = TrainRequest(method="refusion", task="mif", data=data, preset="quick", options=options, device="cpu")
start(request, Path(out), report=report, log_every=1, checkpoint_seconds=0)
"""


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    run = Path(shutil.copytree(RUNS / "unfinished_run", tmp_path / "run"))
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    # Processors round differently, so the sample made here may differ by a grey level from the one it was begun with.
    record["fingerprint"] = sample_pairs(catalogue.tasks.get(record["task"])).split("train").fingerprint()
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return run


def test_a_run_of_version_0_1_ends_with_the_weights_it_would_have_had(unfinished: Path) -> None:
    with pytest.warns(RenamedOption, match=r"trainer\.settle is now trainer\.freeze_fraction"):
        folder = resume(unfinished, log_every=1, checkpoint_seconds=1e9)
    expected = load_file(RUNS / "finished_run" / "model.safetensors")
    found = load_file(folder.model)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # Equal bit for bit on the machine that made the fixture; other processors round otherwise.
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4)
    columns = {name for row in folder.metrics() for name in row}
    assert not {"seconds_a_step", "fusion.critic"} & columns


def test_a_finished_run_of_version_0_1_fuses() -> None:
    a, b = torch.rand(2, 1, 1, 24, 32)
    model = fusionkit.load(str(RUNS / "finished_run" / "model.safetensors"), device="cpu")
    with torch.no_grad():
        assert model.fuser(a, b).shape == a.shape
    assert RunFolder.open(RUNS / "finished_run").record.method == "refusion"


def test_a_resumed_run_names_every_environment_that_it_ran_in(small_pairs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    killed = Child("-c", ONE_THREAD, small_pairs, run)
    _, stderr = killed.communicate(120)
    assert killed.returncode == -9, stderr
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        folder = resume(run, log_every=1, checkpoint_seconds=1e9)
    finally:
        torch.set_num_threads(before)
    (event,) = folder.events()
    assert (event["event"], event["step"]) == ("resume", 5)
    assert (event["environment"]["threads"], event["environment"]["device"]) == (2, "cpu")
    training = read_info(folder.model).training
    assert training["environment"]["threads"] == 1
    assert training["resumed"] == [{"step": 5, "environment": event["environment"]}]
    assert json.loads((run / "run.json").read_text())["environment"]["threads"] == 1
    assert [row["step"] for row in folder.metrics()] == list(range(1, training["steps"] + 1))
    assert all("event" not in row for row in folder.metrics())
