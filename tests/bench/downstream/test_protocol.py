"""The schedule of a downstream training: its learning rate, its size, and what may be set."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.bench.downstream.protocol import (
    PRESETS,
    Protocol,
    network_digest,
    parse_size,
    resolve_protocol,
    split_assignments,
)
from fusionkit.config import as_dict
from fusionkit.errors import UsageError


def test_the_rate_rises_linearly_then_falls_by_half_a_cosine() -> None:
    protocol = Protocol(steps=110, warmup=10, lr=2.0, lr_end=0.1)
    assert [protocol.rate(k) for k in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert protocol.rate(10) == pytest.approx(2.0)
    assert protocol.rate(60) == pytest.approx(2.0 * (0.1 + 0.9 * 0.5))
    for step in range(10, 110):
        turn = math.pi * (step - 10) / 100
        assert protocol.rate(step) == pytest.approx(0.2 + 1.8 * (1 + math.cos(turn)) / 2)


@given(st.integers(40, 3000), st.integers(40, 3000), st.integers(64, 800))
def test_a_chosen_size_is_a_multiple_of_32_near_the_images_shape(height: int, width: int, longest: int) -> None:
    size = Protocol(longest=longest).sized(height, width).size
    assert size is not None
    assert all(side % 32 == 0 and side >= 32 for side in size)
    assert max(size) <= max(longest, 32) + 16
    scale = min(longest / max(height, width), 1)
    assert all(abs(side - own * scale) <= 16 or side == 32 for side, own in zip(size, (height, width), strict=True))


def test_a_given_size_stays() -> None:
    assert Protocol(size=(192, 256)).sized(1000, 1000).size == (192, 256)


def test_what_is_given_stands_over_the_preset() -> None:
    protocol = resolve_protocol("paper", "240x320", {"steps": 7})
    assert (protocol.steps, protocol.size) == (7, (240, 320))
    assert protocol.lr == PRESETS["paper"]["lr"]


@pytest.mark.parametrize(
    ("preset", "size", "given", "words"),
    [
        ("qick", None, {}, "--preset 'qick': did you mean 'quick'?"),
        ("quick", "256", {}, "--size '256': write HEIGHTxWIDTH"),
        ("quick", "16x256", {}, "sides of 32 pixels or more"),
        ("quick", None, {"step": 3}, "unknown option 'step': did you mean 'steps'?"),
        ("quick", None, {"steps": 0}, "--set steps=0: 1 or more"),
        ("quick", None, {"lr": 0}, "--set lr=0.0: above 0"),
        ("quick", None, {"lr": float("nan")}, "--set: lr=nan is not valid: it must be a finite number"),
        ("quick", None, {"flip": "sideways"}, "flip='sideways' is not valid"),
        ("quick", None, {"steps": "many"}, "steps='many' is not valid"),
    ],
)
def test_what_makes_no_sense_is_one_line(preset: str, size: str | None, given: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_protocol(preset, size, given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_are_of_the_schedule_or_of_the_network() -> None:
    assert split_assignments(["steps=5", "network.width=4"]) == ({"steps": 5}, {"width": 4})
    with pytest.raises(UsageError, match=r"network.NAME=VALUE"):
        split_assignments(["network=4"])


def test_another_schedule_or_network_is_another_table() -> None:
    protocol, network = Protocol(size=(32, 32)), dict[str, object](name="n", config={})

    def digest(network: dict[str, object], protocol: Protocol) -> str:
        return network_digest(network, as_dict(protocol))

    digests = {
        digest(network, protocol),
        digest(network, replace(protocol, lr=1e-5)),
        digest(network, replace(protocol, size=(32, 64))),
        digest({**network, "config": {"width": 2}}, protocol),
    }
    assert len(digests) == 4
    assert digest(dict(network), Protocol(size=(32, 32))) in digests
    assert parse_size(" 32X64 ") == (32, 64)
