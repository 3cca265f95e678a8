"""Weight maps beside the results: what they show, when they are drawn again, and that they cost no result."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from fusionkit.bench import image_scores
from fusionkit.bench.benchmark import BenchRequest, Outcome, run_bench
from fusionkit.bench.paths import record_path
from fusionkit.bench.quality_scorer import QualityScorer
from fusionkit.bench.record_files import read_record
from fusionkit.bench.records import Record
from fusionkit.bench.weight_maps import learned_proposer
from fusionkit.config import as_dict, resolve
from fusionkit.contracts import Fuser
from fusionkit.data.pair_store import PairStore
from fusionkit.models.weights import WeightsInfo, save_fuser
from fusionkit.plugins import catalogue
from fusionkit.tasks import IVIF
from fusionkit.train.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from fusionkit.train.run_folder import RunFolder, RunRecord
from fusionkit_refusion.trainer import ReFusionOptions, ReFusionTrainer
from tests.support import benchtoys
from tests.support.benchtoys import BenchMean, make_pairs

MAPS = Path("out/maps/ivif/scenes")
SAID: list[str] = []
SMALL = {
    "trainer": {"epochs": 1, "meta_steps": 1, "fusion_steps": 1, "batch": 1, "crop": 16, "warmup": 0},
    "fuser": {"dim": 4, "heads": 2, "blocks": 1},
    "proposer": {"dim": 4, "heads": 2, "blocks": 1},
    "reconstructor": {"dim": 4, "heads": 2, "blocks": 1},
}


class BenchShare(Fuser):
    """Weighs the first source by its own grey level; refuses to show that of a white corner."""

    calls: ClassVar[int] = 0
    what: ClassVar[str] = "good"

    def forward(self, *sources: Tensor) -> Tensor:
        a, b = sources
        return a * a + (1 - a) * b

    def maps(self, *sources: Tensor) -> Mapping[str, Tensor]:
        type(self).calls += 1
        if self.what == "raises":
            raise RuntimeError("no maps today")
        if self.what == "nan":
            return {"w_a": sources[0] * torch.nan}
        return {"w_a": sources[0][:, :, 1:] if self.what == "small" else sources[0]}


@pytest.fixture(autouse=True)
def _toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    benchtoys.register_for_a_test(monkeypatch)
    catalogue.fusers.register("bench-share", BenchShare)
    monkeypatch.setattr(BenchShare, "calls", 0)
    monkeypatch.setattr(BenchShare, "what", "good")
    monkeypatch.chdir(tmp_path)
    make_pairs(tmp_path / "scenes", ["p0", "p1"])
    yield
    image_scores.metric_use.cache_clear()


def bench(*fusers: str, **changes: Any) -> Outcome:
    SAID.clear()
    asked: dict[str, Any] = {"tasks": ("ivif",), "metrics": ("EN",), "device": "cpu", "data": ("scenes",)} | changes
    scorer = QualityScorer(**{name: asked.pop(name) for name in ("metrics", "profile", "maps") if name in asked})
    return run_bench(BenchRequest(fusers=fusers, scorer=scorer, **asked), Path("out"), say=SAID.append)


def stored(method: str) -> Record:
    return read_record(record_path(Path("out"), "ivif", "scenes", "refusion", method), Record)


def luminance(file: str) -> np.ndarray:
    pixels = cv2.imread(file, cv2.IMREAD_COLOR)
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2YCrCb)[..., 0]


def test_the_maps_of_a_fuser_lie_beside_its_results() -> None:
    assert bench("bench-share", "bench-mean", "average").failures == 0
    assert [image.maps for image in stored("bench-share").images] == [("w_a",), ("w_a",)]
    for name in ("p0", "p1"):
        shown = cv2.imread(str(MAPS / f"bench-share/{name}.w_a.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(shown, luminance(f"scenes/ir/{name}.png"))
    # One has no maps, the other has no method that gives maps.
    assert [image.maps for image in stored("average").images] == [(), ()]
    assert [image.maps for image in stored("bench-mean").images] == [None, None]
    assert [place.name for place in MAPS.iterdir()] == ["bench-share"]


def test_maps_are_drawn_once_and_when_they_are_lost_and_never_fuse_again() -> None:
    bench("bench-share", maps=False)
    assert not MAPS.exists()
    before = stored("bench-share")
    bench("bench-share")
    assert BenchShare.calls == 2
    after = stored("bench-share")
    assert [image.model_copy(update={"maps": None}) for image in after.images] == list(before.images)
    bench("bench-share")
    assert BenchShare.calls == 2
    (MAPS / "bench-share/p1.w_a.png").unlink()
    bench("bench-share", metrics=("SD",), maps=False)
    assert stored("bench-share").images[1].maps == ("w_a",)
    bench("bench-share")
    assert BenchShare.calls == 3
    assert (MAPS / "bench-share/p1.w_a.png").is_file()
    shutil.copy("scenes/vi/p1.png", "scenes/ir/p0.png")  # another source: other maps
    bench("bench-share")
    assert BenchShare.calls == 4


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("raises", "RuntimeError: no maps today"),
        ("small", "the map w_a is (1, 1, 23, 32), not (1, 1, 24, 32)"),
        ("nan", "the map w_a has values that are not finite"),
    ],
)
def test_maps_that_fail_cost_no_result(what: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BenchShare, "what", what)
    assert bench("bench-share").failures == 0
    assert f"note: bench-share on ivif scenes: p0, p1: no weight maps: {why}" in SAID[0]
    assert [image.scores["EN"] is None for image in stored("bench-share").images] == [False, False]
    monkeypatch.setattr(BenchShare, "what", "good")
    bench("bench-share")
    assert SAID == []
    assert [(image.maps, image.unmapped) for image in stored("bench-share").images] == [(("w_a",), "")] * 2


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder with untrained networks: what is loaded does not depend on how good they are."""
    options = resolve(ReFusionOptions, ("--set", SMALL))
    store = PairStore(IVIF, [[torch.zeros(1, 16, 16, dtype=torch.uint8)] * 2] * 2, device=torch.device("cpu"))
    trainer = ReFusionTrainer(options, store, device=torch.device("cpu"), seed=4)
    record = RunRecord("refusion", "ivif", "scenes", "train", "paper", SMALL, 4, "cpu", "fp32", 2, "0" * 64)
    run = RunFolder.create(tmp_path_factory.mktemp("runs") / "tiny", record, as_dict(options))
    save_checkpoint(run.path, Checkpoint(7, trainer.state()))
    info = WeightsInfo(fuser="refusion", task="ivif", config=as_dict(trainer.fuser().config))
    save_fuser(run.model, trainer.fuser(), info)
    return run.path


