"""What the outer loss thinks of maps made by hand, on the built-in sample with a schedule of a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.paper.__main__ import main
from benchmarks.paper.maps import COLUMNS, HandMaps, HandOptions
from fusionkit.data.pair_finding import find_pairs
from fusionkit.data.pair_store import decode_source
from fusionkit.fuse.tensors import stretch_range
from fusionkit.metrics import score
from fusionkit.tasks import IVIF
from tests.benchmarks.paper.test_recipe import SMALL


def _run(out: Path, *words: str) -> int:
    given = ["maps", "--out", str(out), "--device", "cpu", "--quiet", "--schedule", "quick:40", "--limit", "1"]
    return main([*given, "--set", "trainer.crop=16", "--set", "trainer.batch=2", *SMALL, *words])


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("maps")
    assert _run(out, "--row", "half", "--row", "a-stronger", "--seed", "0", "--seed", "1") == 0
    (panel,) = json.loads((out / "maps.json").read_text())["panels"]
    assert panel["metrics"] == list(COLUMNS)
    return {line["method"]: line for line in panel["lines"]}


def test_maps_by_hand_are_the_rule_at_every_pixel() -> None:
    a, b = torch.rand(2, 1, 1, 12, 12, dtype=torch.float64)
    proposal = HandMaps(HandOptions(w="brighter", v="half"))(a, b)
    assert torch.equal(proposal["w"][:, :1] == 1, a > b)
    assert torch.equal(proposal["w"].sum(1), torch.ones(1, 12, 12, dtype=torch.float64))
    assert bool((proposal["v"] == 0.5).all())


def test_equal_maps_are_worth_what_the_average_is(lines: dict[str, dict[str, Any]]) -> None:
    pair = find_pairs("sample", IVIF, split="test")[0]
    a, b = (decode_source(file, "luminance")[None].float() for file in pair.files)
    average = (255 * stretch_range((a + b) / 2)).round()
    known = score(average, a, b, metrics=["SCD", "Qabf"], profile="refusion")
    line = lines["w = v = 1/2"]
    for name in ("SCD", "Qabf"):
        assert line["values"][name] == pytest.approx(float(known[name]), abs=2e-3)
        # Nothing was learned that it could depend on, but R and with it L_r was.
        assert line["spread"][name] == 0
    assert line["spread"]["L_r"] > 0


def test_a_source_that_takes_all_the_intensity_is_the_one_that_is_kept(lines: dict[str, dict[str, Any]]) -> None:
    values = lines["w source a, v the stronger gradient"]["values"]
    assert values["CC-a"] > values["CC-b"]


@pytest.mark.parametrize(
    ("given", "said"), [("trainer.meta_steps=0", "no meta steps"), ("proposer.gradient=magnitude", "no minimiser")]
)
def test_what_teaches_nothing_at_the_minimiser_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, said: str
) -> None:
    assert _run(tmp_path, "--set", given) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "maps.md").exists()
