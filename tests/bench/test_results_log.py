"""Results logs: what several processes wrote, and what a kill cut short, adds up to what is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionkit.bench.records import ImageResult
from fusionkit.bench.results_log import LogEntry, ResultsLog, merge, read_logs, signature
from fusionkit.errors import DataError


def entry(at: float, *, fused: str = "2", profile: str = "p", method: str = "m", **scores: float | None) -> LogEntry:
    image = ImageResult(
        name="a",
        sources=("x", "y"),
        sources_sha256=("0" * 64, "1" * 64),
        fused="f",
        fused_sha256=fused * 64,
        height=2,
        width=2,
        scores=scores,
        reasons={name: f"why at {at:g}" for name, value in scores.items() if value is None},
    )
    return LogEntry(at=at, method=method, profile=profile, name="a", image=image, uses=dict.fromkeys(scores, "now"))


def merged(*entries: LogEntry, use: str = "now") -> ImageResult | str:
    return merge(sorted(entries, key=lambda n: n.at), method="m", profile="p", use=lambda _name: use)["a"]


def scores(*entries: LogEntry, use: str = "now") -> dict[str, float | None]:
    found = merged(*entries, use=use)
    assert isinstance(found, ImageResult)
    return found.scores


def test_scores_of_one_image_add_up_and_the_later_counts() -> None:
    assert scores(entry(1, EN=1.0, SD=5.0), entry(2, SF=3.0), entry(3, EN=2.0)) == {"EN": 2.0, "SD": 5.0, "SF": 3.0}


def test_another_fused_image_starts_afresh() -> None:
    assert scores(entry(1, EN=1.0), entry(2, fused="3", SD=1.0)) == {"SD": 1.0}


def test_scores_of_another_profile_or_version_do_not_count_but_the_image_does() -> None:
    assert scores(entry(1, EN=1.0), entry(2, profile="q", EN=9.0, SD=9.0)) == {"EN": 1.0}
    assert scores(entry(1, EN=1.0), use="newer") == {}


def test_what_another_method_made_is_unknown() -> None:
    assert merge([entry(1, method="other", EN=1.0)], method="m", profile="p", use=lambda _name: "now") == {}


def test_a_value_stands_against_a_later_null_and_replaces_an_earlier_one() -> None:
    assert scores(entry(1, EN=1.0), entry(2, EN=None)) == {"EN": 1.0}
    assert scores(entry(1, EN=None), entry(2, EN=1.0)) == {"EN": 1.0}
    found = merged(entry(1, EN=None, SD=None), entry(2, EN=None, SD=2.0))
    assert isinstance(found, ImageResult)
    assert found.reasons == {"EN": "why at 2"}
    assert ImageResult.model_validate(found.model_dump()) == found


def test_a_failure_counts_until_there_is_a_result_again() -> None:
    failure = LogEntry(at=2, method="m", profile="p", name="a", failure="lost")
    assert merged(entry(1, EN=1.0), failure) == "lost"
    assert scores(failure, entry(3, EN=1.0)) == {"EN": 1.0}


@given(st.lists(st.sampled_from(["EN", "SD", "SF"]), min_size=1, max_size=8), st.integers(1, 4))
def test_who_wrote_what_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], writers: int
) -> None:
    folder = tmp_path_factory.mktemp("notes")
    books = [ResultsLog(folder) for _ in range(writers)]
    notes = [entry(at, **{name: float(at)}) for at, name in enumerate(names)]
    for place, own in enumerate(notes):
        books[place % writers].add(own)
    assert [note.model_copy(update={"sha256": ""}) for note in read_logs(folder)] == notes
    assert scores(*read_logs(folder)) == {name: float(at) for at, name in enumerate(names)}


def test_a_line_that_a_kill_cut_short_is_passed_over(tmp_path: Path) -> None:
    book = ResultsLog(tmp_path)
    book.add(entry(1, EN=1.0))
    book.add(entry(2, SD=2.0))
    whole = book.path.read_bytes()
    first = whole.index(b"\n")
    for cut in (*range(0, len(whole), 37), first - 1, first, first + 1, len(whole) - 2, len(whole) - 1):
        book.path.write_bytes(whole[:cut])
        kept = read_logs(tmp_path)
        # A line is whole without its line end too.
        assert len(kept) == len([end for end in (whole.index(b"\n"), len(whole) - 1) if cut >= end])


def test_every_note_changes_the_signature(tmp_path: Path) -> None:
    book, other = ResultsLog(tmp_path), ResultsLog(tmp_path)
    seen = [signature(tmp_path)]
    for at, own in enumerate((book, other, book)):
        own.add(entry(at, EN=1.0))
        seen.append(signature(tmp_path))
    assert len(set(seen)) == 4
    assert read_logs(tmp_path / "nowhere") == []


def test_notes_that_cannot_be_written_are_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file.*free space or choose another place"):
        ResultsLog(tmp_path / "file" / "notes").add(entry(1, EN=1.0))
