"""A step recorded once on the device and replayed: one launch instead of thousands.

The networks are so small that on a GPU launching their operations takes longer than computing them. A CUDA graph holds
all of them, the optimiser's too. What changes from step to step goes through tensors at fixed addresses.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["CapturedStep", "CapturedSteps", "CudaRecorder", "Rates", "Recorder"]

Rates = tuple[float, float] | tuple[Tensor, Tensor]
"""Factors of the learning rates: the fuser's, and that of the other two. Tensors where steps are captured."""

Work = Callable[..., dict[str, Tensor]]
"""A step: tensors in, named scalar tensors out; it reads nothing on the host and changes state in place."""

WARMUP = 3
"""Steps that are taken eagerly first, so that libraries and optimisers have set themselves up."""


class Recorder(Protocol):
    """Recorder of operations that does not run them."""

    def warm_up(self, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Do ``work`` as it will be recorded."""

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record ``work``; what replays it, and the tensor that each replay writes to.

        Raises:
            RuntimeError: it cannot be recorded.
        """


class CudaRecorder:
    """CUDA graphs, each with a memory pool of its own."""

    def warm_up(self, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Do ``work`` on a stream of its own, as recording asks for."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            found = work()
        torch.cuda.current_stream().wait_stream(stream)
        return found

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record ``work`` as a CUDA graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = work()
        return graph.replay, out


class CapturedStep:
    """Takes the first steps eagerly, records one, and replays it from then on; where that fails, goes on eagerly.

    Args:
        work: the step.
        recorder: what records it.
        warmup: steps that are taken eagerly first.
    """

    def __init__(self, work: Work, recorder: Recorder, *, warmup: int = WARMUP) -> None:
        self._work, self._recorder, self._left = work, recorder, warmup
        self._inputs: tuple[Tensor, ...] = ()
        self._replay: Callable[[], None] | None = None
        self._names: tuple[str, ...] = ()
        self._out = torch.empty(0)
        self._eager = False

    @property
    def captured(self) -> bool:
        """True once steps are replayed."""
        return self._replay is not None

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Take a step.

        Args:
            inputs: as ``work`` takes them, of the same shapes every time.
        """
        if self._eager:
            return self._work(*inputs)
        if self._left > 0:
            self._left -= 1
            return self._recorder.warm_up(lambda: self._work(*inputs))
        if self._replay is None:
            try:
                self._capture(inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                reason = " ".join(str(error).split()).partition(". ")[0]
                warnings.warn(
                    f"steps are not captured in a CUDA graph, training goes on without: {reason}", stacklevel=2
                )
                self._eager = True
                return self._work(*inputs)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given, non_blocking=True)
        assert self._replay is not None
        self._replay()
        # The next replay overwrites its result.
        return dict(zip(self._names, self._out.clone().unbind(), strict=True))

    def _capture(self, inputs: tuple[Tensor, ...]) -> None:
        own = tuple(tensor.clone() for tensor in inputs)

        def work() -> Tensor:
            terms = self._work(*own)
            self._names = tuple(terms)
            return torch.stack([value.detach().float() for value in terms.values()])

        self._replay, self._out = self._recorder.record(work)
        self._inputs = own


class CapturedSteps:
    """The kinds of step of a training, each captured by itself.

    Args:
        work: a step: its kind, the rows of its batches, learning rates, and noise already drawn, or None.
        kinds: their names.
        recorder: what records them.
        device: of the training.
    """

    def __init__(
        self,
        work: Callable[[str, tuple[Tensor, ...], Rates, Tensor | None], Mapping[str, Tensor]],
        kinds: Sequence[str],
        recorder: Recorder,
        device: torch.device,
    ) -> None:
        self._work = work
        self._rates = torch.ones((), device=device), torch.ones((), device=device)
        self._steps = {
            (kind, noisy): CapturedStep(partial(self._from_tensors, kind, noisy), recorder)
            for kind in kinds
            for noisy in (False, True)
        }

    def take(
        self, kind: str, rows: tuple[Tensor, ...], rates: tuple[float, float], noise: Tensor | None
    ) -> dict[str, Tensor]:
        """Take a step."""
        for held, rate in zip(self._rates, rates, strict=True):
            held.fill_(rate)
        return self._steps[kind, noise is not None](*rows, *(() if noise is None else (noise,)))

    def _from_tensors(self, kind: str, noisy: bool, *inputs: Tensor) -> dict[str, Tensor]:
        rows, noise = (inputs[:-1], inputs[-1]) if noisy else (inputs, None)
        return dict(self._work(kind, rows, self._rates, noise))
