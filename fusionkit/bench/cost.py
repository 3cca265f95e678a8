"""Wall time and memory of a fuser's calls.

On CUDA both come from one call: torch's allocator knows its peak. On the CPU memory is the rise of the process's
resident set, and freed memory that the C library kept has to be given back before, or its reuse would not show. That
slows the next call down, so there memory and time are measured in calls of their own.
"""

from __future__ import annotations

import ctypes
import platform
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from fusionkit.bench.records import Cost
from fusionkit.contracts import Fuser
from fusionkit.io.text import counted

__all__ = ["Meter", "device_name", "metered"]

_STATUS = Path("/proc/self/status")
_PEAK_RESET = Path("/proc/self/clear_refs")


@dataclass
class Meter:
    """Adds up the calls of a fuser on a device.

    Attributes:
        device: where it runs.
        memory: whether to measure memory; on the CPU at the cost of time.
        seconds: wall time of all calls so far; on CUDA the device is waited for on both sides.
        peak: most memory that a call took above what was in use before it, in bytes; None if not measured.
    """

    device: torch.device
    memory: bool
    seconds: float = 0.0
    peak: int | None = None
    _began: float = field(default=0.0, repr=False)
    _level: int | None = field(default=None, repr=False)

    def begin(self) -> None:
        """Note that a call begins."""
        self._level = self._memory_level() if self.memory else None
        self._began = self._now()

    def end(self) -> None:
        """Note that the call ended, and add its time and memory."""
        self.seconds += self._now() - self._began
        if self._level is not None:
            self.peak = max(self.peak or 0, self._memory_peak() - self._level, 0)

    def cost(self) -> Cost:
        """Return what was measured, for a record."""
        memory: Literal["cuda allocator", "resident set", "not measured"] = "not measured"
        if self.peak is not None:
            memory = "cuda allocator" if self.device.type == "cuda" else "resident set"
        return Cost(device=device_name(self.device), seconds=self.seconds, peak_bytes=self.peak, memory=memory)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _memory_level(self) -> int | None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return torch.cuda.memory_allocated(self.device)
        try:
            _give_back()
            # Linux sets the peak of the resident set back to its present size.
            _PEAK_RESET.write_text("5")
            return _status("VmRSS")
        except OSError:
            return None

    def _memory_peak(self) -> int:
        return torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else _status("VmHWM")


@contextmanager
def metered(fuser: Fuser, device: torch.device, *, memory: bool) -> Iterator[Meter]:
    """Measure the calls of ``fuser`` within the block: its ``forward``, not colour, stretch, reading or moving."""
    meter = Meter(device, memory)

    def before(_module: torch.nn.Module, _args: Any) -> None:
        meter.begin()

    def after(_module: torch.nn.Module, _args: Any, _output: Any) -> None:
        meter.end()

    handles = (fuser.register_forward_pre_hook(before), fuser.register_forward_hook(after))
    try:
        yield meter
    finally:
        for handle in handles:
            handle.remove()


def device_name(device: torch.device) -> str:
    """Name a device with its model: ``"cpu (x86_64, 2 threads)"``, ``"cuda (NVIDIA H200)"``."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device.type} ({platform.machine()}, {counted(threads, 'thread')})"


def _give_back() -> None:
    """Let the C library return freed memory to the system, where it can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _status(name: str) -> int:
    """A size that Linux tells of this process, in bytes."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
