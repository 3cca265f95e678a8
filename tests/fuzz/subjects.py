"""What is fuzzed: a folder of files that fusionkit reads, the command that reads them, and what it must not do."""

from __future__ import annotations

import csv
import json
import math
import shutil
import struct
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import tomli_w
import torch
from click.testing import CliRunner, Result
from hypothesis import strategies as st

from fusionkit.bench.record_files import write_record
from fusionkit.cli import main
from fusionkit.models.weights import WeightsInfo, save_fuser
from fusionkit.runtime.python310 import tomllib
from fusionkit.train import run as training
from fusionkit.train.run import TrainRequest, start
from tests.fuzz.changes import Change, byte_changes, tree_changes
from tests.support.downstreamrecords import boxes, masks

__all__ = ["SUBJECTS", "Subject"]

SMALL = {"dim": 4, "heads": 2, "blocks": 1}
OPTIONS: dict[str, Any] = {
    "trainer": {"epochs": 1, "meta_steps": 1, "fusion_steps": 1, "batch": 1, "crop": 16, "lr": 1e-3},
    "fuser": SMALL,
    "proposer": SMALL,
    "reconstructor": SMALL,
}
LONGEST_LINE = 2500


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def pairs(folder: Path, count: int = 2) -> Path:
    rng = np.random.default_rng(5)
    for side in ("ir", "vi"):
        (folder / side).mkdir(parents=True)
        for k in range(count):
            cv2.imwrite(str(folder / side / f"p{k}.png"), rng.integers(0, 256, (20, 24), dtype=np.uint8))
    return folder


