"""The page on where metrics disagree says of every published convention how it differs."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from fusionkit.metrics import PROFILES, MetricInputs, build
from tests.support.metric_scenes import scene

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import metric_disagreement as disagreement


def test_every_convention_says_why_it_differs_and_every_why_has_one() -> None:
    found = disagreement.conventions()
    assert all(convention.why for convention in found)
    known = {(metric, frozenset(profiles.split())) for metric, profiles in disagreement.WHY}
    assert {(c.metric, frozenset(c.profiles)) for c in found} == known


def test_every_setting_of_every_profile_is_among_the_conventions() -> None:
    shown = {(c.metric, profile) for c in disagreement.conventions() for profile in c.profiles}
    for profile in PROFILES.values():
        for name, settings in (profile.settings or {}).items():
            assert ((name, profile.name) in shown) == (not set(settings) <= disagreement.ONLY_UNDEFINED)


def test_what_is_left_out_changes_no_value_of_a_real_image() -> None:
    images = MetricInputs(*scene(64, 80, seed=12))
    for profile in PROFILES.values():
        for name, settings in (profile.settings or {}).items():
            if settings and set(settings) <= disagreement.ONLY_UNDEFINED and name != "QP":
                ours, theirs = build(name).measure(images), build(name, profile.name).measure(images)
                assert torch.allclose(ours, theirs, rtol=1e-12), (profile.name, name)


def test_the_table_shows_factors_ranks_and_means() -> None:
    metric = build("MI")
    images = [("set", "pair", method) for method in ("one", "two", "three")]
    base = disagreement.Convention("MI", ("standard",), metric, dict(zip(images, (1.0, 2.0, 3.0), strict=True)))
    twice = disagreement.Convention("MI", ("tang",), metric, dict(zip(images, (2.0, 4.0, 6.0), strict=True)))
    other = disagreement.Convention("MI", ("tang",), metric, dict(zip(images, (3.0, 2.0, 1.0), strict=True)))
    text = disagreement.table([twice, other], {"MI": base}, ("one", "two", "three"))
    assert "| 4 | +100 % | +100 % to +100 % | 1.00 | three |" in text
    assert "| 2 | 0 % | -67 % to +200 % | -1.00 | one |" in text
