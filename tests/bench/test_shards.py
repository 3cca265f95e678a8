"""Shares of a bench: together they are the whole, and a broken environment is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.bench.shards import Shard, shard_from
from fusionkit.errors import UsageError


@given(st.lists(st.integers(), unique=True), st.integers(1, 5))
def test_the_shares_of_all_processes_are_everything_once(items: list[int], world: int) -> None:
    shares = [Shard(rank, world).of(items) for rank in range(world)]
    assert sorted(item for share in shares for item in share) == sorted(items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_one_process_has_everything_and_waits_for_nobody() -> None:
    shard = shard_from({})
    assert shard == Shard(0, 1, 0)
    shard.wait()
    shard.leave()


def test_the_environment_of_torchrun_is_understood() -> None:
    given_ = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "1"}
    assert shard_from(given_) == Shard(5, 8, 1, rendezvous=True)
    assert shard_from({"RANK": "1", "WORLD_SIZE": "2"}) == Shard(1, 2, 1)


@pytest.mark.parametrize(
    "environment",
    [
        {"RANK": "2", "WORLD_SIZE": "2"},
        {"RANK": "-1", "WORLD_SIZE": "2"},
        {"RANK": "one"},
        {"WORLD_SIZE": "0"},
        {"LOCAL_RANK": "-1"},
    ],
)
def test_numbers_that_do_not_fit_are_refused(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="RANK must be a number from 0 to WORLD_SIZE - 1"):
        shard_from(environment)
