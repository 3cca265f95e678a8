"""The door to third-party code in a bench: one image that a method fails on must not end the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fusionkit.errors import FusionkitError

__all__ = ["Failed", "attempt"]

T = TypeVar("T")


class Failed(Exception):
    """A piece of work that failed; its text says why, in one line."""


def attempt(work: Callable[[], T]) -> T:
    """Do a piece of work on one image: reading it, or calling a plugin with it.

    Raises:
        Failed: whatever the work raised, but for an interruption.
    """
    try:
        return work()
    except FusionkitError as error:
        raise Failed(_line(error)) from error
    except Exception as error:  # the plugin door: fusers and metrics raise what they like
        raise Failed(f"{type(error).__name__}: {_line(error)}" if str(error) else type(error).__name__) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
