"""Checks that losses, states and the trained fuser are finite; what is not ends a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from fusionkit.contracts import MetaTrainer
from fusionkit.errors import DivergedError
from fusionkit.train.checkpoints import not_finite

__all__ = ["check_fuser", "check_losses", "check_state"]


def check_losses(losses: Mapping[str, float], step: int, run: Path, saved: int, *, advice: str) -> None:
    """Check the mean losses of an interval.

    Args:
        losses: by ``stage.term``.
        step: steps taken.
        run: the run's folder, for the message.
        saved: step of the last checkpoint; 0 for none.
        advice: the remedy, after "Start again".

    Raises:
        fusionkit.errors.DivergedError: one is not finite.
    """
    for name, value in losses.items():
        if value != value or value in (float("inf"), float("-inf")):
            kept = f"the checkpoint of step {saved} is kept" if saved else "no checkpoint was written yet"
            raise DivergedError(f"{run}: the loss {name} is {value} at step {step}; {kept}. Start again {advice}")


def check_state(state: Mapping[str, Tensor], step: int, run: Path, saved: int, *, advice: str) -> None:
    """Check a trainer's state before it is saved, as :func:`check_losses` does losses.

    Raises:
        fusionkit.errors.DivergedError: a value is not finite.
    """
    name = not_finite(state)
    if name:
        kept = f"the checkpoint of step {saved} is kept" if saved else "no checkpoint was written yet"
        raise DivergedError(f"{run}: {name} is not finite after step {step}; {kept}. Start again {advice}")


def check_fuser(trainer: MetaTrainer, run: Path) -> None:
    """Check what a trained fuser gives: weights can be finite and too large to compute with.

    Raises:
        fusionkit.errors.DivergedError: values that are not finite.
    """
    if not_finite(trainer.snapshot(trainer.source.whole(0))):
        raise DivergedError(
            f"{run}: the trained fuser gives values that are not finite; no model was written. Start again "
            f"{trainer.diverged_advice}"
        )