def test_a_run_shows_what_its_loss_proposer_learned(trained: Path) -> None:
    assert bench(f"ours={trained}").failures == 0
    assert [image.maps for image in stored("ours").images] == [("w_a", "v_a"), ("w_a", "v_a")]
    proposer = learned_proposer(trained)
    assert proposer is not None
    sources = [torch.from_numpy(luminance(f"scenes/{side}/p1.png"))[None, None].float() / 255 for side in ("ir", "vi")]
    with torch.no_grad():
        proposal = proposer(*sources)
    for name in ("w", "v"):
        shown = cv2.imread(str(MAPS / f"ours/p1.{name}_a.png"), cv2.IMREAD_UNCHANGED).astype(float)
        expected = proposal[name][0, 0].double().numpy() * 255
        # The toolkit's luminance is not rounded to 8 bits before, OpenCV's is.
        assert np.abs(shown - expected).max() < 3


def test_what_was_learned_is_the_proposer_of_the_last_checkpoint(trained: Path) -> None:
    kept = load_checkpoint(trained)
    assert kept is not None
    proposer = learned_proposer(trained)
    assert proposer is not None
    own = {name.removeprefix("proposer."): value for name, value in kept.state.items() if name.startswith("proposer.")}
    assert own.keys() == proposer.state_dict().keys()
    assert all(torch.equal(value, own[name]) for name, value in proposer.state_dict().items())


def test_fixed_weights_and_a_run_without_its_checkpoint_have_no_maps(trained: Path) -> None:
    assert ReFusionTrainer.proposer_of(ReFusionOptions(proposal="equal"), {}) is None
    assert learned_proposer(Path("scenes")) is None
    shutil.copytree(trained, "slim", ignore=shutil.ignore_patterns("checkpoints"))
    assert learned_proposer(Path("slim")) is None
    bench("slim=./slim")
    assert not MAPS.exists()


def test_a_damaged_checkpoint_is_noted_and_the_run_is_compared_all_the_same(trained: Path) -> None:
    shutil.copytree(trained, "damaged")
    for file in Path("damaged/checkpoints").glob("*.safetensors"):
        file.write_bytes(b"spoilt")
    assert bench("ours=damaged").failures == 0
    assert SAID[0].startswith("note: no weight maps of ours: damaged/checkpoints")
    assert len(stored("ours").images) == 2


@pytest.mark.parametrize("stretch", ["full", "none"])
def test_every_method_is_stretched_as_asked(stretch: Any) -> None:
    calls = BenchMean.calls
    bench("bench-mean")
    bench("bench-mean", stretch=stretch)
    own = stored("bench-mean")
    assert (own.method.stretch, own.method.own_stretch) == (stretch, "none")
    for image in own.images:
        grey = luminance(str(Path("out") / image.fused)).astype(int)
        mean = (luminance(f"scenes/ir/{image.name}.png").astype(float) + luminance(f"scenes/vi/{image.name}.png")) / 2
        if stretch == "full":
            mean = (mean - mean.min()) / (mean.max() - mean.min()) * 255
        # Colours that a stretched luminance cannot carry are cut off, which moves it.
        assert np.median(np.abs(grey - mean)) <= 1
    # The same again is nothing new; the other stretch is another result.
    assert BenchMean.calls - calls == (6 if stretch == "full" else 3)
