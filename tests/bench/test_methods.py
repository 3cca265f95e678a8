"""Methods as they are asked for: names, labels and options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fusionkit.bench.methods import BenchMethod, FuserSpec, FusionSettings, load_methods, parse_fuser
from fusionkit.errors import UsageError
from fusionkit.models.shipped import choose_model
from fusionkit.models.weights import load_fuser, save_fuser
from fusionkit.plugins import catalogue


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


def test_a_record_names_the_training_data_by_the_card_or_by_the_weights_file(tmp_path: Path) -> None:
    (shipped,) = _loaded("refusion:ivif")
    assert shipped.about.trained_on == ("MSRS", "RoadScene", "TNO_extra")
    # A copy without its card: only the file itself can say it, and this one does not.
    named = choose_model(catalogue.fusers.get("refusion"), "refusion", "ivif")
    assert named is not None
    fuser, info = load_fuser(named.file)
    save_fuser(tmp_path / "bare.safetensors", fuser, info)
    (bare,) = _loaded(str(tmp_path / "bare.safetensors"))
    assert bare.about.trained_on is None
    save_fuser(tmp_path / "run.safetensors", fuser, replace(info, training={"trained_on": ["LLVIP"]}))
    (run,) = _loaded(str(tmp_path / "run.safetensors"))
    assert run.about.trained_on == ("LLVIP",)
    (control,) = _loaded("average")
    assert control.about.saw("MSRS") is False


def _loaded(text: str) -> list[BenchMethod]:
    return load_methods([parse_fuser(text)], "ivif", torch.device("cpu"), FusionSettings())
