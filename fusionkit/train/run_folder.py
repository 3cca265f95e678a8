"""A run's folder: its request, environment, options, log of losses and checkpoints."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import tomli_w
import torch
from pydantic import TypeAdapter, ValidationError

from fusionkit.errors import DataError, UsageError
from fusionkit.io.atomic import write_text, written_aside
from fusionkit.io.locks import file_lock
from fusionkit.io.regular_files import read_regular
from fusionkit.models import MODEL_FILE
from fusionkit.models.weights import read_info
from fusionkit.train.lineage import Ancestor, Extension

RECORD = "run.json"
LOCK = "run.lock"
OPTIONS = "config.toml"
METRICS = "metrics.jsonl"
_OPENCV = ("opencv-contrib-python", "opencv-contrib-python-headless", "opencv-python", "opencv-python-headless")
_FORMER_COLUMNS = {"fusion.critic": "fusion.outer", "seconds_a_step": "seconds_per_step"}


@dataclass(frozen=True)
class RunRecord:
    """Everything that fixes a run, beside its options.

    Attributes:
        method: registered trainer.
        task: task name.
        data: where the pairs come from, as given.
        split: the split of it that is trained on.
        preset: the preset that the options started from.
        given: the options as given, over the preset.
        seed: of weights and draws.
        device: ``"cpu"`` or ``"cuda"``.
        precision: ``"fp32"``, ``"tf32"`` or ``"bf16"``.
        pairs: number of training pairs.
        fingerprint: digest of the training pairs.
        environment: versions, machine, threads, commit.
        lineage: the models that it began from, the oldest first; its weights are those of the last.
        extensions: more epochs that it was given when it was finished.
        trained_on: names of the data sets that the pairs are of; [] in records of before they were kept.
    """

    method: str
    task: str
    data: str
    split: str
    preset: str
    given: dict[str, Any]
    seed: int
    device: str
    precision: str
    pairs: int
    fingerprint: str
    environment: dict[str, Any] = field(default_factory=dict)
    lineage: list[Ancestor] = field(default_factory=list)
    extensions: list[Extension] = field(default_factory=list)
    trained_on: list[str] = field(default_factory=list)


class RunFolder:
    """Reads and writes one run's folder.

    Args:
        path: the folder; use :meth:`create` for a new run and :meth:`open` for one that exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, record: RunRecord, options: Mapping[str, Any]) -> RunFolder:
        """Start a run in a folder that holds none yet.

        Raises:
            UsageError: there is a run in it already.
            DataError: it cannot be written.
        """
        # Of two runs that begin at once only one may find the folder empty.
        with file_lock(path / LOCK, wait=True):
            if (path / RECORD).exists():
                raise UsageError(
                    f"{path}: holds a run already: add --resume {path} to go on with it, or choose another --out"
                )
            write_text(path / OPTIONS, tomli_w.dumps(dict(options)))
            # The record comes last: a folder with a record is a whole one.
            write_text(path / RECORD, json.dumps(asdict(record), indent=2) + "\n")
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that exists.

        Raises:
            DataError: there is none.
        """
        if not (path / RECORD).is_file():
            raise DataError(f"{path}: is not a run folder (no {RECORD} in it)")
        return cls(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from training this run while the block runs.

        Raises:
            UsageError: another process is training it.
        """
        with file_lock(self.path / LOCK, wait=False) as held:
            if not held:
                raise UsageError(f"{self.path}: another process is training it: wait for it, or choose another --out")
            yield

    @property
    def record(self) -> RunRecord:
        """Record of the request.

        Raises:
            DataError: the record is damaged.
        """
        file = self.path / RECORD
        try:
            return TypeAdapter(RunRecord).validate_json(read_regular(file), strict=True)
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ": ".join([*map(str, first["loc"]), first["msg"]])
            raise DataError(f"{file}: is damaged ({where}): restore it, or start a new run") from None

    @property
    def is_finished(self) -> bool:
        """Say if all steps were taken, those of its extensions too.

        Raises:
            DataError: the record or the weights cannot be read.
        """
        extensions = self.record.extensions
        if not self.model.is_file() or not extensions:
            return self.model.is_file()
        done = read_info(self.model).training.get("extensions")
        return isinstance(done, list) and len(done) == len(extensions)

    def extend(self, extension: Extension) -> None:
        """Record an extension of a finished run, and keep a copy of the weights that it has.

        Raises:
            UsageError: another process is training it, or has extended it in the meantime.
            DataError: it cannot be written.
        """
        with self.held():
            if not self.is_finished:
                raise UsageError(f"{self.path}: was extended by another process: go on with it by --resume alone")
            with written_aside(self.path / f"model-step-{extension.step:08d}.safetensors") as aside:
                shutil.copyfile(self.model, aside)
            record = self.record
            extended = replace(record, extensions=[*record.extensions, extension])
            # From here on the run is not finished.
            write_text(self.path / RECORD, json.dumps(asdict(extended), indent=2) + "\n")

    @property
    def model(self) -> Path:
        """The trained weights, there once the run is done."""
        return self.path / MODEL_FILE

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        """Add one line to the log of losses."""
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(dict(row)) + "\n")
        except OSError as error:
            raise DataError(f"{self.path / METRICS}: cannot be written ({error.strerror})") from None

    def metrics(self) -> Iterator[dict[str, Any]]:
        """Rows of losses, one per log interval; damaged lines, as one cut short by a kill, are left out."""
        return (row for row in self._lines() if "event" not in row)

    def events(self) -> list[dict[str, Any]]:
        """The events of the run: for each resumption, its step and the environment from there on."""
        return [row for row in self._lines() if "event" in row]

    def rewind_metrics(self, step: int) -> None:
        """Drop the rows after ``step``: their steps will be taken again. Events stay."""
        kept = [json.dumps(row) for row in self._lines() if "event" in row or row["step"] <= step]
        write_text(self.path / METRICS, "".join(line + "\n" for line in kept))

    def _lines(self) -> Iterator[dict[str, Any]]:
        file = self.path / METRICS
        if not file.is_file():
            return
        for line in read_regular(file).splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            # A damaged line costs itself, not those after it.
            if isinstance(row, dict) and ("event" in row or isinstance(row.get("step"), int)):
                yield {_FORMER_COLUMNS.get(str(name), str(name)): value for name, value in row.items()}


def environment() -> dict[str, Any]:
    """Versions, machine and threads that a run's numbers depend on."""
    versions = {}
    for name in ("image-fusionkit", "torch", "numpy", "kornia", "safetensors"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = ""
    # One of several distributions provides cv2; to ask which by packages_distributions() takes seconds.
    for name in _OPENCV:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "versions": versions,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "threads": torch.get_num_threads(),
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _commit() -> str:
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return ""
    try:
        found = subprocess.run(
            ["git", "-C", os.fspath(here), "describe", "--always", "--abbrev=40", "--dirty"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip()
