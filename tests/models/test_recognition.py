"""Published weights are recognised by names and shapes; what fits several, or none, is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from fusionkit.cli.weights import command
from fusionkit.contracts import Fuser, PublishedWeights
from fusionkit.errors import DataError, UsageError
from fusionkit.models.contents import describe_file, tree_lines
from fusionkit.models.recognition import import_published, recognise
from fusionkit.models.weights import load_fuser
from fusionkit.plugins import catalogue


@dataclass(frozen=True)
class ToyOptions:
    width: int = 3
    mode: str = "x"


class Toy(Fuser):
    Config = ToyOptions
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = (
        PublishedWeights(title="Toy-X", source="https://x", licence="none stated", tasks=("ivif", "mif")),
        PublishedWeights(
            title="Toy-Y",
            source="https://x",
            licence="MIT",
            tasks=("meif",),
            options={"mode": "y"},
            trained_on=("MEFB", "SICE"),
        ),
    )

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.layer = nn.Conv2d(1, self.config.width, 1)

    def forward(self, *sources: Tensor) -> Tensor:
        return sources[0] + 0 * self.layer(sources[0]).sum()

    @classmethod
    def rename_published(cls, name: str) -> str | None:
        return {"toy_w": "layer.weight", "toy_b": "layer.bias", "toy_dead": ""}.get(name)

    @classmethod
    def published_options(cls, tensors: Mapping[str, Tensor]) -> Mapping[str, Any]:
        return {"width": len(tensors["layer.bias"])} if "layer.bias" in tensors else {}


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue.fusers, "_registered", {})
    catalogue.fusers.register("toy", Toy)


TENSORS = {"toy_w": torch.ones(5, 1, 1, 1), "toy_b": torch.zeros(5), "toy_dead": torch.ones(2)}


def _saved(tmp_path: Path, contents: Any, name: str = "x.pth") -> Path:
    torch.save(contents, tmp_path / name)
    return tmp_path / name


def test_options_are_read_from_shapes_and_from_the_task(tmp_path: Path) -> None:
    file = _saved(tmp_path, TENSORS)
    fuser, info, weights = import_published((file,), task="meif")
    assert (fuser.config.width, fuser.config.mode) == (5, "y")
    assert weights is not None
    assert info.training["licence"] == weights.licence == "MIT"
    assert info.training["trained_on"] == ["MEFB", "SICE"]
    assert "trained_on" not in import_published((file,), task="ivif")[1].training
    assert import_published((file,), options={"mode": "y"})[0].config.mode == "y"


def test_weights_that_fit_twice_are_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x\.pth: fits 2 descriptions: Toy-X for ivif, mif .* Toy-Y .*--task"):
        import_published((_saved(tmp_path, TENSORS),))


def test_the_nearest_network_is_named_with_what_is_lacking(tmp_path: Path) -> None:
    file = _saved(tmp_path, {"toy_w": TENSORS["toy_w"], "strange": torch.ones(1)})
    with pytest.raises(DataError, match=r"nearest is Toy-X .*lacks 1: layer\.bias; has no place for 1: strange"):
        import_published((file,))
    with pytest.raises(DataError, match="not the weights of a network that is known here"):
        import_published((_saved(tmp_path, {"a": torch.ones(1)}),))


def test_wrapped_and_parallel_names_are_recognised(tmp_path: Path) -> None:
    wrapped = {"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in TENSORS.items()}}
    contents = describe_file(_saved(tmp_path, wrapped))
    assert contents.wrappers == ("state_dict", "module.")
    assert contents.values == {"epoch": "3"}
    assert "Toy-X" in contents.network
    fuser, _, _ = import_published((tmp_path / "x.pth",), task="ivif")
    assert torch.equal(fuser.state_dict()["layer.weight"], TENSORS["toy_w"])


def test_the_tree_names_aliases_and_shapes(tmp_path: Path) -> None:
    shared = torch.ones(2, 3)
    file = _saved(tmp_path, {"a": {"w": shared, "v": shared}, "b": torch.zeros(1)})
    lines = tree_lines(describe_file(file))
    assert "  a" in lines
    assert "    w: float32 2x3" in lines
    assert "    v: float32 2x3  (same memory as a.w)" in lines
    assert lines[-1] == "network: none that is known here"


def test_a_name_that_two_files_hold_is_refused(tmp_path: Path) -> None:
    one, two = _saved(tmp_path, TENSORS, "1.pth"), _saved(tmp_path, TENSORS, "2.pth")
    with pytest.raises(DataError, match=r"2\.pth: holds 'toy_b', which an earlier file holds too"):
        import_published((one, two))


def test_the_exact_file_is_told_by_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fusionkit.io.digest import file_digest

    file = _saved(tmp_path, TENSORS)
    other, exact = Toy.published_weights
    known = PublishedWeights(**{**vars(exact), "sha256": (file_digest(file),)})
    monkeypatch.setattr(Toy, "published_weights", (other, known))
    _, info, weights = import_published((file,))
    assert weights is known
    assert info.training["as_published"] is True


def test_the_command_says_the_licence_and_reads_the_former_form(tmp_path: Path) -> None:
    file, out = _saved(tmp_path, TENSORS), tmp_path / "o.safetensors"
    run = CliRunner().invoke(command, ["import", "toy", str(file), "-o", str(out), "--task", "mif"])
    assert run.exit_code == 0, run.output
    assert "--fuser toy" in run.stderr
    assert "no licence is stated: do not pass them on" in run.stderr
    assert load_fuser(out)[1].fuser == "toy"


def test_a_pickle_with_code_is_not_opened(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "made"), "w"))

    file = _saved(tmp_path, {"state_dict": TENSORS, "x": Payload()})
    with pytest.raises(DataError, match="holds more than tensors"):
        describe_file(file)
    assert not (tmp_path / "made").exists()


def test_no_candidate_of_another_task(tmp_path: Path) -> None:
    assert [c.weights.title for c in recognise(TENSORS, task="meif")] == ["Toy-Y"]
