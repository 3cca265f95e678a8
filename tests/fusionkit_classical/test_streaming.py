"""Methods that take sources one at a time: the result of all sources at once."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from fusionkit.contracts import Fuser
from fusionkit.fuse.stack import is_streamed
from fusionkit_classical.gff import Gff
from fusionkit_classical.laplacian import Laplacian, LaplacianConfig
from fusionkit_classical.mertens import Mertens
from fusionkit_classical.selection import Selection

FUSERS = {
    "laplacian": Laplacian(),
    "laplacian of lone coefficients": Laplacian(LaplacianConfig(window=1, base="maximum")),
    "laplacian without a vote": Laplacian(LaplacianConfig(consistent=False)),
    "gff": Gff(),
    "mertens": Mertens(),
}


class Reads(Sequence[Tensor]):
    """Sources that remember in which order they were looked up."""

    def __init__(self, sources: list[Tensor]) -> None:
        self.sources, self.read = sources, []

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, k):  # type: ignore[no-untyped-def]
        self.read.append(k)
        return self.sources[k]


def sources_that_tie(channels: int) -> list[Tensor]:
    """Five sources, two of them equal, with a part where all are flat and one where three are equal."""
    sources = [torch.rand(2, channels, 41, 53, generator=torch.Generator().manual_seed(k)) for k in range(4)]
    sources.append(sources[1].clone())
    for k, source in enumerate(sources):
        source[:, :, :20, :20] = 0.2 + 0.1 * k
        if k > 1:
            source[:, :, 25:, 30:] = sources[2][:, :, 25:, 30:]
    return sources


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("plain", [True, False], ids=["OpenCV", "PyTorch"])
@pytest.mark.parametrize("name", FUSERS)
def test_sources_one_at_a_time_give_the_result_of_all_at_once(name: str, plain: bool, channels: int) -> None:
    fuser, sources = FUSERS[name], sources_that_tie(channels)
    reads = Reads(sources)
    with torch.set_grad_enabled(not plain):
        fused, known = fuser.fuse_stream(reads), fuser(*sources)
    assert fused.dtype == torch.float32
    assert torch.allclose(fused, known, atol=1e-6)
    assert reads.read == [0, 1, 2, 3, 4] * 2


def test_exposures_of_which_some_are_grey_are_fused_one_at_a_time_as_at_once() -> None:
    grey = torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(0)).double()
    coloured = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(1)).double()
    coloured[0] = grey[1].flip(-1)  # both samples of the first pair are grey
    sources = [grey.expand(-1, 3, -1, -1), coloured, coloured.flip(-1)]
    fuser = Mertens()
    assert torch.allclose(fuser.fuse_stream(sources), fuser(*sources), atol=1e-9)


def test_a_pair_is_fused_in_tiles_and_a_stack_one_source_at_a_time() -> None:
    def streamed(fuser: Fuser) -> list[bool]:
        return [is_streamed(fuser, count) for count in (2, 3)]

    assert streamed(Laplacian()) == streamed(Gff()) == [False, True]
    assert streamed(Mertens()) == [True, True]


def test_a_choice_needs_all_sources_ranked_before_one_is_added() -> None:
    with pytest.raises(ValueError, match="ranked before"):
        Selection().add(torch.rand(1, 1, 8, 8))
