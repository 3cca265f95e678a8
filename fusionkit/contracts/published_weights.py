"""Weights that a method's authors published, as data: where they are, their terms, and how to recognise them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PublishedWeights"]


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """Weights that a fuser can import. Nothing is downloaded, and none of them is shipped.

    Attributes:
        title: their name in words.
        source: address where the authors publish them.
        licence: their terms, or ``"none stated"``: without a licence they may not be passed on.
        files: names of the published files; several make up one set.
        sha256: digests of these files.
        parameters: number of published parameters; those that never act may be left out of the fuser.
        tasks: the tasks that the options are for; () for every task of the fuser.
        options: options of the fuser that belong to the weights and that no shape tells.
        trained_on: names of the data sets that they were trained on; None where that is not known.
    """

    title: str
    source: str
    licence: str
    files: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    parameters: int = 0
    tasks: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    trained_on: tuple[str, ...] | None = None

    @property
    def terms(self) -> str:
        """The terms in words, for a line of a message."""
        return (
            "no licence is stated: do not pass them on" if self.licence == "none stated" else f"{self.licence} licence"
        )
