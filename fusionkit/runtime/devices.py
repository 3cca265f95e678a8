"""Choose the device that a command runs on, and report a lack of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fusionkit.errors import UsageError, did_you_mean
from fusionkit.runtime.processes import local_rank


def choose_device(name: str) -> torch.device:
    """Choose a device by name; ``"auto"`` is a CUDA device if available, else the CPU.

    Without a number it is the first one, or under ``torchrun`` the one of this process's number on its machine; where
    there are fewer devices than processes, several share one.

    Raises:
        UsageError: an unknown name, or CUDA where there is none.
    """
    if name == "auto":
        return choose_device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: {did_you_mean(name, ('auto', 'cpu', 'cuda'))}")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: PyTorch {torch.__version__} sees no CUDA device here: use --device cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: is no device: use cuda or cuda:0, cuda:1...") from None
    if device.type != "cuda":
        return device
    found = torch.cuda.device_count()
    number = local_rank() % found if device.index is None else device.index
    if number >= found:
        raise UsageError(f"--device {name}: device {number} was asked for, and there are {found} (from 0): use fewer")
    return torch.device("cuda", number)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that the memory of a GPU or of this machine does not suffice.

    PyTorch raises a plain RuntimeError where the CPU's allocator fails or a size does not fit into 64 bits.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("can't allocate memory", "Storage size calculation overflowed", "Overflow when unpacking long")
    return isinstance(error, RuntimeError | TypeError) and any(word in str(error) for word in words)


@contextmanager
def memory_checked(advice: str) -> Iterator[None]:
    """Turn an out-of-memory error of a GPU or the machine into one line that names the options to lower.

    Args:
        advice: the options to lower.

    Raises:
        UsageError: the memory is used up.
    """
    try:
        yield
    except (RuntimeError, TypeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        said = " ".join(str(error).split()).partition(". ")[0]
        raise UsageError(f"the memory does not suffice ({said or 'MemoryError'}): {advice}") from None
