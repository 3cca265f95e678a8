"""Event files for TensorBoard: what they hold is what the run's own log holds."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fusionkit.cli import main
from fusionkit.train.run_folder import RunFolder

pytest.importorskip("tensorboardX", reason="needs the extra 'tensorboard'")

TINY = ("trainer.epochs=2", "trainer.warmup=0", "trainer.meta_steps=1", "trainer.fusion_steps=6", "trainer.crop=16")
SMALL = [
    f"{part}.{name}" for part in ("fuser", "proposer", "reconstructor") for name in ("dim=4", "heads=2", "blocks=1")
]


def events(folder: Path) -> Iterator[Any]:
    """The records of every file: a length, its checksum, the record, its checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for file in sorted(folder.iterdir()):
        data, place = file.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            yield Event.FromString(data[place + 12 : place + 12 + length])
            place += 16 + length


def train(pairs: Path, out: Path, *more: str) -> str:
    settings = [word for text in (*TINY, *SMALL) for word in ("--set", text)]
    arguments = ["train", "refusion", "--task", "mif", "--data", str(pairs), "--out", str(out), "--device", "cpu"]
    result = CliRunner().invoke(main, [*arguments, "--quiet", *settings, *more])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_every_loss_and_picture_of_the_run_is_in_the_events(small_pairs: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(small_pairs, out, "--tensorboard")
    found: dict[tuple[int, str], float] = {}
    pictures = set()
    for event in events(out / "tensorboard"):
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found[event.step, value.tag] = value.simple_value
            elif value.HasField("image"):
                pictures.add((event.step, value.tag, value.image.width, value.image.height))
    rows = list(RunFolder.open(out).metrics())
    logged = {
        (int(row["step"]), name.replace(".", "/", 1)): value
        for row in rows
        for name, value in row.items()
        if name not in ("step", "seconds_per_step")
    }
    assert logged
    assert found == pytest.approx(logged, rel=1e-6)
    last = max(step for step, *_ in pictures)
    assert last == rows[-1]["step"]
    assert (last, "pair0/fused", 24, 20) in pictures


def test_without_the_option_nothing_is_written_and_without_the_extra_nothing_begins(
    small_pairs: Path, tmp_path: Path, no_pictures: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(small_pairs, tmp_path / "plain")
    assert not (tmp_path / "plain" / "tensorboard").exists()
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    arguments = ["train", "refusion", "--task", "mif", "--data", str(small_pairs), "--tensorboard", "--device", "cpu"]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "none")])
    assert result.exit_code == 2
    assert "pip install 'image-fusionkit[tensorboard]'" in result.stderr
    assert not (tmp_path / "none" / "metrics.jsonl").exists()
