"""Description of a plugin before it is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HOST = "image-fusionkit"
"""Our own distribution: its names are built in."""

IN_PROCESS = "in-process"
"""Stands for a distribution where a name was registered by a running program."""

Stage = Literal["discover", "version", "load", "contract", "call"]
"""Stage at which a plugin failed: metadata, version, import, contract, or a call on small images."""


@dataclass(frozen=True)
class Problem:
    """Why a name cannot be used.

    Attributes:
        stage: where it failed.
        cause: what is wrong, in one line.
        remedy: what to do about it, in one line.
    """

    stage: Stage
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.cause}; {self.remedy}"


@dataclass(frozen=True)
class Entry:
    """One name that a distribution offers, as its metadata states it.

    Attributes:
        name: the registered name.
        group: entry-point group (``"fusionkit.fusers"``).
        target: ``module:Class``; what stands there where it cannot be read.
        distribution: normalised name of the distribution that offers it.
        version: that distribution's version, ``"?"`` where it states none.
        requires: the versions of image-fusionkit that the distribution asks for (``">=0.1"``), or ``""``.
        problems: what is wrong already, without importing anything.
    """

    name: str
    group: str
    target: str
    distribution: str
    version: str
    requires: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def built_in(self) -> bool:
        """True if the name is one of our own."""
        return self.distribution == HOST

    @property
    def qualified(self) -> str:
        """``dist:name``, which is never ambiguous."""
        return f"{self.distribution}:{self.name}"

    @property
    def origin(self) -> str:
        """The distribution and its version, for messages."""
        return self.distribution if self.distribution == IN_PROCESS else f"{self.distribution} {self.version}"


@dataclass(frozen=True)
class Fault:
    """A place in some distribution's ``entry_points.txt`` that cannot be read and names none of our plugins.

    Attributes:
        distribution: who wrote the file.
        version: its version.
        cause: what is wrong, in one line.
        ours: whether the file offers fusionkit plugins, so that one of them may be missing because of it.
    """

    distribution: str
    version: str
    cause: str
    ours: bool


@dataclass(frozen=True)
class Discovery:
    """Content of one group: its entries, and the faults met on the way."""

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...] = ()