class Subject(ABC):
    """A kind of file that is changed.

    Args:
        place: an empty folder to work in.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        self.good = place / "good"
        self.trees: dict[str, Any] = {}
        self.prepare()
        case = place / "case"
        shutil.copytree(self.good, case)
        result, wrong = self.read(case)
        assert result.exit_code == 0, result.output
        assert not wrong, wrong

    @abstractmethod
    def prepare(self) -> None:
        """Write the good files below ``good``, and fill ``trees``."""

    @abstractmethod
    def read(self, case: Path) -> tuple[Result, str]:
        """Run a command on the changed files; what is wrong with what it accepted, or ""."""

    def changes(self) -> st.SearchStrategy[Change]:
        """Changes to all files; half of them to the values of trees."""
        trees = [tree_changes(name, tree) for name, tree in self.trees.items()]
        files = [path for path in sorted(self.good.rglob("*")) if path.is_file() and path.suffix != ".png"]
        raw = [byte_changes(str(path.relative_to(self.good)), path.stat().st_size) for path in files]
        return st.one_of(st.one_of(trees), st.one_of(raw)) if trees else st.one_of(raw)

    def verdict(self, change: Change) -> str:
        """``"refused"`` or ``"accepted"``, or what is wrong: ``"internal error: ..."``, ``"silent: ..."``."""
        case = self.place / "case"
        shutil.rmtree(case, ignore_errors=True)
        shutil.copytree(self.good, case)
        self.write(change, case)
        result, wrong = self.read(case)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return f"internal error: {type(result.exception).__name__}: {result.exception}"
        if "internal error" in result.output or result.exit_code == 1:
            return f"internal error: {result.output[-300:]}"
        if any(len(line) > LONGEST_LINE for line in result.stderr.splitlines()):
            return "internal error: a line of more than 2,500 characters"
        if "\x1b" in result.stderr:
            return "silent: a control character reached the terminal"
        if result.exit_code:
            lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
            return "refused" if len(lines) == 1 else f"internal error: {result.stderr[-300:]}"
        return f"silent: {wrong}" if wrong else "accepted"

    def write(self, change: Change, case: Path) -> None:
        change.write(case, self.trees.get(change.file))


class Configs(Subject):
    """Option files of a training, up to its first step: numbers that are not finite must be refused."""

    def prepare(self) -> None:
        self.data = pairs(self.place / "pairs")
        self.good.mkdir()
        self.trees = {"options.toml": OPTIONS}
        (self.good / "options.toml").write_text(tomli_w.dumps(OPTIONS), encoding="utf-8")

    def write(self, change: Change, case: Path) -> None:
        if change.kind in ("bytes", "cut", "insert"):
            change.write(case)
            return
        try:
            changed = tomli_w.dumps(change.applied(self.trees[change.file]))
        except (TypeError, AttributeError, UnicodeEncodeError):  # TOML has no null, and no such text
            changed = change.text(self.trees[change.file])
        (case / change.file).write_text(changed, encoding="utf-8", errors="surrogatepass")

    def read(self, case: Path) -> tuple[Result, str]:
        # The networks are built; the steps themselves would take most of the time.
        with mock.patch.object(training, "_run", return_value=None):
            args = ("--task", "ivif", "--preset", "quick", "--data", self.data, "--device", "cpu", "--quiet")
            result = run("train", "refusion", *args, "--config", case / "options.toml", "--out", case / "run")
        written = case / "run" / "config.toml"
        if result.exit_code or not written.exists():
            return result, ""
        numbers = list(_numbers(tomllib.loads(written.read_text(encoding="utf-8"))))
        bad = [value for value in numbers if not math.isfinite(value) or abs(value) > 1e38]
        return result, f"the number {bad[0]} was taken" if bad else ""


class Runs(Subject):
    """Folders of unfinished runs; what is resumed must end with the weights of the run that was never stopped."""

    def prepare(self) -> None:
        data = pairs(self.place / "pairs")
        request = TrainRequest(method="refusion", task="ivif", data=str(data), preset="quick", options=OPTIONS)

        def stop(done: int, _total: int, _losses: Any) -> None:
            if done == 2:
                raise _Stop

        with _no_pictures():
            self.tensors = _tensors(start(request, self.place / "whole", log_every=1).model)
            with suppress(_Stop):
                start(request, self.good, log_every=1, checkpoint_seconds=0, report=stop)
        latest = json.loads((self.good / "checkpoints/latest.json").read_text())
        self.trees = {"run.json": json.loads((self.good / "run.json").read_text()), "checkpoints/latest.json": latest}

    def read(self, case: Path) -> tuple[Result, str]:
        with _no_pictures():
            result = run("train", "--resume", case, "--quiet")
        if result.exit_code:
            return result, ""
        same = _tensors(case / "model.safetensors") == self.tensors
        return result, "" if same else "other weights than those of the run that was never stopped"


class Weights(Subject):
    """Weights files; what fuses must give the picture of the unchanged file."""

    def prepare(self) -> None:
        from fusionkit.config import resolve
        from fusionkit.plugins import catalogue

        self.data = pairs(self.place / "pairs", 1)
        kind = catalogue.fusers.get("refusion")
        torch.manual_seed(0)
        self.good.mkdir()
        info = WeightsInfo("refusion", "ivif", training={"steps": 5, "data": "x", "seed": 0})
        save_fuser(self.good / "model.safetensors", kind(resolve(kind.Config, ("fuzz", SMALL))), info)
        content = (self.good / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        self.body = content[8 + length :]
        described = json.loads(header["__metadata__"]["fusionkit"])
        self.trees = {"header": header, "description": described}
        result = self._fuse(self.good / "model.safetensors")
        assert result.exit_code == 0, result.output
        self.expected = (self.place / "fused.png").read_bytes()

    def changes(self) -> st.SearchStrategy[Change]:
        trees = [tree_changes(name, tree) for name, tree in self.trees.items()]
        whole = (self.good / "model.safetensors").stat().st_size
        return st.one_of(*trees, byte_changes("model.safetensors", 3000), byte_changes("model.safetensors", whole))

    def write(self, change: Change, case: Path) -> None:
        if change.file == "model.safetensors":
            change.write(case)
            return
        if change.file == "description":
            header = json.loads(json.dumps(self.trees["header"]))
            header["__metadata__"]["fusionkit"] = change.text(self.trees["description"])
            text = json.dumps(header)
        else:
            text = change.text(self.trees["header"])
        raw = text.encode()
        (case / "model.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + self.body)

    def read(self, case: Path) -> tuple[Result, str]:
        result = self._fuse(case / "model.safetensors")
        if result.exit_code:
            return result, ""
        same = (self.place / "fused.png").read_bytes() == self.expected
        return result, "" if same else "another picture"

    def _fuse(self, file: Path) -> Result:
        sources = ("-a", self.data / "ir/p0.png", "-b", self.data / "vi/p0.png")
        return run("fuse", "-m", file, *sources, "-o", self.place / "fused.png", "--force", "--device", "cpu")


class Records(Subject):
    """Records of a bench; a mean on the board that is not the measured one must be marked."""

    def prepare(self) -> None:
        data = pairs(self.place / "pairs", 3)
        args = ("--task", "ivif", "--data", data, "--split", "all", "-m", "EN,SD", "--device", "cpu", "--no-maps", "-q")
        result = run("bench", "--fuser", "average", "--fuser", "maximum", *args, "-o", self.good)
        assert result.exit_code == 0, result.output
        shutil.rmtree(self.good / "parts", ignore_errors=True)
        for name in ("board.csv", "board.md", "board.json", "index.html"):
            (self.good / name).unlink()
        self.records = sorted(path.relative_to(self.good) for path in (self.good / "results").rglob("*.json"))
        self.trees = {str(path): json.loads((self.good / path).read_text()) for path in self.records}
        assert run("board", self.good, "-q").exit_code == 0
        self.means = self._means(self.good)

    def changes(self) -> st.SearchStrategy[Change]:
        trees = [tree_changes(name, tree) for name, tree in self.trees.items()]
        raw = [byte_changes(name, (self.good / name).stat().st_size) for name in self.trees]
        return st.one_of(*trees, *trees, *raw)

    def read(self, case: Path) -> tuple[Result, str]:
        result = run("board", case, "-q")
        if result.exit_code:
            return result, ""
        for key, mean in self._means(case).items():
            if key not in self.means or mean != self.means[key]:
                return result, f"{key} has the mean {mean}, unmarked"
        return result, ""

    @staticmethod
    def _means(folder: Path) -> dict[tuple[str, str, str, str], str]:
        """The ranked means and the wins of rows that are not marked; no wins where the other row is marked."""
        with (folder / "board.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {
            (row["task"], row["profile"], row["method"], shown): value
            for row in rows
            if row["kind"] == "measured" and not row["marks"]
            for shown, value in ((row["metric"], row["mean"]), ("wins", row["win_rate"]))
            if value
        }


class Downstream(Subject):
    """Records of trained networks; a score on the board that is not the measured one must be marked."""

    def prepare(self) -> None:
        self.good.mkdir()
        for method in ("a", "b"):
            for record in (boxes(self.good, method, 0), masks(method, 0)):
                # The data sets of the two are different tables.
                write_record(self.good, record.model_copy(update={"dataset": record.kind}))
        records = sorted(path.relative_to(self.good) for path in (self.good / "downstream/results").rglob("*.json"))
        self.trees = {str(path): json.loads((self.good / path).read_text()) for path in records}
        assert run("board", self.good, "-q").exit_code == 0
        self.scores = self._scores(self.good)
        for name in ("csv", "md", "json"):
            (self.good / f"downstream.{name}").unlink()

    changes = Records.changes

    def read(self, case: Path) -> tuple[Result, str]:
        result = run("board", case, "-q")
        if result.exit_code:
            return result, ""
        for key, value in self._scores(case).items():
            if key not in self.scores or value != self.scores[key]:
                return result, f"{key} has the value {value}, unmarked"
        return result, ""

    @staticmethod
    def _scores(folder: Path) -> dict[tuple[str, ...], str]:
        """The values of rows that are not marked."""
        with (folder / "downstream.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        keys = ("task", "dataset", "method", "seed", "class", "score")
        return {tuple(row[key] for key in keys): row["value"] for row in rows if not row["marks"]}


class Data(Subject):
    """Manifests, boxes and names of classes; changed files of known digests must be refused."""

    def prepare(self) -> None:
        pairs(self.good)
        (self.good / "label").mkdir()
        for k in range(2):
            (self.good / f"label/p{k}.txt").write_text("0 0.5 0.5 0.25 0.25\n1 0.2 0.3 0.1 0.2\n")
        (self.good / "classes.txt").write_text("car\nperson\n")
        result = run("data", "manifest", self.good, "--task", "ivif", "-o", self.good / "MANIFEST.csv")
        assert result.exit_code == 0, result.output
        rows = list(csv.reader((self.good / "MANIFEST.csv").read_text().splitlines()))
        self.trees = {"MANIFEST.csv": rows}

    def write(self, change: Change, case: Path) -> None:
        if change.file != "MANIFEST.csv" or change.kind in ("bytes", "cut", "insert"):
            change.write(case)
            return
        changed = change.applied(self.trees["MANIFEST.csv"])
        lines = (
            [row if isinstance(row, list) else [row] for row in changed] if isinstance(changed, list) else [[changed]]
        )
        with (case / "MANIFEST.csv").open("w", newline="", encoding="utf-8", errors="surrogatepass") as stream:
            csv.writer(stream).writerows(lines)

    def read(self, case: Path) -> tuple[Result, str]:
        (case / "folder").mkdir()
        for name in ("ir", "vi", "label", "classes.txt"):
            (case / name).rename(case / "folder" / name)
            if name in ("ir", "vi"):
                shutil.copytree(case / "folder" / name, case / name)
        labelled = run("data", "verify", case / "folder", "--task", "ivif", "--labels", "detection")
        if "internal error" in labelled.output or labelled.exit_code == 1:
            return labelled, ""
        return run("data", "verify", case, "--task", "ivif"), ""


class Cards(Subject):
    """Cards of models."""

    def prepare(self) -> None:
        from fusionkit.models.shipped import shipped_models
        from fusionkit.plugins import catalogue

        self.good.mkdir()
        weights = shipped_models(catalogue.fusers.get("refusion"))[0].file
        for file in (weights, weights.with_suffix(".toml")):
            shutil.copy(file, self.good / f"card{file.suffix}")
        card = tomllib.loads((self.good / "card.toml").read_text(encoding="utf-8"))
        self.trees = {"card.toml": json.loads(json.dumps(card, default=str))}

    def changes(self) -> st.SearchStrategy[Change]:
        length = (self.good / "card.toml").stat().st_size
        return st.one_of(tree_changes("card.toml", self.trees["card.toml"]), byte_changes("card.toml", length))

    write = Configs.write

    def read(self, case: Path) -> tuple[Result, str]:
        import click

        from fusionkit.models.card import as_markdown, read_card

        @click.command()
        def command() -> None:
            card = read_card(case / "card.safetensors")
            if card is not None:
                as_markdown(card, title="x")

        with mock.patch("fusionkit.cli.CommandLine.get_command", return_value=command):
            return run("models"), ""


SUBJECTS: dict[str, type[Subject]] = {
    "configs": Configs,
    "records": Records,
    "downstream": Downstream,
    "runs": Runs,
    "weights": Weights,
    "data": Data,
    "cards": Cards,
}


class _Stop(BaseException):
    """Ends a training as a killed process would, without a last checkpoint."""


def _no_pictures() -> Any:
    """Leave out the pictures of a run, which take longer than its steps."""
    return mock.patch.multiple(training, save_snapshot=lambda *_: None, draw_run=lambda *_: None)


def _tensors(file: Path) -> bytes:
    content = file.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return content[8 + length :]


def _numbers(node: Any) -> Iterator[float]:
    if isinstance(node, bool):
        return
    if isinstance(node, int | float):
        yield node
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        yield from _numbers(child)
