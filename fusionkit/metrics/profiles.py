"""Profiles: for every metric the convention that its value is computed under, as data.

One name means several numbers in this field, so a value is given with its profile. ``standard`` is every metric's
own defaults: as its paper defines it, bug-free, defined on every image. The others stand for published code, bugs
included. A published profile lists the metrics that its code has: name -> the fields of the metric's class that differ
from the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

__all__ = ["PROFILES", "Profile"]

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A named set of conventions.

    Attributes:
        name: what results are labelled with.
        title: what it stands for.
        source: the code or paper it follows.
        settings: metric -> fields that differ from the defaults; None for "every metric, with its defaults".
    """

    name: str
    title: str
    source: str
    settings: Mapping[str, Settings] | None


STANDARD = Profile(
    name="standard",
    title="every metric as its own paper defines it, defined on every image; means over the sources",
    source="the papers named by each metric",
    settings=None,
)

PROFILES: Mapping[str, Profile] = MappingProxyType({p.name: p for p in (STANDARD,)})
