"""From names to metrics: which are known, and how each is set up under a profile."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from fusionkit.contracts import Metric
from fusionkit.errors import PluginError, UsageError, did_you_mean
from fusionkit.metrics.profiles import PROFILES, Profile, Settings, find_profile
from fusionkit.plugins import catalogue

__all__ = ["build", "conventions", "profile_metrics", "resolve", "settings_of"]


def resolve(names: Iterable[str]) -> tuple[str, ...]:
    """The registered names that ``names`` stand for: as they are, or in another case (``"ssim"``).

    Args:
        names: metric names; ``dist:name`` where two distributions claim one.

    Returns:
        Each once, in the order given.

    Raises:
        UsageError: an unknown name; the message has the nearest known one.
    """
    known = {name.casefold(): name for name in catalogue.metrics.names()}
    found: dict[str, None] = {}
    for name in names:
        folded = name.strip().casefold()
        if folded in known:
            found[known[folded]] = None
            continue
        nearest = difflib.get_close_matches(folded, known, n=1, cutoff=0.5)
        if nearest and ":" not in name:
            raise UsageError(f"unknown metric {name!r}: {did_you_mean(known[nearest[0]], known.values())}")
        found[name if catalogue.metrics.entry(name) else ""] = None
    return tuple(found)


def build(name: str, profile: str = "standard") -> Metric:
    """A metric under a profile.

    Args:
        name: a metric name, in any case.
        profile: a profile name.

    Returns:
        An instance, called as ``metric(fused, *sources)``.

    Raises:
        UsageError: an unknown name or profile, or a metric that the profile's code does not have.
        PluginError: the metric is of a plugin that cannot be used.
    """
    chosen = find_profile(profile)
    (known,) = resolve([name])
    cls = catalogue.metrics.get(known)
    settings = settings_of(known, chosen)
    try:
        return cls(**settings)
    except TypeError as error:
        raise PluginError(f"metric {known!r} cannot be built with {settings or 'its defaults'}: {error}") from error


def settings_of(name: str, profile: Profile) -> Settings:
    """The fields of a metric that a profile sets.

    A metric that no published profile has means the same under all of them: its defaults. That goes for every
    third-party metric.

    Raises:
        UsageError: other published profiles have the metric and this one has not.
    """
    if profile.settings is None or not catalogue.metrics.entry(name).built_in:
        return {}
    if name in profile.settings:
        return profile.settings[name]
    others = [other.name for other in PROFILES.values() if other.settings is not None and name in other.settings]
    if not others:
        return {}
    raise UsageError(
        f"profile {profile.name!r} has no {name}, since its code does not compute it: "
        f"take it from 'standard' or {' or '.join(map(repr, others))}"
    )


def profile_metrics(profile: Profile) -> tuple[str, ...]:
    """The metrics of a profile: those its code has, in its order, or for ``standard`` every registered one."""
    if profile.settings is None:
        return tuple(catalogue.metrics.names())
    return tuple(profile.settings)


def conventions(name: str) -> dict[str, Settings]:
    """Profile -> the fields it sets, for every profile that has a metric."""
    return {
        profile.name: {} if profile.settings is None else profile.settings[name]
        for profile in PROFILES.values()
        if profile.settings is None or (name in profile.settings and catalogue.metrics.entry(name).built_in)
    }
