"""Backends of a fuser: PyTorch, or a native form that it brings along for CPUs."""

from __future__ import annotations

import logging
from typing import Literal

import torch

from fusionkit.contracts import Fuser
from fusionkit.errors import UsageError, did_you_mean

__all__ = ["Backend", "check_backend", "use_backend"]

Backend = Literal["auto", "torch", "native"]
"""Form to fuse by on a CPU: the native one if the fuser has it, PyTorch, or the native one alone."""

_log = logging.getLogger(__name__)


def check_backend(backend: str) -> None:
    """Refuse an unknown backend.

    Raises:
        fusionkit.errors.UsageError: always in that case.
    """
    if backend not in ("auto", "torch", "native"):
        raise UsageError(f"backend {backend!r}: {did_you_mean(backend, ('auto', 'torch', 'native'))}")


def use_backend(fuser: Fuser, device: torch.device, backend: Backend) -> str:
    """Set a fuser up for a backend.

    Args:
        fuser: the fuser, on its device.
        device: where it fuses.
        backend: which one; with ``"auto"`` the reason why there is no native form is logged at level DEBUG.

    Returns:
        ``"torch"``, or ``"native"`` with the name of the form: ``"native avx2"``.

    Raises:
        fusionkit.errors.UsageError: an unknown backend, or ``"native"`` where there is none.
    """
    check_backend(backend)
    if backend == "native" and device.type != "cpu":
        raise UsageError(f"backend native: runs on a CPU, not on {device}: use --device cpu, or leave the backend out")
    brings_one = type(fuser).use_native is not Fuser.use_native
    if backend == "torch" or device.type != "cpu" or (backend == "auto" and not brings_one):
        return "torch"
    try:
        return f"native {fuser.use_native()}"
    except UsageError as error:
        if backend == "native":
            raise
        _log.debug("fusing with PyTorch: %s", error)
        return "torch"
