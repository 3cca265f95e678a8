"""Methods as they are asked for: names, labels and options."""

from __future__ import annotations

import pytest
import torch

from fusionkit.bench.methods import FuserSpec, FusionSettings, load_methods, parse_fuser
from fusionkit.errors import UsageError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("gff", FuserSpec("gff", "gff")),
        ("wide=gff", FuserSpec("wide", "gff")),
        ("gff:base_radius=8", FuserSpec("gff:base_radius=8", "gff", options=("base_radius=8",))),
        ("wide=gff:base_radius=8", FuserSpec("wide", "gff", options=("base_radius=8",))),
        (
            "gff:base_radius=8,base_epsilon=0.1",
            FuserSpec("gff:base_radius=8,base_epsilon=0.1", "gff", options=("base_radius=8", "base_epsilon=0.1")),
        ),
        ("refusion:ivif@v1", FuserSpec("refusion:ivif@v1", "refusion:ivif@v1")),
    ],
)
def test_a_fuser_is_a_model_with_a_label_and_options(text: str, spec: FuserSpec) -> None:
    assert parse_fuser(text) == spec


def test_options_are_in_the_record_and_in_the_identity() -> None:
    usual, wide = load_methods(
        [parse_fuser("gff"), parse_fuser("gff:base_radius=8")], "ivif", torch.device("cpu"), FusionSettings()
    )
    assert wide.about.config["base_radius"] == 8
    assert wide.about.config.keys() == usual.about.config.keys()
    assert wide.identity != usual.identity


def test_a_wrong_option_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="unknown option 'r'"):
        load_methods([parse_fuser("gff:r=8")], "ivif", torch.device("cpu"), FusionSettings())


def test_another_speed_is_in_the_record_and_in_the_identity() -> None:
    asked, cpu = [parse_fuser("gff")], torch.device("cpu")
    (exact,), (half,) = (load_methods(asked, "ivif", cpu, FusionSettings(speed=speed)) for speed in ("exact", "half"))
    assert (exact.about.speed, half.about.speed) == ("exact", "half")
    assert half.about.fuser == exact.about.fuser
    assert half.identity != exact.identity
