"""Trainings and benches that are killed at any moment end, when they are run again, with what they would have had."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.subjects import OPTIONS, _no_pictures, _tensors, pairs, run

__all__ = ["kill_benches", "kill_trainings"]


def kill_trainings(count: int, place: Path, seed: int = 0) -> list[str]:
    """Kill a training at a random moment until it ends; repeat until there were ``count`` kills."""
    from fusionkit.train.run import TrainRequest, resume, start

    data = pairs(place / "pairs")
    options = {**OPTIONS, "trainer": {**OPTIONS["trainer"], "epochs": 8}}
    request = TrainRequest(method="refusion", task="ivif", data=str(data), preset="quick", options=options)

    def train(folder: Path) -> None:
        with _no_pictures():
            if (folder / "run.json").exists():
                resume(folder, checkpoint_seconds=0, log_every=1)
            else:
                start(request, folder, checkpoint_seconds=0, log_every=1)

    began = time.monotonic()
    train(place / "whole")
    expected, lasts = _tensors(place / "whole/model.safetensors"), time.monotonic() - began
    return _until_done(
        count,
        lasts,
        place / "run",
        train,
        lambda folder: "" if _tensors(folder / "model.safetensors") == expected else "other weights",
        seed,
    )


def kill_benches(count: int, place: Path, seed: int = 0) -> list[str]:
    """The same of a bench, whose images and scores are compared."""
    data = pairs(place / "pairs", 4)

    def bench(folder: Path) -> None:
        fusers = [argument for name in ("average", "maximum", "pca") for argument in ("--fuser", name)]
        args = ("--task", "ivif", "--data", data, "--split", "all", "-m", "EN,SD", "--device", "cpu", "--no-maps", "-q")
        result = run("bench", *fusers, *args, "-o", folder)
        if result.exit_code:
            raise RuntimeError(result.output[-300:])

    began = time.monotonic()
    bench(place / "whole")
    expected, lasts = _scores(place / "whole"), time.monotonic() - began
    return _until_done(
        count,
        lasts,
        place / "out",
        bench,
        lambda folder: "" if _scores(folder) == expected else "other images or scores",
        seed,
    )


def _until_done(
    count: int, lasts: float, folder: Path, work: Callable[[Path], None], check: Callable[[Path], str], seed: int
) -> list[str]:
    rng, wrong, kills, tries = random.Random(seed), [], 0, 0
    while kills < count:
        child = os.fork()
        if child == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                work(folder)
                os._exit(0)
            except BaseException:
                os._exit(1)
        tries += 1
        began = time.monotonic()
        killed, code = _wait(child, rng.uniform(0, lasts * 1.2))
        kills += killed
        if not killed and tries == 1:
            lasts = time.monotonic() - began  # the machine is faster or slower than when it was first timed
        if killed and tries < 5:
            continue
        if killed:  # often enough: let it end
            work(folder)
        elif code:
            wrong.append(f"after {tries} tries: exit {code}")
        if not wrong or wrong[-1][:5] != "after":
            said = check(folder)
            if said:
                wrong.append(said)
        shutil.rmtree(folder, ignore_errors=True)
        tries = 0
    return wrong


def _wait(child: int, seconds: float) -> tuple[bool, int]:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return False, os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status), 0


def _scores(folder: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted((folder / "results").rglob("[!.]*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        found[path.name] = [(image["name"], image["fused_sha256"], image["scores"]) for image in record["images"]]
    for path in sorted((folder / "fused").rglob("[!.]*.png")):
        found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found
