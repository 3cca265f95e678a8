"""A trainer that asks for labels gets them with its pairs: checked, in the fingerprint, and the same after resuming."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
import torch
from pydantic import Field
from safetensors.torch import load_file
from torch import Tensor, nn

from fusionkit.contracts import Fuser, MetaTrainer
from fusionkit.contracts.label_types import LabelKind
from fusionkit.data.epoch_plan import draw_epoch
from fusionkit.data.labels import find_labelled
from fusionkit.data.labels.labelled_store import LabelledStore
from fusionkit.data.pair_store import PairStore
from fusionkit.data.sample import labelled_sample
from fusionkit.errors import DataError
from fusionkit.plugins import catalogue
from fusionkit.tasks import IVIF
from fusionkit.train.run import TrainRequest, resume, start

pytestmark = pytest.mark.usefixtures("no_pictures")

_SIZE = (32, 40)


class Blend(Fuser):
    """a and b in a proportion that is learned."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.proportion = nn.Parameter(torch.zeros(()))

    def forward(self, *sources: Tensor) -> Tensor:
        share = torch.sigmoid(self.proportion)
        return share * sources[0] + (1 - share) * sources[1]


@dataclass(frozen=True)
class BrightConfig:
    """What is made bright: nothing, the pixels of class 1, or the boxes of class 0."""

    labels: str = "none"
    steps: Annotated[int, Field(ge=1, le=100)] = 6


class Bright(MetaTrainer):
    """Makes labelled people brighter than the rest."""

    Config = BrightConfig
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"only": {}}
    fuser_name = "test-blend"
    config: BrightConfig

    @classmethod
    def label_kind(cls, config: BrightConfig) -> LabelKind | None:
        kinds: dict[str, LabelKind | None] = {"none": None, "masks": "segmentation", "boxes": "detection"}
        return kinds[config.labels]

    def __init__(self, config: BrightConfig, source: Any, *, device: torch.device, precision: str, seed: int) -> None:
        self.config, self.source, self.seed = config, source, seed
        self.blend = Blend().to(device)

    @property
    def steps(self) -> int:
        return self.config.steps

    def stage(self, index: int) -> str:
        return "fusion"

    def step(self, index: int) -> dict[str, Tensor]:
        rows = draw_epoch(
            self.source.sizes, seed=self.seed, epoch=index, meta_steps=0, fusion_steps=1, batch=2, crop=16
        ).ftr[0]
        if self.config.labels == "none":
            loss = self.blend(*self.source.crops(rows, 16).sources).mean()
        else:
            batch = self.source.resized(rows, _SIZE)
            loss = -(self.blend(*batch.sources)[:, 0] * self._people(batch.targets)).mean()
        (slope,) = torch.autograd.grad(loss, [self.blend.proportion])
        with torch.no_grad():
            self.blend.proportion -= 50 * slope
        return {"total": loss.detach()}

    def _people(self, targets: Any) -> Tensor:
        if isinstance(targets, Tensor):
            return (targets == 1).float()
        people = torch.zeros(len(targets), *_SIZE)
        for image, boxes in zip(people, targets, strict=True):
            for x0, y0, x1, y1 in boxes.corners[boxes.classes == 0].round().long().tolist():
                image[y0:y1, x0:x1] = 1
        return people

    def state(self) -> dict[str, Tensor]:
        return dict(self.blend.state_dict())

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.blend.load_state_dict(dict(state))

    def fuser(self) -> Fuser:
        return self.blend


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    catalogue.fusers.register("test-blend", Blend)
    catalogue.trainers.register("test-bright", Bright)
    yield
    catalogue.fusers._registered.pop("test-blend")
    catalogue.trainers._registered.pop("test-bright")


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streets") / "streets"
    labelled_sample(IVIF, "detection", folder)
    return folder


def _request(data: Path, labels: str) -> TrainRequest:
    return TrainRequest(method="test-bright", task="ivif", data=str(data), options={"labels": labels}, device="cpu")


@pytest.mark.parametrize("labels", ["masks", "boxes"])
def test_labels_reach_the_trainer_and_people_become_brighter(streets: Path, tmp_path: Path, labels: str) -> None:
    folder = start(_request(streets, labels), tmp_path / "run", log_every=1)
    # The infrared shows people brighter: to brighten them is to take more of it.
    assert load_file(folder.model)["proportion"] > 0.05
    losses = [row["fusion.total"] for row in folder.metrics()]
    assert len(losses) == 6


def test_the_fingerprint_is_that_of_the_labelled_pairs(streets: Path, tmp_path: Path) -> None:
    runs = {labels: start(_request(streets, labels), tmp_path / labels) for labels in ("none", "masks", "boxes")}
    prints = {labels: run.record.fingerprint for labels, run in runs.items()}
    assert len(set(prints.values())) == 3
    assert prints["boxes"] == find_labelled(streets, IVIF, "detection", split="train").fingerprint()


def test_a_trainer_that_asks_for_none_gets_a_plain_store(streets: Path, tmp_path: Path) -> None:
    seen: list[type] = []

    class Watch(Bright):
        def __init__(self, config: BrightConfig, source: Any, **settings: Any) -> None:
            seen.append(type(source))
            super().__init__(config, source, **settings)

    catalogue.trainers.register("test-watch", Watch)
    try:
        for labels in ("none", "masks"):
            request = TrainRequest(
                method="test-watch", task="ivif", data=str(streets), options={"labels": labels}, device="cpu"
            )
            start(request, tmp_path / labels)
    finally:
        catalogue.trainers._registered.pop("test-watch")
    assert seen == [PairStore, LabelledStore]


class _Stop(Exception):
    pass


@pytest.mark.parametrize("labels", ["masks", "boxes"])
def test_an_interrupted_run_with_labels_ends_with_the_weights_of_one_that_was_not(
    streets: Path, tmp_path: Path, labels: str
) -> None:
    def stop(done: int, _steps: int, _losses: object) -> None:
        if done >= 4:
            raise _Stop

    one = start(_request(streets, labels), tmp_path / "one")
    with pytest.raises(_Stop):
        start(_request(streets, labels), tmp_path / "two", report=stop, checkpoint_seconds=0, log_every=1)
    two = resume(tmp_path / "two")
    assert torch.equal(load_file(one.model)["proportion"], load_file(two.model)["proportion"])


def test_a_run_does_not_go_on_with_other_labels(streets: Path, tmp_path: Path) -> None:
    data = tmp_path / "streets"
    shutil.copytree(streets, data)
    (data / "MANIFEST.csv").write_text(
        "\n".join(line.rpartition(",")[0] for line in (data / "MANIFEST.csv").read_text().splitlines())
    )

    def stop(*_: object) -> None:
        raise _Stop

    with pytest.raises(_Stop):
        start(_request(data, "boxes"), tmp_path / "run", report=stop, checkpoint_seconds=0, log_every=1)
    label = data / "label_detection" / "train-00-day.txt"
    label.write_text(label.read_text().replace("0.", "0.0", 1))
    with pytest.raises(DataError, match=r"is not the data that .* began with"):
        resume(tmp_path / "run")


def test_labels_that_do_not_fit_stop_a_run_before_it_begins(streets: Path, tmp_path: Path) -> None:
    data = tmp_path / "streets"
    shutil.copytree(streets, data)
    (data / "label_detection" / "train-01-night.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    with pytest.raises(DataError, match=r"train-01-night\.txt, line 1: unknown class id 7"):
        start(_request(data, "boxes"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
