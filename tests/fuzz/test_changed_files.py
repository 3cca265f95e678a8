"""Files changed by hand, by a disk or by an enemy: read as they are, or refused in one line, never read wrong.

``python -m tests.fuzz`` is the long mode: at least 10,000 cases, and processes that are killed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz.cases import verdict
from tests.fuzz.changes import Change
from tests.fuzz.subjects import SUBJECTS, Subject

KEPT = json.loads((Path(__file__).parent / "kept.json").read_text(encoding="utf-8"))
"""Changes that were once read wrong, or ended in an internal error."""

EXAMPLES = {"configs": 10, "records": 6, "downstream": 4, "runs": 3, "weights": 25, "data": 12, "cards": 25}


@pytest.fixture(scope="module", params=sorted(SUBJECTS))
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return SUBJECTS[request.param](tmp_path_factory.mktemp(request.param))


def test_a_changed_file_is_read_as_it_was_or_refused_in_one_line(subject: Subject) -> None:
    name = next(name for name, kind in SUBJECTS.items() if kind is type(subject))

    @seed(1)
    @settings(max_examples=EXAMPLES[name], deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def every_change(data: st.DataObject) -> None:
        change = data.draw(subject.changes())
        said = verdict(subject, change)
        assert said in ("accepted", "refused"), (said, change)

    every_change()


def test_what_once_went_wrong_goes_right(subject: Subject) -> None:
    for case in KEPT:
        if SUBJECTS[case["subject"]] is type(subject):
            change = Change(case["file"], case["kind"], tuple(case["path"]), case["value"])
            assert verdict(subject, change) in ("accepted", "refused"), change
