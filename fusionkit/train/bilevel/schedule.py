"""Schedule of a training: the kind of every step, the learning rates, and the extensions."""

from __future__ import annotations

import math
from bisect import bisect_right

from fusionkit.train.bilevel.options import BilevelOptions

__all__ = ["Schedule"]


class Schedule:
    """The numbered steps of a training: warm-up, epochs of meta then fusion steps, epochs of fusion steps alone.

    Extensions follow, with more epochs of the last kind. Without frozen epochs and with a learning-rate schedule other
    than cosine, a training that is extended takes the steps of one that had as many epochs from the beginning.

    Args:
        options: epochs, warm-up, frozen part, learning-rate schedule and extensions.
        meta_steps: per epoch.
        fusion_steps: per epoch.
    """

    def __init__(self, options: BilevelOptions, *, meta_steps: int, fusion_steps: int) -> None:
        self.options, self.meta_steps, self.fusion_steps = options, meta_steps, fusion_steps
        self._warm = options.warmup * fusion_steps
        learning_epochs = options.epochs - options.warmup - options.frozen_epochs
        self.learning_steps = self._warm + learning_epochs * (meta_steps + fusion_steps)
        """Steps before P and the outer loss are frozen."""
        first = self.learning_steps + options.frozen_epochs * fusion_steps
        self._extension_meta = 0 if options.frozen_epochs else meta_steps
        per_epoch = self._extension_meta + fusion_steps
        ends = [first]
        for epochs in options.extensions:
            ends.append(ends[-1] + epochs * per_epoch)
        self._ends = ends
        self.steps = ends[-1]
        """All steps, with those of the extensions."""

    def locate(self, index: int) -> tuple[int, int]:
        """Epoch of a step, and its number among the epoch's fusion steps, below 0 for a meta step."""
        if index < self._warm:
            return divmod(index, self.fusion_steps)
        if index >= self._ends[0]:
            epoch, position = divmod(index - self._ends[0], self._extension_meta + self.fusion_steps)
            return self.options.epochs + epoch, position - self._extension_meta
        if index >= self.learning_steps:
            epoch, position = divmod(index - self.learning_steps, self.fusion_steps)
            return self.options.epochs - self.options.frozen_epochs + epoch, position
        epoch, position = divmod(index - self._warm, self.meta_steps + self.fusion_steps)
        return self.options.warmup + epoch, position - self.meta_steps

    def kind(self, index: int) -> str:
        """``"fusion"``, ``"frozen"`` for a fusion step of F alone, or the way to take a meta step."""
        epoch, position = self.locate(index)
        o = self.options
        if position < 0:
            return "image_space" if epoch < o.warmup + o.image_space.epochs else o.hypergradient
        # The closed form trains the outer loss in the meta steps.
        alone = self.meta_steps and o.hypergradient == "closed_form"
        frozen = o.frozen_epochs > 0 and epoch >= o.epochs - o.frozen_epochs
        return "frozen" if alone or frozen else "fusion"

    def rates(self, index: int) -> tuple[float, float]:
        """Factors of the learning rates: the fuser's over the run, the others' over the steps before they freeze."""
        if self.options.lr_schedule == "cosine":
            extension = bisect_right(self._ends[:-1], index)
            if extension:
                begins, ends = self._ends[extension - 1 : extension + 1]
                rate = _cosine((index - begins) / (ends - begins))
                return rate, rate
            return _cosine(index / self._ends[0]), _cosine(min(index / max(self.learning_steps, 1), 1.0))
        reductions = self.locate(index)[0] // self.options.lr_step_epochs
        rate = float(0.1**reductions) if self.options.lr_schedule == "step" else 1.0
        return rate, rate


def _cosine(along: float) -> float:
    """From 1 to a hundredth over half a wave."""
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along))
