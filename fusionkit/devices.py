"""Which device a command runs on."""

from __future__ import annotations

import torch

from fusionkit.errors import UsageError, did_you_mean


def choose_device(name: str) -> torch.device:
    """``"auto"`` is the first CUDA device where there is one, else the CPU.

    Raises:
        UsageError: an unknown name, or CUDA where there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.partition(":")[0] not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: {did_you_mean(name, ('auto', 'cpu', 'cuda'))}")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {name}: PyTorch {torch.__version__} sees no CUDA device here: use --device cpu")
    return torch.device(name)
