"""Profiles are data that can be built, and names are resolved in one way."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fusionkit.bench.published_tables import protocol_profile
from fusionkit.errors import PluginError, UsageError
from fusionkit.metrics import PROFILES, Profile, build, conventions, profiles, resolve
from fusionkit.metrics.naming import profile_metrics
from fusionkit.metrics.score_report import describe
from fusionkit.metrics.spatial_frequency import SF
from fusionkit.metrics.windows import Window
from fusionkit.plugins import catalogue
from fusionkit.tasks import IVIF, MEIF, MFIF, MIF
from tests.support.metric_scenes import scene


def test_the_published_profiles_are_there() -> None:
    assert profiles() == ("standard", "cddfuse", "ivif_zoo", "mefb", "refusion", "tang", "tdfusion", "vifb")


@pytest.mark.parametrize("profile", [p for p in PROFILES.values() if p.settings is not None], ids=lambda p: p.name)
def test_every_setting_of_a_profile_is_a_field_that_differs_from_its_default(profile: object) -> None:
    for name, settings in profile.settings.items():  # type: ignore[attr-defined]
        fields = describe(build(name))
        assert set(settings) <= set(fields), name
        for key, value in settings.items():
            assert value != fields[key], f"{name}: {key} is the default"
        built = describe(build(name, profile.name))  # type: ignore[attr-defined]
        assert all(built[key] == value or math.isnan(value) for key, value in settings.items())


@pytest.mark.parametrize("task", [IVIF, MIF, MFIF, MEIF], ids=lambda task: task.name)
def test_the_profile_of_a_task_has_its_metrics(task: object) -> None:
    chosen = PROFILES[protocol_profile(task)]  # type: ignore[arg-type]
    assert set(resolve(task.metrics)) <= set(profile_metrics(chosen))  # type: ignore[attr-defined]


def test_one_name_means_several_numbers() -> None:
    images = scene(64, 64)
    values = {p: float(build("SSIM", p)(*images)) for p in ("standard", "refusion", "tdfusion", "cddfuse", "tang")}
    assert len({round(value, 3) for value in values.values()}) == len(values)
    assert values["cddfuse"] == pytest.approx(2 * values["refusion"])
    assert float(build("MI", "cddfuse")(*images)) == pytest.approx(math.log(2) * float(build("MI")(*images)))
    assert float(build("VIFp", "cddfuse")(*images)) == pytest.approx(2 * float(build("VIFp", "tdfusion")(*images)))


def test_mefbs_mef_ssim_is_the_one_over_three_scales() -> None:
    # Its metricsMEF_SSIM.m calls mef_ms_ssim.m with that function's defaults.
    assert describe(build("MEF-SSIM", "mefb"))["scales"] == 3
    images = scene(64, 64)
    assert torch.equal(build("MEF-SSIM", "mefb")(*images), build("MEF-SSIM", "tang")(*images))


def test_names_are_known_in_any_case_and_given_back_as_registered() -> None:
    assert resolve(["ssim", "VIFP", "en", "EN", "ms-ssim"]) == ("SSIM", "VIFp", "EN", "MS-SSIM")


def test_an_unknown_name_meets_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match="unknown metric 'ssm': did you mean 'SSIM'"):
        resolve(["EN", "ssm"])
    with pytest.raises(UsageError, match="unknown metric profile 'cdfuse': did you mean 'cddfuse'"):
        build("EN", "cdfuse")


def test_a_metric_that_the_code_of_a_profile_lacks_is_refused_with_profiles_that_have_it() -> None:
    with pytest.raises(UsageError, match=r"profile 'cddfuse' has no NMI.*'standard' or 'ivif_zoo' or 'mefb'"):
        build("NMI", "cddfuse")


def test_a_metric_that_no_published_code_has_means_the_same_everywhere() -> None:
    assert build("CC-a", "refusion") == build("CC-a")
    assert set(conventions("CC-a")) == {"standard"}


def test_a_metric_of_another_distribution_keeps_its_own_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.metrics, "_registered", {})

    class Sharp(SF):
        info = SF.info.__class__(**{**SF.info.__dict__, "name": "Sharp"})

    catalogue.metrics.register("Sharp", Sharp)
    assert resolve(["sharp"]) == ("Sharp",)
    assert isinstance(build("Sharp", "vifb"), Sharp)
    assert build("Sharp", "vifb") == Sharp(per="difference")
    assert set(conventions("Sharp")) == {"standard"}


def test_the_values_under_every_profile_are_those_from_before_profiles_were_plugins() -> None:
    images = scene(168, 176)
    kept = json.loads((Path(__file__).parent / "profile_values.json").read_text())
    assert set(kept) == set(profiles()) - {"standard"}
    for profile, values in kept.items():
        assert list(values) == list(profile_metrics(PROFILES[profile]))
        for name, value in values.items():
            assert float(build(name, profile)(*images)) == pytest.approx(value, rel=1e-6, nan_ok=True), (profile, name)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> type[SF]:
    """A metric of another distribution, and a profile of its own that has it."""
    monkeypatch.setattr(catalogue.metrics, "_registered", {})
    monkeypatch.setattr(catalogue.profiles, "_registered", {})

    class Own(SF):
        info = replace(SF.info, name="Own")
        conventions = {"vifb": {"per": "pixel"}}

    catalogue.metrics.register("Own", Own)
    settings = {"Own": {"per": "pixel"}, "SSIM": {"reduction": "sum"}, "CC-a": {"undefined": math.nan}}
    catalogue.profiles.register("paper", Profile(name="paper", title="t", source="s", settings=settings))
    return Own


def test_a_plugins_profile_sets_its_own_metrics_and_built_in_ones(own: type[SF]) -> None:
    assert profiles()[0] == "standard"
    assert "paper" in profiles()
    assert profile_metrics(PROFILES["paper"]) == ("Own", "SSIM", "CC-a")
    assert build("own", "paper") == own(per="pixel")
    assert build("SSIM", "paper") == build("SSIM", "vifb")
    with pytest.raises(UsageError, match=r"profile 'paper' has no NMI.*'standard' or 'ivif_zoo' or 'mefb'"):
        build("NMI", "paper")


def test_a_plugins_metric_joins_a_profile(own: type[SF]) -> None:
    assert build("Own", "vifb") == own(per="pixel")
    assert build("Own", "tang") == own()
    assert profile_metrics(PROFILES["vifb"])[-1] == "Own"
    assert conventions("Own") == {"standard": {}, "paper": {"per": "pixel"}, "vifb": {"per": "pixel"}}


def test_a_plugins_profile_changes_nothing_in_the_built_in_ones(own: type[SF]) -> None:
    assert build("CC-a", "refusion") == build("CC-a"), "that a plugin's profile lists it does not keep it from others"
    with pytest.raises(UsageError) as refused:
        build("NMI", "cddfuse")
    assert "paper" not in str(refused.value)


def test_a_profile_that_cannot_be_loaded_is_left_out_of_lists_and_told_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fusionkit.profiles]\nlost = no_such_module_at_all:PROFILE\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(catalogue.profiles, "_found", None)
    monkeypatch.setattr(catalogue.profiles, "_failed", {})
    assert "lost" not in profiles()
    assert "vifb" in profiles()
    with pytest.raises(PluginError, match=r"metric profile 'lost' of broken 1\.0 cannot be used: load"):
        build("EN", "lost")


def test_a_blank_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="profile x: title may not be blank"):
        Profile(name="x", title="", source="s", settings=None)


def test_a_metric_that_cannot_be_built_without_settings_is_a_plugin_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.metrics, "_registered", {})

    class Needy(SF):
        info = SF.info.__class__(**{**SF.info.__dict__, "name": "Needy"})

        def __init__(self, strength: float) -> None:
            super().__init__()

    catalogue.metrics.register("Needy", Needy)
    with pytest.raises(PluginError, match=r"metric 'Needy' cannot be built with its defaults.*strength"):
        build("Needy")


def test_windows_say_what_they_are() -> None:
    assert str(Window(7)) == "7x7 uniform"
    assert str(Window(11, 1.5)) == "11x11 Gaussian, sigma 1.5"


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("SSIM", {"reduction": "max"}),
        ("SSIM", {"padding": "zero"}),
        ("SF", {"per": "pixels"}),
        ("AG", {"per": "difference"}),
        ("PSNR", {"error": "rmse"}),
        ("PSNR", {"peak": "max"}),
        ("NMI", {"by": "pair"}),
        ("QTE", {"form": "navas"}),
        ("QNCIE", {"by": "pearsons"}),
    ],
)
def test_an_unknown_word_in_a_setting_is_a_usage_error(name: str, settings: dict[str, str]) -> None:
    (word,) = settings.values()
    with pytest.raises(UsageError, match=f"{word!r} is unknown: .*known: "):
        type(build(name))(**settings)(*scene(20, 20))


def test_settings_are_compared_by_value() -> None:
    assert build("SSIM") == build("SSIM")
    assert build("SSIM") != build("SSIM", "vifb")
    assert torch.equal(build("SSIM")(*scene(20, 20)), build("SSIM")(*scene(20, 20)))
