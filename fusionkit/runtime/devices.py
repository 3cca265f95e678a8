"""Which device a command runs on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fusionkit.errors import UsageError, did_you_mean


def choose_device(name: str) -> torch.device:
    """``"auto"`` is a CUDA device where there is one, else the CPU.

    Without a number it is the first one, or under ``torchrun`` the one of this process's number on its machine.

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
    number = int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index
    found = torch.cuda.device_count()
    if number >= found:
        raise UsageError(f"--device {name}: device {number} was asked for, and there are {found} (from 0): use fewer")
    return torch.device("cuda", number)


@contextmanager
def memory_checked(advice: str) -> Iterator[None]:
    """Turn the device's lack of memory into a line that says what to lower.

    Args:
        advice: the options to lower.

    Raises:
        UsageError: the device's memory is used up.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        said = " ".join(str(error).split()).partition(". ")[0]
        raise UsageError(f"the device's memory does not suffice ({said}): {advice}") from None
