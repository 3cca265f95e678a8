"""What a fuser can do, as data: impossible values are refused, and the older way to state it is still read."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from fusionkit.contracts import Capabilities, Fuser
from fusionkit.errors import UsageError


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dtypes": ()}, "dtypes is ()"),
        ({"dtypes": (torch.uint8,)}, "dtypes is (torch.uint8,)"),
        ({"dtypes": [torch.float32]}, "give a tuple"),
        ({"min_size": 0}, "min_size is 0: give a whole number, 1 or more"),
        ({"multiple": 2.0}, "multiple is 2.0"),
        ({"min_sources": 1}, "min_sources is 1: give a whole number, 2 or more"),
        ({"max_sources": 2, "min_sources": 3}, "max_sources is 2: give a whole number, 3 or more"),
        ({"halo": -1}, "halo is -1"),
    ],
)
def test_impossible_values_are_refused_in_one_line(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Capabilities(**given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_they_can_be_written_as_json() -> None:
    plain = json.loads(json.dumps(Capabilities(dtypes=(torch.bfloat16, torch.float32), max_sources=None).as_dict()))
    assert plain == {
        "dtypes": ["bfloat16", "float32"],
        "min_size": 1,
        "multiple": 1,
        "min_sources": 2,
        "max_sources": None,
        "halo": None,
        "grid": None,
        "needs_cuda": False,
        "square": False,
    }


def test_max_sources_of_a_class_is_still_read_and_answered_with_the_new_name() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"Old\.max_sources: write capabilities = Capabilities\(max_sources=5\)"
    ):

        class Old(Fuser):
            max_sources = 5

            def forward(self, *sources: Tensor) -> Tensor:
                return sources[0]

    class Below(Old):
        """Inherits what its parent stated."""

    assert Old.capabilities == Below().capabilities == Capabilities(max_sources=5)
    assert Fuser.capabilities.max_sources == 2
