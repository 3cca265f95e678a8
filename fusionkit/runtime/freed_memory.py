"""Memory that the C library keeps for the next images."""

from __future__ import annotations

from functools import cache

import torch

__all__ = ["keep_freed_memory"]


@cache
def keep_freed_memory() -> None:
    """Make the C library keep the memory of freed planes for the next ones, up to 64 MB.

    glibc gives freed memory back, and then every new plane costs a page fault each 4 KiB: up to half the time of a
    metric or of a classical fuser. What it keeps grows with the largest block freed so far, so one block is allocated
    and freed here, without being written.
    """
    torch.empty(31 << 20, dtype=torch.uint8)
