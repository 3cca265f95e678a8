"""Names of metrics: find them, and build them with the settings of a profile."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from fusionkit.contracts import Metric
from fusionkit.errors import PluginError, UsageError, did_you_mean
from fusionkit.metrics.profiles import PROFILES, Profile, Settings, find_profile
from fusionkit.plugins import catalogue

__all__ = ["build", "conventions", "profile_metrics", "resolve", "settings_of"]


def resolve(names: Iterable[str]) -> tuple[str, ...]:
    """The registered names that ``names`` stand for: as they are, written otherwise (``"ms_ssim"``), or an alias.

    Args:
        names: metric names; ``dist:name`` where two distributions claim one.

    Returns:
        Each once, in the order given.

    Raises:
        UsageError: an unknown name; the message has the nearest known one.
    """
    known = {_folded(name): name for name in catalogue.metrics.names()}
    found: dict[str, None] = {}
    for name in names:
        folded = _folded(name)
        # Aliases are in the metrics' classes: they are loaded for a name that is not registered.
        registered = known.get(folded) or _aliases().get(folded)
        if registered is not None:
            found[registered] = None
            continue
        nearest = difflib.get_close_matches(folded, known, n=1, cutoff=0.5)
        if nearest and ":" not in name:
            raise UsageError(f"unknown metric {name!r}: {did_you_mean(known[nearest[0]], known.values())}")
        found[name if catalogue.metrics.entry(name) else ""] = None
    return tuple(found)


def _folded(name: str) -> str:
    """A name without case, hyphens and underscores: ``"MS_SSIM"`` and ``"ms-ssim"`` are one."""
    return name.strip().casefold().replace("-", "").replace("_", "")


def _aliases() -> dict[str, str]:
    """Folded alias -> the one registered metric that has it."""
    claims: dict[str, list[str]] = {}
    for name, metric in catalogue.metrics.usable().items():
        for alias in metric.info.aliases:
            claims.setdefault(_folded(alias), []).append(name)
    return {alias: owners[0] for alias, owners in claims.items() if len(owners) == 1}


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

    A metric that the profile does not list has its defaults if it is a plugin's, or if no built-in profile lists it.
    Profiles of plugins do not change what the other profiles mean.

    Args:
        name: a registered name.
        profile: the profile.

    Raises:
        fusionkit.errors.UsageError: a built-in metric that other built-in profiles list and this one does not.
    """
    if profile.settings is None:
        return {}
    listed = _listed_as(name)
    if listed in profile.settings:
        return profile.settings[listed]
    if not catalogue.metrics.entry(name).built_in:
        return _joined(name).get(profile.name, {})
    others = [other for other in _built_in_profiles() if other.settings is not None and listed in other.settings]
    if not others:
        return {}
    raise UsageError(
        f"profile {profile.name!r} has no {name}, since its code does not compute it: "
        f"take it from 'standard' or {' or '.join(repr(other.name) for other in others)}"
    )


def profile_metrics(profile: Profile) -> tuple[str, ...]:
    """List the metrics of a profile: those its code has, in its order, then those of plugins that join it.

    ``standard`` has every registered one.
    """
    if profile.settings is None:
        return tuple(catalogue.metrics.names())
    joining = [name for name in catalogue.metrics.names() if profile.name in _joined(name)]
    return tuple(dict.fromkeys([*profile.settings, *joining]))


def conventions(name: str) -> dict[str, Settings]:
    """Profile -> the fields it sets, for every profile that has a metric."""
    listed, joined = _listed_as(name), _joined(name)
    found: dict[str, Settings] = {}
    for label, profile in PROFILES.items():
        if profile.settings is None:
            found[label] = {}
        elif listed in profile.settings:
            found[label] = profile.settings[listed]
        elif label in joined:
            found[label] = joined[label]
    return found


def _joined(name: str) -> Mapping[str, Settings]:
    """The profiles that a plugin's metric joins; none if it cannot be loaded, which :func:`build` reports."""
    try:
        return {} if catalogue.metrics.entry(name).built_in else catalogue.metrics.get(name).conventions
    except PluginError:
        return {}


def _listed_as(name: str) -> str:
    """The name under which profiles list a metric: ``dist:name`` if the plain name means another metric, or two."""
    entry = catalogue.metrics.entry(name)
    claims = [other for other in catalogue.metrics.entries() if other.name == entry.name]
    return entry.name if entry.built_in or len(claims) == 1 else entry.qualified


def _built_in_profiles() -> list[Profile]:
    return [PROFILES[name] for name in PROFILES if catalogue.profiles.entry(name).built_in]
