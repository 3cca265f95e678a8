"""Training by several processes under ``torchrun``: each takes its share of every batch, all keep the same weights.

The losses are means over the samples of a batch. With equal shares, the mean over the processes of what each finds on
its own share is what one process finds on the whole batch, up to rounding. Averaging gives every process the same
bits, so the weights never part.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from fusionkit.errors import FusionkitError, LostProcessError, UsageError

TIMEOUT_SECONDS = 600
"""Seconds that a process waits for the others before it takes one of them for lost."""

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of one training and this one's place among them.

    Attributes:
        rank: number of this process; the first, 0, owns the run folder and talks to the user.
        count: how many there are.
        device: where tensors have to be that travel between them.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """True if this process owns the run folder."""
        return self.rank == 0

    def check_batch(self, batch: int) -> None:
        """Refuse a batch that cannot be shared out equally.

        Raises:
            UsageError: always in that case; says which numbers would do.
        """
        if batch % self.count:
            fitting = [n for n in range(1, batch + 1) if batch % n == 0]
            raise UsageError(
                f"trainer.batch={batch} cannot be shared equally by {self.count} processes: "
                f"start {' or '.join(map(str, fitting))}, or set trainer.batch to a multiple of {self.count}"
            )

    def share(self, whole: Tensor, groups: int = 1) -> Tensor:
        """This process's part of a batch along its first dimension.

        Args:
            whole: ``(B, ...)``.
            groups: how many batches of the same pairs lie behind each other in it; each is shared for itself.
        """
        if self.count == 1:
            return whole
        return whole.unflatten(0, (groups, self.count, -1))[:, self.rank].flatten(0, 1)

    def mean(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The mean over the processes of every one of these tensors, in one exchange.

        Raises:
            LostProcessError: another process is gone.
        """
        if self.count == 1 or not tensors:
            return dict(tensors)
        flat = torch.cat([tensor.detach().reshape(-1).to(self.device) for tensor in tensors.values()])
        with _partners():
            dist.all_reduce(flat)
        parts = (flat / self.count).split([tensor.numel() for tensor in tensors.values()])
        return {
            name: part.view(tensor.shape).to(tensor.device)
            for (name, tensor), part in zip(tensors.items(), parts, strict=True)
        }

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """For each flag, whether any process has it up.

        Raises:
            LostProcessError: another process is gone.
        """
        if self.count == 1:
            return flags
        raised = torch.tensor([float(flag) for flag in flags], device=self.device)
        with _partners():
            dist.all_reduce(raised, dist.ReduceOp.MAX)
        return tuple(value > 0 for value in raised.tolist())

    def from_first(self, make: Callable[[], T]) -> T:
        """Run ``make`` in the first process and return its result in all; a user's error there is raised in all.

        Raises:
            LostProcessError: another process is gone.
        """
        if self.count == 1:
            return make()
        made: list[Any] = [None, None]
        if self.first:
            try:
                made[0] = make()
            except FusionkitError as error:
                made[1] = error
        with _partners():
            dist.broadcast_object_list(made, device=torch.device(self.device))
        if made[1] is not None:
            raise made[1]
        return made[0]


ALONE = Processes()
"""One process, the whole batch."""


def launched_processes(environment: Mapping[str, str] = os.environ) -> Processes:
    """This process's place by ``RANK`` and ``WORLD_SIZE``, as ``torchrun`` sets them; :data:`ALONE` without ``RANK``.

    Raises:
        UsageError: they are no numbers or do not fit together.
    """
    rank, count = (_number(environment, name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1")))
    if not 0 <= rank < count:
        raise UsageError(f"RANK={rank}, WORLD_SIZE={count}: RANK must be a number from 0 to WORLD_SIZE - 1")
    return Processes(rank, count) if "RANK" in environment else ALONE


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """Number of this process on its machine: ``LOCAL_RANK``, else ``RANK``, else 0.

    Raises:
        UsageError: it is no number from 0.
    """
    name = "LOCAL_RANK" if "LOCAL_RANK" in environment else "RANK"
    return _number(environment, name, "0")


def _number(environment: Mapping[str, str], name: str, default: str) -> int:
    text = environment.get(name, default)
    if not text.isdecimal():
        raise UsageError(f"{name}={text}: {name} in the environment must be a number, 0 or more")
    return int(text)


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started: by NCCL on CUDA, by Gloo on the CPU; :data:`ALONE` without it.

    Args:
        device: where this process trains.

    Raises:
        UsageError: there are fewer CUDA devices than processes on this machine.
        LostProcessError: not all of them came.
    """
    place = launched_processes()
    if place.count == 1:
        yield ALONE
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    if backend == "nccl" and local_rank() >= (found := torch.cuda.device_count()):
        raise UsageError(f"process {local_rank()} of this machine has no CUDA device: start at most {found} processes")
    with _partners():
        dist.init_process_group(backend, timeout=timedelta(seconds=TIMEOUT_SECONDS))
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), str(device) if backend == "nccl" else "cpu")
    finally:
        dist.destroy_process_group()


@contextmanager
def _partners() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        rank = os.environ.get("RANK", "0")
        raise LostProcessError(
            f"process {rank}: another process of the run is gone or did not answer within {TIMEOUT_SECONDS} s"
        ) from error
