"""Checks of option values, with messages that name the option and the remedy."""

from __future__ import annotations

from collections.abc import Collection

from fusionkit.errors import UsageError, did_you_mean

__all__ = ["check_above", "check_at_least", "check_choice", "check_share", "check_window"]


def check_at_least(name: str, value: float, least: float) -> None:
    """Raise UsageError unless ``value >= least``."""
    if not value >= least:
        raise UsageError(f"{name} is {value!r}: give {least!r} or more")


def check_above(name: str, value: float, bound: float) -> None:
    """Raise UsageError unless ``value > bound``."""
    if not value > bound:
        raise UsageError(f"{name} is {value!r}: give a number above {bound!r}")


def check_share(name: str, value: float) -> None:
    """Raise UsageError unless ``value`` is in [0, 1]."""
    if not 0 <= value <= 1:
        raise UsageError(f"{name} is {value!r}: give a number from 0 to 1")


def check_window(name: str, value: int) -> None:
    """Raise UsageError unless ``value`` is an odd window width in pixels, 1 or more."""
    if value < 1 or value % 2 == 0:
        raise UsageError(
            f"{name} is {value!r}: a window is an odd number of pixels, such as {max(value, 0) // 2 * 2 + 1}"
        )


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise UsageError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise UsageError(f"{name} is {value!r}: {did_you_mean(value, choices)}")
