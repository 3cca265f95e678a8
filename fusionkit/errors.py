"""The errors that a user can meet, each with the exit code that the command line returns for it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FusionkitError(Exception):
    """A mistake or a fault that the user can act on.

    The message is one line: it names the file or option, says what is wrong and what to do.

    Attributes:
        exit_code: what the command line exits with (1 is kept for bugs).
    """

    exit_code: int = 2


class RenamedOption(FutureWarning):
    """An option was given by a name or value that it no longer has: it was read, and the message has today's."""


class UsageError(FusionkitError):
    """An unknown name, a wrong option or a bad configuration."""

    exit_code = 2


class PluginError(FusionkitError):
    """A plugin that is broken, too new, malformed or claims a name that another one has."""

    exit_code = 3


class DataError(FusionkitError):
    """An image, a weights file or a folder that cannot be used or written."""

    exit_code = 4


class DivergedError(FusionkitError):
    """Training met a loss that is not finite."""

    exit_code = 5


class LostProcessError(FusionkitError):
    """Training by several processes lost one of them."""

    exit_code = 6


def missing_system_library(error: BaseException) -> str:
    """Return the remedy for an import of OpenCV that fails for lack of the system's display libraries, or "".

    ``opencv-python``, which other packages may bring, links ``libGL`` and ``libgthread``, which servers and containers
    often lack; ``opencv-python-headless`` is the same without windows, and fusionkit opens none.
    """
    if not isinstance(error, ImportError) or not any(name in str(error) for name in ("libGL", "libgthread", "libglib")):
        return ""
    return "run 'pip uninstall opencv-python' and 'pip install --force-reinstall --no-deps opencv-python-headless'"


class FusionNote(UserWarning):
    """A warning about a model or a result that is not wrong but that its user should know."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the nearest known one, then all of them.

    >>> did_you_mean("miff", ["mif", "ivif"])
    "did you mean 'mif'? (known: ivif, mif)"
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    return f"{hint}(known: {', '.join(names) if names else 'none'})"
