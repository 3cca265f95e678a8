"""Runs plugin code on one image and turns any exception into PluginCallFailed, so that other images continue."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from fusionkit.errors import FusionkitError

__all__ = ["PluginCallFailed", "run_guarded"]

T = TypeVar("T")


class PluginCallFailed(Exception):
    """A call that failed; its text says why, in one line."""


def run_guarded(work: Callable[[], T]) -> T:
    """Call ``work``: reading an image, or a plugin's code on it.

    Raises:
        PluginCallFailed: ``work`` raised anything but an interruption.
    """
    try:
        return work()
    except FusionkitError as error:
        raise PluginCallFailed(_line(error)) from error
    except Exception as error:  # fusers and metrics of plugins raise what they like
        name = type(error).__name__
        raise PluginCallFailed(f"{name}: {_line(error)}" if str(error) else name) from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
