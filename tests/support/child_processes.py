"""Python processes that tests start, interrupt and kill.

Each is forked from a server that has imported PyTorch and what comes with it, which takes longer than most of what the
processes do. fusionkit itself is imported by each of them.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["Child"]

ROOT = Path(__file__).parents[2]

_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = ("torch", "torch._dynamo", "torch.distributed", "numpy", "cv2", "PIL.Image", "matplotlib.figure")
_CONTEXT.set_forkserver_preload([*_PRELOADED, "safetensors.torch", "pydantic", "click", "rich.console", "pytest"])


class Child:
    """A process that runs Python as ``python COMMAND...`` does, with the methods of :class:`subprocess.Popen`.

    Args:
        command: ``-m MODULE``, ``-c CODE`` or a file, and its arguments.
        env: environment variables beside those of the test.
        cwd: the folder to run in; None for that of the test.
    """

    def __init__(self, *command: object, env: Mapping[str, str] | None = None, cwd: Path | str | None = None) -> None:
        self._files = [Path(name) for fd, name in (tempfile.mkstemp() for _ in range(2)) if os.close(fd) is None]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        arguments = (
            [str(word) for word in command],
            environment,
            str(cwd or os.getcwd()),
            [str(file) for file in self._files],
        )
        self._process = _CONTEXT.Process(target=_become, args=arguments)
        # The server starts with the first process: its thread pools are as large as this says.
        with mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}):
            self._process.start()

    @property
    def returncode(self) -> int | None:
        """The exit status; minus the signal that ended the process; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """:attr:`returncode`."""
        return self.returncode

    def send_signal(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for the end; what was written to stdout and stderr."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
            raise TimeoutError(self._files[1].read_text())
        out, err = (file.read_text() for file in self._files)
        return out, err


def _become(command: Sequence[str], environment: Mapping[str, str], folder: str, files: Sequence[str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, file in enumerate(files, 1):
        written = os.open(file, os.O_WRONLY)
        os.dup2(written, number)
        os.close(written)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path[:0] = [*filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)), str(ROOT)]
    form, *rest = command
    if form == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif form == "-c":
        sys.argv = ["-c", *rest[1:]]
        space: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(rest[0], "<child>", "exec"), space)
    else:
        sys.argv = list(command)
        runpy.run_path(form, run_name="__main__")
