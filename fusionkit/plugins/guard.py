"""Calls plugin code: any exception becomes an error that names the plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import packages_distributions
from typing import TypeVar

from fusionkit.errors import FusionkitError, PluginError
from fusionkit.io.text import shortened

__all__ = ["PluginCallFailed", "plugin_call", "run_guarded"]

T = TypeVar("T")


class PluginCallFailed(Exception):
    """A call that failed; its text says why, in one line."""


@contextmanager
def plugin_call(kind: type, does: str) -> Iterator[None]:
    """Run a plugin's code and turn any exception into a PluginError that names the plugin and its package.

    What it prints goes to stderr, since stdout belongs to the command. A lack of memory and fusionkit's own errors
    pass as they are.

    Args:
        kind: the plugin's class.
        does: what is asked of it, for the message: ``"fuse"``.

    Raises:
        fusionkit.errors.PluginError: the code raised, or ended the program.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (FusionkitError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if _is_out_of_memory(error):
            raise
        why = shortened(f"{type(error).__name__}: {_line(error)}" if str(error) else type(error).__name__, 500)
        raise PluginError(f"{owner(kind)} cannot {does}: {why}; correct it, or use another") from error


def owner(kind: type) -> str:
    """Name a plugin's class and the package that it comes from, for messages."""
    package = kind.__module__.partition(".")[0]
    distributions = packages_distributions().get(package, [])
    return f"{kind.__name__} of {distributions[0] if distributions else kind.__module__}"


def run_guarded(work: Callable[[], T]) -> T:
    """Call ``work``: reading an image, or a plugin's code on it.

    Raises:
        PluginCallFailed: ``work`` raised anything but an interruption.
    """
    try:
        with redirect_stdout(sys.stderr):
            return work()
    except FusionkitError as error:
        raise PluginCallFailed(_line(error)) from error
    except (Exception, SystemExit) as error:  # fusers and metrics of plugins raise what they like
        name = type(error).__name__
        raise PluginCallFailed(f"{name}: {_line(error)}" if str(error) else name) from error


def _is_out_of_memory(error: BaseException) -> bool:
    # Imported here: listing plugins must not import torch.
    from fusionkit.runtime.devices import is_out_of_memory

    return is_out_of_memory(error)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
