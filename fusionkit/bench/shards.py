"""Sharing a bench between the processes of ``torchrun``, or of anything that sets ``RANK`` and ``WORLD_SIZE``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from fusionkit.errors import UsageError

__all__ = ["Shard", "shard_from"]

T = TypeVar("T")

# A process may have to wait for the slowest method on the largest images.
_PATIENCE = timedelta(days=7)


@dataclass(frozen=True)
class Shard:
    """One process's share.

    Attributes:
        rank: which process, from 0.
        world: how many there are.
        local_rank: which process on this machine.
        rendezvous: whether they can wait for each other (``MASTER_ADDR`` is set); what they write is the same if not.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    rendezvous: bool = False

    def of(self, items: Sequence[T]) -> list[T]:
        """Every ``world``-th item, from the ``rank``-th."""
        return list(items[self.rank :: self.world])

    def wait(self) -> None:
        """Wait for the other processes."""
        if self.world == 1 or not self.rendezvous:
            return
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=_PATIENCE)
        dist.barrier()

    def leave(self) -> None:
        """Give up the connection to the other processes."""
        if self.world > 1 and self.rendezvous:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()


def shard_from(environment: Mapping[str, str] = os.environ) -> Shard:
    """This process's share, from ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``; everything where they are not set.

    Raises:
        fusionkit.errors.UsageError: they are no numbers or do not fit together.
    """
    given = {name: environment.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))}
    given["LOCAL_RANK"] = environment.get("LOCAL_RANK", given["RANK"])
    try:
        rank, world, local = (int(value) for value in given.values())
    except ValueError:
        rank, world, local = -1, 0, 0
    if not 0 <= rank < world or local < 0:
        listed = ", ".join(f"{name}={value}" for name, value in given.items())
        raise UsageError(f"the environment says {listed}: RANK must be a number from 0 to WORLD_SIZE - 1")
    return Shard(rank, world, local, rendezvous=bool(environment.get("MASTER_ADDR") and environment.get("MASTER_PORT")))
