"""Files and assignments of options that are damaged or hostile: one clear line, within bounded time and memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from fusionkit.config import parse_assignments, read_toml, resolve
from fusionkit.errors import FusionkitError, UsageError
from tests.support.refusals import refusal


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    count: int = 3
    name: str = "x"
    switch: bool = False


@dataclass(frozen=True)
class Bounded:
    rate: Annotated[float, Field(ge=0, le=1)] = 0.5


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    rate: float | None = None


HOSTILE = {
    "nested arrays": "a = " + "[" * 3000 + "]" * 3000,
    "nested tables": "a = " + "{b = " * 1500 + "1" + "}" * 1500,
    "a number of 5,000 digits": "a = " + "9" * 5000,
    "a date of 5,000 digits": "a = 2020-01-01T00:00:00." + "9" * 9000,
    "a name of 20,000 parts": ".".join("a" * 20_000) + " = 1",
    "five megabytes": "a = '" + "x" * 5_000_000 + "'",
    "no TOML": "\0\1\2",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_refused_in_one_short_line(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text(HOSTILE[kind], encoding="utf-8")
    with pytest.raises(FusionkitError) as caught:
        resolve(Outer, (str(file), read_toml(file)))
    assert str(file) in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_bytes(b"\xef\xbb\xbf[inner]\nrate = 0.5\n")
    assert resolve(Outer, ("file", read_toml(file))).inner.rate == 0.5


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1" + "0" * 100, "1" + "0" * 400, "1e300"])
@pytest.mark.parametrize("option", ["inner.rate", "rate", "inner.count"])
def test_numbers_that_are_not_finite_are_refused_by_name(option: str, text: str) -> None:
    with pytest.raises(UsageError, match=rf"--set: {option}="):
        resolve(Outer, ("--set", parse_assignments([f"{option}={text}"])))


def test_a_message_repeats_at_most_200_characters_of_a_value() -> None:
    for text in (f"inner.count={'x' * 10_000}", f"inner.{'y' * 10_000}=1", "z" * 10_000, ".".join("a" * 5000) + "=1"):
        with pytest.raises(UsageError) as caught:
            resolve(Outer, ("--set", parse_assignments([text])))
        assert len(str(caught.value)) < 700


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_options_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "options.toml"
    file.write_bytes(content)
    assert len(refusal(lambda: resolve(Outer, (str(file), read_toml(file)))) or "") < 2000


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["inner.rate", "inner.count", "inner.name", "inner.switch", "rate", "inner", "a.b.c"]),
            st.one_of(
                st.floats().map(repr),
                st.integers().map(str),
                st.booleans().map(lambda value: str(value).lower()),
                st.text(max_size=20),
                st.sampled_from(["[1, 2]", "{a = 1}", "[[[]]]", "1979-05-27", "''"]),
            ),
        ).map("=".join),
        min_size=1,
        max_size=3,
    )
)
def test_any_assignment_gives_typed_finite_options_or_one_line(assignments: list[str]) -> None:
    try:
        options = resolve(Outer, ("--set", parse_assignments(assignments)))
    except UsageError:
        return
    assert isinstance(options.inner.rate, float)
    assert abs(options.inner.rate) < 1e38
    assert type(options.inner.count) is int
    assert isinstance(options.inner.name, str)
    assert options.rate is None or abs(options.rate) < 1e38


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_a_number_that_is_not_finite_is_called_so(text: str) -> None:
    with pytest.raises(UsageError, match="it must be a finite number"):
        resolve(Bounded, ("--set", {"rate": float(text)}))
